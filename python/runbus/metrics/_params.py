"""What was set of params, tags and notes, as the records tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._secrets import redacted
from runbus.metrics._values import flatten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runbus.metrics._records import Record

__all__ = ["Note", "ParamValue", "notes_of", "param_values", "shown_names", "tags_of"]


class ParamValue(NamedTuple):
    """A value that a param was given.

    Attributes:
        time_ns: When, Unix time in nanoseconds.
        value: The value, made of JSON's own.
    """

    time_ns: int
    value: Any


class Note(NamedTuple):
    """What somebody wrote down.

    Attributes:
        time_ns: When, Unix time in nanoseconds.
        text: What.
    """

    time_ns: int
    text: str


def param_values(
    config: Mapping[str, Any], created_ns: int, records: Iterable[Record]
) -> dict[str, list[ParamValue]]:
    """Return every value that each param was given, oldest first; the same again is none.

    The config, flattened, is what params were at first.
    """
    values = {name: [ParamValue(created_ns, value)] for name, value in flatten(redacted(config))}
    for record in records:
        if record["what"] == "params":
            for name, value in record["params"].items():
                given = values.setdefault(name, [])
                if not given or not _is_same(given[-1].value, value):
                    given.append(ParamValue(record["time_ns"], value))
    return values


def tags_of(records: Iterable[Record]) -> list[str]:
    """Return the tags that are set now, in the order in which they were."""
    tags: dict[str, None] = {}
    for record in records:
        if record["what"] == "tags":
            for tag in record["removed"]:
                tags.pop(tag, None)
            tags.update(dict.fromkeys(record["added"]))
    return list(tags)


def notes_of(records: Iterable[Record]) -> list[Note]:
    """Return the notes, oldest first."""
    return [
        Note(record["time_ns"], record["text"]) for record in records if record["what"] == "note"
    ]


def shown_names(records: Iterable[Record]) -> dict[str, str | None]:
    """Return what views call params and metrics that they do not show by their own names.

    None for those that are hidden.
    """
    names: dict[str, str | None] = {}
    for record in records:
        if record["what"] == "names":
            names |= {
                name: shown
                for name, shown in record["names"].items()
                if isinstance(shown, str) or shown is None
            }
    return {name: shown for name, shown in names.items() if shown != name}


def _is_same(one: Any, other: Any) -> bool:
    # 1, 1.0 and True are equal, yet not the same; NaN is itself.
    return repr(one) == repr(other)
