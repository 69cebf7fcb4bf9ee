"""What every extension must do, as tests to inherit.

    class TestMine(ExtensionContract):
        @pytest.fixture
        def make(self) -> Callable[[], Extension]:
            return MyExtension

Each test makes an extension of its own and gives it a registry of its own.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable  # noqa: TC003 - fixtures are read at run time
from typing import Any

import click
import pytest

from runbus.plugins import Extension, ExtensionLife, PluginRegistry, in_time
from runbus.testing._waiting import PATIENCE_S

__all__ = ["ExtensionContract"]

VIEWS = ("executors", "packagers", "integrations", "commands")


class ExtensionContract:
    """What every extension must do."""

    limit_s: float = PATIENCE_S
    """How long each of its methods may take here."""

    @pytest.fixture
    def make(self) -> Callable[[], Extension]:
        """Return a function that makes an extension, which is not initialized."""
        raise NotImplementedError("a subclass of the contract has a fixture `make`")

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        """Return what its `initialize` gets: nothing, unless a subclass says so."""
        return {}

    def test_it_is_an_extension_with_a_name_of_its_own(self, make: Callable[[], Extension]) -> None:
        """The name is that of its settings, so it is the same each time, and can be typed."""
        one, other = make(), make()
        assert isinstance(one, Extension)
        assert one is not other
        assert one.name == other.name
        assert one.name not in ("", "extension")
        assert one.name.isprintable()
        assert " " not in one.name

    def test_it_registers_something_where_it_is_told_to(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """And nowhere else."""
        before = registered(PluginRegistry.shared())
        found = self.brought(make(), settings)
        assert found
        assert registered(PluginRegistry.shared()) == before

    def test_all_that_it_registers_can_be_imported_and_is_of_its_kind(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """A name of something that is missing would fail its user, and long after."""
        registry = PluginRegistry()
        extension = make()
        self.call(extension, extension.initialize, settings)
        self.call(extension, extension.register, registry)
        for view, name in registered(registry):
            found = getattr(registry, view).find(name)
            is_part = callable(found) or isinstance(found, click.Command)
            assert is_part, f"{view}: {name!r} is {found!r}"
        self.call(extension, extension.cleanup)

    def test_it_registers_the_same_each_time(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """A repeated call is harmless."""
        extension, registry = make(), PluginRegistry()
        self.call(extension, extension.initialize, settings)
        self.call(extension, extension.register, registry)
        first = registered(registry)
        self.call(extension, extension.initialize, settings)
        self.call(extension, extension.register, registry)
        assert registered(registry) == first
        self.call(extension, extension.cleanup)
        assert self.brought(make(), settings) == first

    def test_its_settings_stay_as_they_are(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """They may be those of others, too."""
        before = copy.deepcopy(settings)
        self.brought(make(), settings)
        assert settings == before

    def test_it_can_be_cleaned_up_at_any_time(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """Also before it was initialized, because that failed, and again."""
        extension = make()
        self.call(extension, extension.cleanup)
        self.call(extension, extension.initialize, settings)
        self.call(extension, extension.cleanup)
        self.call(extension, extension.cleanup)

    def test_it_can_begin_again_after_its_end(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """One object may serve several kernels, one after the other."""
        extension = make()
        assert self.brought(extension, settings) == self.brought(extension, settings)

    def test_it_leaves_the_process_as_it_was(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """No thread, folder or variable."""
        threads = {*threading.enumerate()}
        folder, variables = os.getcwd(), dict(os.environ)
        try:
            self.brought(make(), settings)
            assert os.getcwd() == folder
            assert dict(os.environ) == variables
        finally:
            os.chdir(folder)
        left = [one for one in threading.enumerate() if one not in threads and one.is_alive()]
        assert not left, f"threads are left behind: {left}"

    def test_it_lives_as_a_whole(
        self, make: Callable[[], Extension], settings: dict[str, Any]
    ) -> None:
        """What it registers in a process is there from its beginning to its end."""
        registry = PluginRegistry()
        life = ExtensionLife(make(), registry=registry, settings=settings)
        try:
            in_time(life.begin, plugin="extension", doing="begin", limit_s=self.limit_s)
            assert registered(registry)
        finally:
            in_time(life.end, plugin="extension", doing="end", limit_s=self.limit_s)
        assert not registered(registry)

    def brought(self, extension: Extension, settings: dict[str, Any]) -> set[tuple[str, str]]:
        """Return what an extension registers in a whole life."""
        registry = PluginRegistry()
        self.call(extension, extension.initialize, settings)
        self.call(extension, extension.register, registry)
        self.call(extension, extension.cleanup)
        return registered(registry)

    def call(self, extension: Extension, method: Callable[..., Any], *args: Any) -> None:
        """Call a method in time."""
        doing = method.__name__
        in_time(method, *args, plugin=extension.name, doing=doing, limit_s=self.limit_s)


def registered(registry: PluginRegistry) -> set[tuple[str, str]]:
    """Return what was registered in a registry: the view, and the name."""
    return {(view, name) for view in VIEWS for name in getattr(registry, view).registered}
