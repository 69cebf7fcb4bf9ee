"""A file of YAML, TOML or JSON, which remembers where each key stands."""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import Any

from runbus.errors import BatchInvalid

__all__ = ["Document", "read_document"]

_Path = tuple[str | int, ...]

_DEEPEST = 8
"""How deep places are remembered."""


class Document:
    """What is in a file.

    Attributes:
        path: The file.
        data: Its content as mappings, lists and scalars.
        repeated: Each key that stands twice in one mapping, as `file:line: key: what is wrong`.
    """

    def __init__(
        self,
        path: str,
        data: Any,
        lines: dict[_Path, int],
        repeated: dict[int, tuple[_Path, int, int]] | None = None,
    ) -> None:
        self.path = path
        self.data = data
        self._lines = lines
        self.repeated = tuple(
            f"{path}:{line}: {_key(at)}: the same key stands in line {first}, too"
            for at, first, line in (repeated or {}).values()
        )

    def place(self, path: _Path, message: str) -> str:
        """Return a message with the file, the line and the key that it is about."""
        near = path
        while near and near not in self._lines:
            near = near[:-1]
        line = self._lines.get(near, 1)
        return f"{self.path}:{line}: {_key(path) + ': ' if path else ''}{message}"


def _key(path: _Path) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return key.removeprefix(".")


def read_document(path: str) -> Document:
    """Read a file by the end of its name: .yaml, .yml, .toml or .json.

    Raises:
        BatchInvalid: It cannot be read.
    """
    readers = {".yaml": _read_yaml, ".yml": _read_yaml, ".toml": _read_toml, ".json": _read_json}
    reader = readers.get(os.path.splitext(path)[1].lower())
    if reader is None:
        raise BatchInvalid(path, (f"{path}:1: its name must end in .yaml, .toml or .json",))
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise BatchInvalid(path, (f"{path}: {(error.strerror or str(error)).lower()}",)) from error
    except UnicodeDecodeError as error:
        raise BatchInvalid(path, (f"{path}: it is not UTF-8 at byte {error.start}",)) from error
    try:
        document = reader(path, text)
    except RecursionError:
        raise BatchInvalid(path, (f"{path}:1: it is nested too deeply",)) from None
    if wrong := _unusable_text(document.data, ()):
        raise BatchInvalid(path, (document.place(*wrong),))
    return document


def _unusable_text(data: Any, at: _Path) -> tuple[_Path, str] | None:
    """Return the place of a text that no program can be given, and what is wrong with it."""
    if isinstance(data, str):
        if "\0" in data:
            return at, "no text may hold a NUL"
        if any("\ud800" <= character <= "\udfff" for character in data):
            return at, "an unpaired surrogate is not valid text"
        return None
    # As deep as what is known reaches; what lies deeper, or in itself, is refused as it is.
    if len(at) >= _DEEPEST or not isinstance(data, (dict, list)):
        return None
    parts = list(data.items() if isinstance(data, dict) else enumerate(data))
    found = (_unusable_text(key, at) for key, _ in parts)
    inside = (_unusable_text(value, (*at, key)) for key, value in parts)
    return next((one for one in (*found, *inside) if one), None)


def _read_yaml(path: str, text: str) -> Document:
    import yaml

    lines: dict[_Path, int] = {}
    repeated: dict[int, tuple[_Path, int, int]] = {}
    try:
        # First: it refuses keys that are no texts or numbers.
        data = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _note_lines(root, (), lines, repeated)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BatchInvalid(path, (f"{path}:{line}: {error.problem}",)) from error
    except yaml.YAMLError as error:
        raise BatchInvalid(path, (f"{path}:1: {error}",)) from error
    return Document(path, data, lines, repeated)


def _note_lines(
    node: Any,
    at: _Path,
    lines: dict[_Path, int],
    repeated: dict[int, tuple[_Path, int, int]],
) -> None:
    """Remember the line of each key and item of a YAML tree; aliases make no loops here.

    Keys that a mapping has already go to `repeated`, once however many aliases lead to them: by
    where in the file they begin, the path and the lines of the first and of the further one.
    """
    lines.setdefault(at, node.start_mark.line + 1)
    if node.id == "mapping":
        known: dict[tuple[str, str], Any] = {}
        for key, value in node.value:
            here, line = (*at, key.value), key.start_mark.line + 1
            lines[here] = line
            # `<<` is not a key: it takes another mapping in, and may do so twice.
            if key.id == "scalar" and not key.tag.endswith(":merge"):
                first = known.setdefault((key.tag, key.value), key)
                if first is not key:
                    lines_of_two = first.start_mark.line + 1, line
                    repeated.setdefault(key.start_mark.index, (here, *lines_of_two))
            if value is not node and len(at) < _DEEPEST:
                _note_lines(value, here, lines, repeated)
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            if value is not node and len(at) < _DEEPEST:
                _note_lines(value, (*at, index), lines, repeated)


def _read_json(path: str, text: str) -> Document:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise BatchInvalid(path, (f"{path}:{error.lineno}: {error.msg.lower()}",)) from error
    # JSON is YAML as far as places are concerned, but for tabs, which YAML does not indent by.
    same = _read_yaml(path, text.replace("\t", " "))
    same.data = data
    return same


_TOML_TABLE = re.compile(r"\s*\[(\[)?\s*([\w.-]+)\s*\]")
_TOML_KEY = re.compile(r"\s*([\w.-]+)\s*=")


def _read_toml(path: str, text: str) -> Document:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        message = re.sub(r" \(at .*\)", "", str(error)).lower()
        place = f"{path}:{found[1] if found else 1}"
        raise BatchInvalid(path, (f"{place}: {message}",)) from error
    lines: dict[_Path, int] = {}
    at: _Path = ()
    counts: dict[str, int] = {}
    # tomllib keeps no places: this knows the tables and keys that begin a line, as people write.
    for number, line in enumerate(text.splitlines(), start=1):
        if table := _TOML_TABLE.match(line):
            name = table[2]
            at = tuple(name.split("."))
            if table[1]:
                counts[name] = counts.get(name, -1) + 1
            head = at[0]
            if head in counts:
                at = (head, counts[head], *at[1:])
            lines.setdefault(at, number)
        elif key := _TOML_KEY.match(line):
            lines.setdefault((*at, *key[1].split(".")), number)
    return Document(path, data, lines)
