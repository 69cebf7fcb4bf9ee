"""The page of every error: the tree, and what each class of it carries."""

from __future__ import annotations

import re

from runbus import errors
from runbus.errors import RunbusError

HEAD = """# Errors

Made by `make docs`. Everything that runbus raises on purpose is one of these, all in
`runbus.errors`. An error carries its facts as fields, its text in `str(error)` and, where there is
one, the next step in `error.hint`, which a traceback shows, too. It can be pickled.
`error.retryable` says whether the same call may succeed later without any change by the caller.
"""


def errors_page() -> str:
    """Return the page of every error."""
    tree = "\n".join(_drawn(RunbusError, "", ""))
    return "\n".join([HEAD, f"```text\n{tree}\n```\n", *map(_section, _below(RunbusError))])


def _children(cls: type[RunbusError]) -> list[type[RunbusError]]:
    listed = [getattr(errors, name) for name in errors.__all__]
    return [one for one in listed if isinstance(one, type) and one.__base__ is cls]


def _below(cls: type[RunbusError]) -> list[type[RunbusError]]:
    return [cls, *(one for child in _children(cls) for one in _below(child))]


def _drawn(cls: type[RunbusError], branch: str, indent: str) -> list[str]:
    name = f"{branch}{cls.__name__}"
    lines = [f"{name:<30} {_summary(cls)}"]
    children = _children(cls)
    for child in children:
        last = child is children[-1]
        corner, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
        lines += _drawn(child, indent + corner, indent + below)
    return lines


def _summary(cls: type[RunbusError]) -> str:
    return (cls.__doc__ or "").partition("\n\n")[0].strip().rstrip(".")


def _section(cls: type[RunbusError]) -> str:
    described: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        if issubclass(one, RunbusError):
            described |= _attributes(one)
    lines = [f"## {cls.__name__}\n", f"{_summary(cls)}."]
    if cls.retryable:
        lines[-1] += " The same call may succeed later."
    fields = [f"- `{name}`: {described[name]}" for name in cls._fields]
    return "\n".join([*lines, *([""] if fields else []), *fields, ""])


def _attributes(cls: type[RunbusError]) -> dict[str, str]:
    """Return what the docstring of a class says of each of its attributes."""
    _, _, text = (cls.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^        (\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", what) for name, what in found}
