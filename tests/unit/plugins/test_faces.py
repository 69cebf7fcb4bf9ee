"""Which face a plugin has is said by its base class."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from runbus import Kernel, Plugin
from runbus.errors import InvalidPlugin
from runbus.events import KernelStarted
from runbus.plugins import PluginRegistry, _faces
from runbus.plugins._faces import Face, adapted, face_of

if TYPE_CHECKING:
    from runbus.abc import Scope


class Base:
    """Of a face that somebody adds."""

    name = "guest"


class Guest(Base):
    """Says by its base class what it is."""


class Adapter:
    """Makes a plugin of the kernel of it."""

    def __init__(self, guest: Base) -> None:
        self.name = guest.name
        self.seen: list[object] = []

    async def setup(self, scope: Scope) -> None:
        scope.on(KernelStarted, self.seen.append)


@pytest.fixture
def _guests(monkeypatch: pytest.MonkeyPatch) -> None:
    face = Face("guest", f"{__name__}:Base", f"{__name__}:Adapter")
    monkeypatch.setattr(_faces, "FACES", (face, *_faces.FACES))


@pytest.mark.usefixtures("_guests")
async def test_the_kernel_starts_what_the_adapter_makes() -> None:
    started: list[KernelStarted] = []
    async with Kernel(plugins=[Guest(), Plugin("host").on(KernelStarted, started.append)]):
        pass
    assert started[0].plugins == ("guest", "host")


@pytest.mark.usefixtures("_guests")
def test_looks_do_not_make_a_face() -> None:
    class Alike:
        name = "guest"

    assert face_of(Guest()).name == face_of(Guest).name == "guest"
    assert face_of(Alike()).name == "plugin"
    with pytest.raises(InvalidPlugin, match="has no setup"):
        Kernel(plugins=[Alike()])
    with pytest.raises(InvalidPlugin, match="is a class"):
        Kernel(plugins=[Guest])


def test_a_face_whose_base_nobody_loaded_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_faces, "FACES", (Face("far", "wave:Wave_read", ""),))
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    anything: Any = object()
    assert face_of(anything).name == "plugin"
    assert "wave" not in sys.modules


def test_a_class_that_was_looked_at_before_it_was_registered_has_its_face() -> None:
    class Logs:
        def log_experiment(self, experiment: Any, results: Any) -> None: ...

    assert face_of(Logs).name == "plugin"
    PluginRegistry().register_integration("logs", Logs)
    assert face_of(Logs).name == "integration"


def test_a_plugin_of_the_kernel_is_adapted_to_itself() -> None:
    plugin = Plugin("plain")
    assert face_of(plugin).name == "hook"
    assert adapted(plugin) is plugin
