"""Every error of the tree, as a table: fields, text, hint, pickle."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from runbus import errors
from runbus.cli._app import run_command

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.RunbusError)
]


def sample(cls: type[errors.RunbusError]) -> errors.RunbusError:
    """Make an error with a value of the right type in each field."""
    if cls.__init__ is Exception.__init__:
        return cls("some text")
    values: list[object] = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            values.append("some text")
            continue
        kind = str(parameter.annotation).partition("|")[0].strip().partition("[")[0]
        by_name = {"str": "some text", "int": 3, "float": 0.5, "bool": True, "tuple": ("a", "b")}
        assert kind in by_name, f"{cls.__name__}.{parameter.name}: {parameter.annotation}"
        values.append(by_name[kind])
    return cls(*values)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_pickling(cls: type[errors.RunbusError]) -> None:
    error = sample(cls)

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls
    assert str(copy) == str(error)
    assert {k: v for k, v in vars(copy).items() if k != "__notes__"} == vars(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_is_one_sentence_and_so_is_its_hint(cls: type[errors.RunbusError]) -> None:
    error = sample(cls)

    for text in (str(error), error.hint):
        if text is not None:
            assert text
            assert not text.endswith(".")
            assert isinstance(cls.retryable, bool)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_is_exported_and_says_what_it_means(cls: type[errors.RunbusError]) -> None:
    assert cls.__name__ in errors.__all__
    assert cls.__doc__


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    drawing = errors.__doc__ or ""
    for cls in CLASSES:
        if errors.RunbusError in cls.__bases__:
            assert f"─ {cls.__name__} " in drawing


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
