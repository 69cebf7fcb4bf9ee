"""YAML as it is read here: from libyaml's events, without recursion, with the line of every key.

What its odd values mean is said in docs/concepts/config.md.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runbus.config._node import Path

__all__ = ["DEEPEST", "MOST_VALUES", "Yaml", "YamlInvalid", "plain_value", "read_yaml"]

DEEPEST = 100
_DEEPEST_LINE = 8
"""How deep lines are remembered."""

MOST_VALUES = 200_000
_MOST_CHARACTERS = 8 << 20
_MOST_CHARACTERS_OF_A_NUMBER = 4000

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+)", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
    re.ASCII,
)
_TIME = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?", re.ASCII)
_WORDS: dict[str, Any] = {
    spelled: value
    for words, value in (
        (("~", "null", ""), None),
        (("true", "yes", "on"), True),
        (("false", "no", "off"), False),
    )
    for word in words
    for spelled in (word, word.capitalize(), word.upper())
}


class YamlInvalid(Exception):
    """A text is not valid YAML, or none that is read here.

    Attributes:
        line: The line.
        reason: What is wrong.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason


class Yaml:
    """What a text holds.

    Attributes:
        data: Its content as mappings, lists and scalars.
        lines: The line of each key and item, by its path, down to a depth of eight.
        repeated: The path of each key that is a second time in one mapping, the line of the first
            and of the further one.
    """

    def __init__(self) -> None:
        self.data: Any = None
        self.lines: dict[Path, int] = {}
        self.repeated: list[tuple[Path, int, int]] = []


class _Frame:
    """A list or mapping that is being read."""

    __slots__ = ("anchor", "characters", "data", "key", "keys", "kind", "merged", "path", "values")

    def __init__(self, data: Any, kind: str, path: Path, anchor: str | None) -> None:
        self.data = data
        self.kind = kind
        self.path = path
        self.anchor = anchor
        self.values = 1
        self.characters = 0
        self.keys: dict[Any, int] = {}
        self.key: Any = _NO_KEY
        self.merged: list[Any] = []


_NO_KEY: Any = object()
_MERGE: Any = object()


def read_yaml(text: str) -> Yaml:
    """Read a text.

    Raises:
        YamlInvalid: It is not valid YAML; it has a tag that is not of YAML's own; it is nested too
            deeply, or is too large once its aliases are expanded; or an alias is inside of what it
            means.
    """
    import yaml

    try:
        return _Reader().read(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = error.character if isinstance(error.character, int) else ord(error.character)
        reason = f"no file may hold the character U+{character:04X}"
        raise YamlInvalid(line, reason) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # The end of a text lies on a line of its own.
        line = min(line, text.count("\n") + 1)
        raise YamlInvalid(line, str(error.problem)) from None


class _Reader:
    def __init__(self) -> None:
        self._found = Yaml()
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._known: dict[str, Any] = {}
        self._documents = 0

    def read(self, events: Iterable[Any]) -> Yaml:
        on: dict[str, Callable[[Any], None]] = {
            "ScalarEvent": self._scalar,
            "SequenceStartEvent": self._start_list,
            "SequenceEndEvent": self._end,
            "MappingStartEvent": self._start_mapping,
            "MappingEndEvent": self._end,
            "AliasEvent": self._alias,
            "DocumentStartEvent": self._start_document,
        }
        handlers: dict[type, Callable[[Any], None] | None] = {}
        for event in events:
            kind = type(event)
            try:
                handle = handlers[kind]
            except KeyError:
                handle = handlers[kind] = on.get(kind.__name__)
            if handle is not None:
                handle(event)
        return self._found

    def _start_document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise YamlInvalid(event.start_mark.line + 1, "there is a second document in the file")

    def _scalar(self, event: Any) -> None:
        value, tag = event.value, event.tag
        if tag is None or tag == "!":
            if event.implicit[0] and tag is None:
                value = self._plain(event)
        else:
            value = self._tagged(event)
        self._add(value, event.start_mark.line + 1, 1, len(event.value))
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, len(event.value))

    def _plain(self, event: Any) -> Any:
        text = event.value
        if text == "<<" and self._stack and self._expects_key():
            return _MERGE
        try:
            return self._known[text]
        except KeyError:
            pass
        try:
            value = plain_value(text)
        except (ValueError, OverflowError) as error:
            raise YamlInvalid(event.start_mark.line + 1, _first_line(error)) from None
        if len(self._known) < 10_000:
            self._known[text] = value
        return value

    def _tagged(self, event: Any) -> Any:
        line = event.start_mark.line + 1
        read = _TAGGED.get(event.tag.removeprefix(_TAG)) if event.tag.startswith(_TAG) else None
        if read is None:
            raise YamlInvalid(line, f"the tag {_shown(event.tag)} means nothing here")
        try:
            return read(event.value)
        except (ValueError, OverflowError) as error:
            raise YamlInvalid(line, _first_line(error)) from None

    def _expects_key(self) -> bool:
        frame = self._stack[-1]
        return frame.kind != "list" and frame.key is _NO_KEY

    def _start_list(self, event: Any) -> None:
        if event.tag not in (None, "!", f"{_TAG}seq"):
            self._no_tag(event)
        self._start([], "list", event)

    def _start_mapping(self, event: Any) -> None:
        kind = "set" if event.tag == f"{_TAG}set" else "mapping"
        if kind == "mapping" and event.tag not in (None, "!", f"{_TAG}map"):
            self._no_tag(event)
        self._start({}, kind, event)

    def _no_tag(self, event: Any) -> None:
        reason = f"the tag {_shown(event.tag)} means nothing here"
        raise YamlInvalid(event.start_mark.line + 1, reason)

    def _start(self, data: Any, kind: str, event: Any) -> None:
        line = event.start_mark.line + 1
        if len(self._stack) >= DEEPEST:
            raise YamlInvalid(line, f"it is nested too deeply: more than {DEEPEST} levels")
        path: Path = ()
        if self._stack:
            frame = self._stack[-1]
            if self._expects_key():
                raise YamlInvalid(line, "a key must be a text, a number or the like")
            path = self._step(frame)
            if len(path) <= _DEEPEST_LINE:
                self._found.lines.setdefault(path, line)
        else:
            self._found.lines[()] = line
        if event.anchor is not None:
            self._anchors[event.anchor] = (_NO_KEY, 0, 0)
        self._stack.append(_Frame(data, kind, path, event.anchor))

    def _step(self, frame: _Frame) -> Path:
        if frame.kind == "list":
            return (*frame.path, len(frame.data))
        return (*frame.path, str(frame.key))

    def _end(self, event: Any) -> None:
        frame = self._stack.pop()
        data: Any = frame.data
        for one in frame.merged:
            for part in one if isinstance(one, list) else (one,):
                if not isinstance(part, dict):
                    raise YamlInvalid(frame.keys[_MERGE], "only mappings can be merged")
                for key, value in part.items():
                    data.setdefault(key, value)
        if frame.kind == "set":
            data = set(data)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (data, frame.values, frame.characters)
        self._add(data, event.start_mark.line + 1, frame.values, frame.characters)

    def _alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if event.anchor not in self._anchors:
            raise YamlInvalid(line, f"found undefined alias {_shown(event.anchor)}")
        value, values, characters = self._anchors[event.anchor]
        if value is _NO_KEY:
            raise YamlInvalid(line, "it holds itself by an alias")
        if self._expects_key() and isinstance(value, (dict, list, set)):
            raise YamlInvalid(line, "a key must be a text, a number or the like")
        self._add(value, line, values, characters)

    def _add(self, value: Any, line: int, values: int, characters: int) -> None:
        """Put a value where it belongs: it is a key, the value of one, an item, or all there is."""
        if not self._stack:
            self._found.data = value
            self._found.lines.setdefault((), line)
            return
        frame = self._stack[-1]
        frame.values += values
        frame.characters += characters
        if frame.values > MOST_VALUES or frame.characters > _MOST_CHARACTERS:
            reason = f"it has more than {MOST_VALUES:,} keys and values, its aliases expanded"
            raise YamlInvalid(line, reason)
        if frame.kind == "list":
            if len(frame.path) < _DEEPEST_LINE:
                self._found.lines.setdefault((*frame.path, len(frame.data)), line)
            frame.data.append(value)
        elif frame.key is _NO_KEY:
            self._add_key(frame, value, line)
        else:
            if frame.key is _MERGE:
                frame.merged.append(value)
            else:
                frame.data[frame.key] = value
            frame.key = _NO_KEY

    def _add_key(self, frame: _Frame, key: Any, line: int) -> None:
        frame.key = key
        is_repeated = key in frame.keys
        first = frame.keys.setdefault(key, line)
        path = (*frame.path, "<<") if key is _MERGE else self._step(frame)
        if is_repeated:
            self._found.repeated.append((path, first, line))
        if key is _MERGE:
            return
        if len(path) <= _DEEPEST_LINE:
            self._found.lines[path] = line


def plain_value(text: str) -> Any:
    """Return what a scalar without quotes means.

    Raises:
        ValueError: It looks like a number or a time, and is not one.
    """
    if text in _WORDS:
        return _WORDS[text]
    first = text[:1]
    if not (first.isdigit() or first in "+-."):
        return text
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(_digits(text))
    if _TIME.fullmatch(text):
        return _timestamp(text)
    return text


def _digits(text: str) -> str:
    return text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan")


def _float(text: str) -> float:
    try:
        return float(_digits(text))
    except ValueError:
        raise ValueError(f"{_shown(text)} is not a number") from None


def _integer(text: str) -> int:
    if len(text) > _MOST_CHARACTERS_OF_A_NUMBER:  # Python reads no such number, either
        raise ValueError(f"a number of {len(text):,} characters is more than is read")
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:
        raise ValueError(f"{_shown(text)} is not an integer") from None


def _timestamp(text: str) -> Any:
    import yaml

    if yaml.SafeLoader.timestamp_regexp.match(text) is None:
        return text
    # A date that there is not raises ValueError.
    constructor = yaml.constructor.SafeConstructor()
    return constructor.construct_yaml_timestamp(yaml.ScalarNode(f"{_TAG}timestamp", text))


def _binary(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None


def _bool(text: str) -> bool:
    value = _WORDS.get(text)
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(text)} is neither true nor false")
    return value


def _tagged_timestamp(text: str) -> Any:
    value = _timestamp(text)
    if isinstance(value, str):
        raise ValueError(f"{_shown(text)} is neither a date nor a time")
    return value


_TAGGED: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _integer,
    "float": _float,
    "bool": _bool,
    "null": lambda _: None,
    "binary": _binary,
    "timestamp": _tagged_timestamp,
}


def _shown(text: str) -> str:
    return repr(text[:60])


def _first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0].partition(";")[0]
    return text[:1].lower() + text[1:]
