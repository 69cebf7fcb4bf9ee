"""Plain YAML, read quickly: what has anything unusual in it is left to `runbus.config._yaml`.

Unusual are anchors, tags, merge keys, repeated keys, keys with parts, and whatever is a mistake.
Nothing here knows lines: they are only asked for where a mistake is to be placed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.config._yaml import DEEPEST, MOST_VALUES, plain_value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UNUSUAL", "read_plain_yaml"]

UNUSUAL: Any = object()
_NO_KEY: Any = object()


def read_plain_yaml(text: str) -> Any:
    """Return what a text holds; `UNUSUAL` if only the exact reader can tell."""
    import yaml

    loader = yaml.CSafeLoader(text)
    try:
        return _read(loader.get_event, yaml)
    except (yaml.YAMLError, ValueError, OverflowError):
        return UNUSUAL
    finally:
        loader.dispose()


def _read(next_event: Callable[[], Any], yaml: Any) -> Any:  # noqa: C901 - one hot loop
    scalar, end = yaml.ScalarEvent, yaml.StreamEndEvent
    list_start, mapping_start = yaml.SequenceStartEvent, yaml.MappingStartEvent
    ends = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
    known: dict[str, Any] = {"<<": UNUSUAL}
    stack: list[tuple[Any, Any]] = []
    data: Any = None
    holder: Any = None
    key: Any = _NO_KEY
    left, documents = MOST_VALUES, 0
    while True:
        event = next_event()
        kind = type(event)
        if kind is scalar:
            value = event.value
            if event.tag is not None or event.anchor is not None:
                return UNUSUAL
            if event.implicit[0]:
                try:
                    value = known[value]
                except KeyError:
                    value = known[value] = plain_value(value)
                if value is UNUSUAL:
                    return UNUSUAL
        elif kind in ends:
            holder, key = stack.pop()
            continue
        elif kind is list_start or kind is mapping_start:
            if event.tag is not None or event.anchor is not None or len(stack) >= DEEPEST:
                return UNUSUAL
            value = [] if kind is list_start else {}
        elif kind is end:
            return data
        else:
            documents += kind is yaml.DocumentStartEvent
            if documents > 1 or kind is yaml.AliasEvent:
                return UNUSUAL
            continue
        left -= 1
        if left < 0:
            return UNUSUAL
        opens = kind is not scalar
        if holder is None:
            data = value
        elif type(holder) is list:
            holder.append(value)
        elif key is not _NO_KEY:
            holder[key] = value
            key = _NO_KEY
        elif opens or value in holder:
            return UNUSUAL
        else:
            key = value
        if opens:
            stack.append((holder, key))
            holder, key = value, _NO_KEY
