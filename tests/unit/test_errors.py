"""Every error of the tree, as a table: fields, text, hint, pickle."""

from __future__ import annotations

import inspect
import pickle

import pytest

from runbus import errors

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
