"""A configuration as the words of a command line: what `parse_override` reads, written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runbus.config._access import structured_options
from runbus.config._data import plain
from runbus.config._node import MISSING, Mistake, Node, Ref, Word, path_text
from runbus.config._tree import given, same
from runbus.errors import ConfigInvalid, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.config._node import Mistakes, Path

__all__ = ["render_overrides"]


def render_overrides(config: Node) -> list[str]:
    """Return words that make a configuration from one of the same target that has no values.

    Applied in their order they give back what was rendered.

    Raises:
        ConfigInvalid: A value is none that a word can say, such as an object of a class that no
            type names; a file can.
    """
    problems: list[ConfigProblem] = []
    words = list(_words(config, (), problems))
    if problems:
        raise ConfigInvalid(config._shape.schema.name, tuple(problems))
    return words


def _words(node: Node, before: Path, problems: list[ConfigProblem]) -> Iterator[str]:
    for name, value in given(node).items():
        path = (*before, name)
        if isinstance(value, Node) and _is_implied(node, name, value):
            below = list(_words(value, path, problems))
            if not below or not _begins_empty(node, name, value):
                yield f"{path_text(path)}={{}}"
            yield from below
        elif (text := _text_for(node, name, value)) is not None:
            yield f"{path_text(path)}={text}"
        elif not same(value, node._shape.default(name, node._shape.field(name))):
            mistake = Mistake("no word of a command line says this; a file does", path)
            problems.append(mistake.told())


def _is_implied(node: Node, name: str, value: Node) -> bool:
    """Whether the type of a field says which class its value is of."""
    kinds = structured_options(node._shape.field(name).type)
    target = value._shape.target
    return kinds == [target] and not value._is_partial


def _begins_empty(node: Node, name: str, value: Node) -> bool:
    """Whether a change below a field that was not set begins from nothing but defaults."""
    default = node._shape.default(name, node._shape.field(name))
    if isinstance(default, Node):
        return default._shape.target is value._shape.target and not given(default)
    return default is MISSING or default is None


def _text_for(node: Node, name: str, value: Any) -> str | None:
    """Return a text that the type of a field reads as a value; None if there is none."""
    convert = node._shape.converter(node._shape.field(name))
    for text in _candidates(value):
        if text != text.strip():
            continue
        wrong: Mistakes = []
        if same(convert(Word(text), wrong), value) and not wrong:
            return text
    return None


def _candidates(value: Any) -> Iterator[str]:
    """Yield the texts that may mean a value, the simplest first."""
    try:
        text = _text(value, inner=False)
    except _Unsayable:
        return
    yield text
    yield f'"{text}"'


class _Unsayable(Exception):
    pass


def _text(value: Any, *, inner: bool = True) -> str:
    """Return a value as a word, or as a part of one."""
    if isinstance(value, Node):
        value = given(value)
    elif not isinstance(value, (list, tuple, dict)):
        value = plain(value)
    if isinstance(value, Ref) or (isinstance(value, dict) and any(map(_is_key, value))):
        raise _Unsayable
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)}: {_text(one)}' for key, one in value.items())}}}"
    if not isinstance(value, str):
        return repr(value)
    return _quoted(value) if inner else value


_BARE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def _key(key: Any) -> str:
    text = _text(key)
    return text[1:-1] if _BARE.fullmatch(text[1:-1]) else text


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and key.startswith("_") and key.endswith("_")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
