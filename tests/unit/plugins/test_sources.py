"""What the source of plugins says of them, without a line of it being run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runbus.plugins import about, find
from runbus.plugins._source import SourceUnreadable, declared_in

from .conftest import Install

SOURCE = '''
import dataclasses, runbus
from runbus.plugins import Extension, Plugin
raise RuntimeError("it was run")

class Base:
    async def setup(self, scope): ...

class Derived(Base):
    """Is derived.

    And more.
    """
    name: str = "derived"
    def __init__(self, a, /, b: int = 3, *rest: str, c: "list[int] | None" = None, **more): ...

@dataclasses.dataclass(frozen=True)
class Data(Base):
    size: int
    kept: ClassVar[int] = 3
    label: str = "x"
    name: str = "data"

class CustomPlugin(Extension): ...
class _Hidden(Extension): ...
class Meta(plugins.BackendPlugin[int]):
    @classmethod
    def get_metadata(cls):
        return PluginMetadata(name="meta", version="1")
class Own(Extension):
    def __init__(self):
        self.name = "own"
class Helper: ...
hook = Plugin("hook").on(A, b).start(c)
made = runbus.Plugin.create(name="made").with_bootstrap("x")
_private = Plugin("private")
other = Other("other")
a, b = 1, 2
'''


def test_names_and_arguments_are_read_from_the_source() -> None:
    found = {one.name: one for one in declared_in(SOURCE.encode())}

    # `Base` has no name of its own, and others are made from it.
    assert [*found] == ["derived", "data", "custom_plugin", "meta", "own", "hook", "made"]
    assert found["derived"].summary == "Is derived."
    assert [*map(str, found["derived"].arguments or ())] == [
        "a", "b: int = 3", "*rest: str", "c: 'list[int] | None' = None", "**more",
    ]  # fmt: skip
    assert [*map(str, found["data"].arguments or ())] == [
        "size: int", "label: str = 'x'", "name: str = 'data'",
    ]  # fmt: skip
    assert found["custom_plugin"].arguments is None
    assert found["own"].arguments == ()
    assert found["hook"].target == "hook"


@pytest.mark.parametrize(
    "source", [b"def :", b"x = 1\0", b"\xff\xfe", b"x = " + b"-" * 100_000 + b"1"]
)
def test_what_is_no_python_is_told_and_nothing_worse(source: bytes) -> None:
    with pytest.raises(SourceUnreadable):
        declared_in(source)


def test_a_name_is_followed_to_the_module_that_it_comes_from(install: Install) -> None:
    info = install("toys", "[runbus.plugins]\ntoy = toys.face:Toy\nring = toys.ring:A\n")
    package = info.parent / "toys"
    (package / "inner").mkdir(parents=True)
    raises = "raise RuntimeError('it was imported')\n"
    (package / "__init__.py").write_text(raises)
    (package / "face.py").write_text(f"from .inner import Real as Toy\n{raises}")
    (package / "inner" / "__init__.py").write_text(f"from toys.inner._deep import Real\n{raises}")
    (package / "inner" / "_deep.py").write_text(
        f"{raises}class Real:\n    '''A toy.'''\n    def __init__(self, size: int = 1): ...\n"
    )
    (package / "ring.py").write_text("from .ring import A\n")
    found = find().plugins

    toy = about(found["toy"])

    assert (toy.name, toy.summary) == ("toy", "A toy.")
    assert [*map(str, toy.arguments or ())] == ["size: int = 1"]
    assert about(found["ring"]).arguments is None
    assert not any(name.partition(".")[0] == "toys" for name in sys.modules)


def test_ours_are_read_too(folder: Path) -> None:
    (argument,) = about(find().plugins["jsonl"]).arguments or ()
    assert (argument.name, argument.default) == ("path", "'runbus-metrics.jsonl'")
