"""Every error of the tree, as a table: fields, text, hint, pickle."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from runbus import errors
from runbus.cli._app import run_command

CLASSES = [
    value
    for value in (getattr(errors, name) for name in errors.__all__)
    if isinstance(value, type) and issubclass(value, errors.RunbusError)
]
VALUES = {
    "str": "some text",
    "int": 3,
    "float": 0.5,
    "bool": True,
    "tuple": ("a", "b"),
    "tuple[ConfigProblem, ...]": (errors.ConfigProblem("a.b", "it is wrong", origin="a.yaml"),),
    "tuple[JobFailure, ...]": (errors.JobFailure("a", "1-1", "FAILED", "exit code 3", ("no",)),),
}


def sample(cls: type[errors.RunbusError]) -> errors.RunbusError:
    """Make an error with a value of the right type in each field."""
    kinds = {
        name: kind if kind in VALUES else kind.partition("|")[0].strip().partition("[")[0]
        for parent in reversed(cls.__mro__)
        for name, kind in getattr(parent, "__annotations__", {}).items()
        if name in cls._fields
    }
    return cls(**{name: VALUES[kind] for name, kind in kinds.items()}) if kinds else cls("a text")


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_pickling(cls: type[errors.RunbusError]) -> None:
    error = sample(cls)

    copy = pickle.loads(pickle.dumps(error))

    assert copy == error
    assert (str(copy), repr(copy), copy.hint) == (str(error), repr(error), error.hint)
    assert {k: v for k, v in vars(copy).items() if k != "__notes__"} == {
        k: v for k, v in vars(error).items() if k != "__notes__"
    }


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_is_one_sentence_and_so_is_its_hint(cls: type[errors.RunbusError]) -> None:
    error = sample(cls)

    for text in (str(error), error.hint):
        if text is not None:
            assert text
            assert not text.endswith(".")
            assert isinstance(cls.retryable, bool)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_documents_each_field_that_it_adds(cls: type[errors.RunbusError]) -> None:
    own = [name for name in cls.__annotations__ if name in cls._fields]
    described = re.findall(r"^        (\w+): ", cls.__doc__ or "", re.MULTILINE)
    assert cls.__module__ == "runbus.errors"
    for name in own:
        inherited = any(name in getattr(parent, "_fields", ()) for parent in cls.__bases__)
        assert name in described or inherited, f"{cls.__name__}.{name} is not described"


def test_every_class_of_the_tree_is_exported() -> None:
    def below(cls: type) -> set[type]:
        return {cls}.union(*map(below, cls.__subclasses__()))

    ours = {cls for cls in below(errors.RunbusError) if cls.__module__.startswith("runbus.")}
    assert ours == set(CLASSES)


class Refused(errors.UsageError):
    """One that somebody else writes."""

    door: str
    times: int = 1


class Shut(errors.UsageError):
    """One that is made from something else than its fields."""

    door: str

    def __init__(self, number: int) -> None:
        super().__init__(door=f"door {number}")  # type: ignore[call-arg]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_with_an_init_of_its_own_survives_copying_and_pickling(protocol: int) -> None:
    error = Shut(3)

    for copied in (copy.deepcopy(error), pickle.loads(pickle.dumps(error, protocol))):
        assert (type(copied), copied.door, copied.args) == (Shut, "door 3", ("door 3",))


def test_an_error_is_made_from_its_fields_by_position_or_name() -> None:
    error = Refused("front", times=2)

    assert (error.door, error.times, error.args) == ("front", 2, ("front", 2))
    assert repr(error) == "Refused(door='front', times=2)"
    assert error == Refused(times=2, door="front")
    assert error != Refused("front")
    assert error != errors.UsageError("front", 2)  # type: ignore[call-arg]
    assert {error: "found"}[Refused("front", 2)] == "found"
    match error:
        case Refused(door, times):
            assert (door, times) == ("front", 2)


@pytest.mark.parametrize(
    ("values", "named", "complaint"),
    [
        ((), {}, "Refused needs door"),
        (("a", 1, 2), {}, "Refused takes door, times"),
        (("a",), {"door": "b"}, "Refused takes door, times"),
        (("a",), {"window": "b"}, "Refused takes door, times"),
    ],
)
def test_fields_that_do_not_fit_are_a_type_error(
    values: tuple[object, ...], named: dict[str, object], complaint: str
) -> None:
    make: Callable[..., Refused] = Refused
    with pytest.raises(TypeError, match=f"^{complaint}$"):
        make(*values, **named)


def test_a_class_without_fields_takes_a_text_and_no_names() -> None:
    make: Callable[..., errors.UsageError] = errors.UsageError
    assert str(make("text")) == "text"
    with pytest.raises(TypeError, match="takes a text"):
        make(text="text")


MISSING = errors.ExtraMissing("to_polars", "polars", "polars")
HINT = "hint: pip install 'runbus[polars]'"


def test_a_traceback_shows_the_hint_once_and_what_was_added() -> None:
    error = pickle.loads(pickle.dumps(MISSING))
    error.add_note("one")
    "".join(traceback.format_exception(error))
    error.add_note("two")

    for shown in (error, pickle.loads(pickle.dumps(error))):
        assert traceback.format_exception_only(shown)[-3:] == [f"{HINT}\n", "one\n", "two\n"]


def test_an_error_without_a_hint_takes_notes() -> None:
    error = errors.UsageError("text")
    assert "".join(traceback.format_exception_only(error)).count("\n") == 1

    error.add_note("one")

    assert error.__notes__ == ["one"]


def test_python_prints_the_hint_of_what_nobody_catches() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from runbus.errors import *; raise ExtraMissing('a', 'b', 'c')"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stderr.count("hint:") == 1
    assert done.stderr.endswith("which is not installed\nhint: pip install 'runbus[c]'\n")


def test_the_command_line_tells_a_hint_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["show", "nothing"]) == 1
    assert capsys.readouterr().err.count("hint:") == 1

    assert run_command(["--debug", "show", "nothing"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert printed.count("hint:") == 1
