"""A file of YAML, TOML or JSON, which remembers where each key stands."""

from __future__ import annotations

import json
import os
import re
import tomllib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runbus._files import read_file
from runbus.errors import BatchInvalid, FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Document", "read_document"]

_Path = tuple[str | int, ...]

_DEEPEST = 8
"""How deep places are remembered."""

_MOST_BYTES = 8 << 20
_MOST_VALUES = 200_000
_MOST_DIGITS = 100
_DEEPEST_YAML = 100


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
        lines: dict[_Path, int] | Callable[[], dict[_Path, int]],
        repeated: dict[int, tuple[_Path, int, int]] | None = None,
    ) -> None:
        self.path = path
        self.data = data
        self._asked = lines
        self.repeated = tuple(
            f"{path}:{line}: {_key(at)}: the same key stands in line {first}, too"
            for at, first, line in (repeated or {}).values()
        )

    @cached_property
    def _lines(self) -> dict[_Path, int]:
        return self._asked if isinstance(self._asked, dict) else self._asked()

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

    A file is input: it may have 8 MiB, and 200,000 values after its aliases are expanded.

    Raises:
        BatchInvalid: It cannot be read.
    """
    readers = {".yaml": _read_yaml, ".yml": _read_yaml, ".toml": _read_toml, ".json": _read_json}
    reader = readers.get(os.path.splitext(path)[1].lower())
    if reader is None:
        raise BatchInvalid(path, (f"{path}:1: its name must end in .yaml, .toml or .json",))
    try:
        text = read_file(os.path.realpath(path), limit=_MOST_BYTES).decode()
    except FileUnreadable as error:
        raise BatchInvalid(path, (f"{path}: {error.reason}",)) from error
    except OSError as error:
        raise BatchInvalid(path, (f"{path}: {(error.strerror or str(error)).lower()}",)) from error
    except UnicodeDecodeError as error:
        raise BatchInvalid(path, (f"{path}: it is not UTF-8 at byte {error.start}",)) from error
    try:
        document = reader(path, text)
        wrong = _unusable(document.data, ())
    except RecursionError:
        raise BatchInvalid(path, (f"{path}:1: it is nested too deeply",)) from None
    except (ValueError, OverflowError) as error:  # of a number or a date
        raise BatchInvalid(path, (f"{path}:1: {_first_line(error)}",)) from error
    if wrong:
        raise BatchInvalid(path, (document.place(*wrong),))
    return document


def _first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0].partition(";")[0]
    return text[:1].lower() + text[1:]


def _unusable(data: Any, at: _Path) -> tuple[_Path, str] | None:
    """Return the place of a value that no program can be given, and what is wrong with it."""
    if isinstance(data, str):
        if "\0" in data:
            return at, "no text may hold a NUL"
        if any("\ud800" <= character <= "\udfff" for character in data):
            return at, "an unpaired surrogate is not valid text"
        return None
    if isinstance(data, int) and abs(data) >= 10**_MOST_DIGITS:
        return at, f"the number has more than {_MOST_DIGITS} digits"
    if not isinstance(data, (dict, list)):
        return None
    parts = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in parts:
        if found := _unusable(key, at) or _unusable(value, (*at, key)):
            return found
    return None


def _read_yaml(path: str, text: str) -> Document:
    import yaml

    lines: dict[_Path, int] = {}
    repeated: dict[int, tuple[_Path, int, int]] = {}
    try:
        loader = _loader(yaml)(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"no file may hold the character U+{error.character:04X}"
        raise BatchInvalid(path, (f"{path}:{line}: {problem}",)) from error
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(path, None, lines, repeated)
        _check_size(path, root, {})
        _note_lines(root, (), lines, repeated)
        # Last, since it merges mappings into the tree.
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BatchInvalid(path, (f"{path}:{line}: {error.problem}",)) from error
    except yaml.YAMLError as error:
        raise BatchInvalid(path, (f"{path}:1: {error}",)) from error
    finally:
        loader.dispose()
    return Document(path, data, lines, repeated)


def _loader(yaml: Any) -> Any:
    """Return the safe loader, to which `1:30:00` is a text: nobody expects a number of base 60."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012 - as its base has it
            start: [(tag, _NOT_BASE_60.get(tag, pattern)) for tag, pattern in resolvers]
            for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }
        _depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self._depth >= _DEEPEST_YAML:  # well before Python's own stack ends
                raise RecursionError
            self._depth += 1
            try:
                return super().compose_node(parent, index)
            finally:
                self._depth -= 1

    return Loader


_NOT_BASE_60 = {
    "tag:yaml.org,2002:int": re.compile(
        r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z"
    ),
    "tag:yaml.org,2002:float": re.compile(
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}


def _check_size(path: str, node: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a tree has with its aliases expanded, and how many characters.

    Raises:
        BatchInvalid: There are too many, or an alias stands inside of what it stands for.
    """
    line = node.start_mark.line + 1
    if (size := known.get(id(node))) is not None:
        if not size[0]:
            raise BatchInvalid(path, (f"{path}:{line}: it holds itself by an alias",))
        return size
    known[id(node)] = (0, 0)
    values, characters = 1, len(node.value) if node.id == "scalar" else 0
    if node.id != "scalar":
        for part in node.value:
            for one in part if isinstance(part, tuple) else (part,):
                more = _check_size(path, one, known)
                values, characters = values + more[0], characters + more[1]
    if values > _MOST_VALUES or characters > _MOST_BYTES:
        problem = f"it has more than {_MOST_VALUES:,} values, its aliases expanded"
        raise BatchInvalid(path, (f"{path}:{line}: {problem}",))
    known[id(node)] = (values, characters)
    return values, characters


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
            if key.id != "scalar":
                continue  # refused when the data are made
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
    is_repeated = False

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_repeated
        found = dict(pairs)
        is_repeated |= len(found) < len(pairs)
        return found

    try:
        data = json.loads(text, object_pairs_hook=mapping)
    except json.JSONDecodeError as error:
        raise BatchInvalid(path, (f"{path}:{error.lineno}: {error.msg.lower()}",)) from error

    def places() -> Document:
        # JSON is YAML as far as places are concerned, but for tabs, which YAML does not indent by.
        return _read_yaml(path, text.replace("\t", " "))

    if is_repeated or text.count(",") >= _MOST_VALUES // 2:
        same = places()
        same.data = data
        return same
    # To read it as YAML takes fifty times as long: only if a mistake is to be placed.
    return Document(path, data, lambda: places()._lines)


# Nothing that people write; tomllib takes minutes for a key of 20,000 parts.
_TOML_DEEP = re.compile(
    r"""(?<![\w.-])(?<!\.[ \t])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){100}"""
)
_TOML_TABLE = re.compile(r"\s*\[(\[)?\s*([\w.-]+)\s*\]")
_TOML_KEY = re.compile(r"\s*([\w.-]+)\s*=")


def _read_toml(path: str, text: str) -> Document:
    if _TOML_DEEP.search(text):
        raise RecursionError
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
