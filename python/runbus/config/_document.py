"""A file of YAML, TOML or JSON, which remembers where each key stands."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runbus._files import read_file
from runbus.config._node import path_text
from runbus.errors import ConfigInvalid, ConfigProblem, FileUnreadable, os_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runbus.config._node import Path

__all__ = ["MOST_DIGITS", "Document", "read_document", "read_input", "unusable"]

_MOST_BYTES = 8 << 20
_MOST_VALUES = 200_000
MOST_DIGITS = 100
_STDIN = "<stdin>"

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
# An escape, which may be of such a character, or a number of very many digits.
_SUSPECT = re.compile(r"[\\\0]|[0-9a-fA-F_]{80}")


class Document:
    """What is in a file.

    Attributes:
        path: The file.
        data: Its content as mappings, lists and scalars.
        repeated: A problem for each key that stands twice in one mapping.
    """

    def __init__(
        self,
        path: str,
        data: Any,
        lines: dict[Path, int] | Callable[[], dict[Path, int]],
        repeated: Iterable[tuple[Path, int, int]] = (),
    ) -> None:
        self.path = path
        self.data = data
        self._asked = lines
        self.repeated = tuple(
            ConfigProblem(
                path_text(at), f"the same key stands in line {first}, too", origin=path, line=line
            )
            for at, first, line in repeated
        )

    @cached_property
    def _lines(self) -> dict[Path, int]:
        return self._asked if isinstance(self._asked, dict) else self._asked()

    def line(self, path: Path) -> int:
        """Return the line of what is at a path, or of the nearest that is known above it."""
        near = path
        while near and near not in self._lines:
            near = near[:-1]
        return self._lines.get(near, 1)

    def problem(self, path: Path, message: str) -> ConfigProblem:
        """Return a problem at the line of a path."""
        return ConfigProblem(path_text(path), message, origin=self.path, line=self.line(path))


def _invalid(path: str, reason: str, line: int = 0) -> ConfigInvalid:
    return ConfigInvalid(path, (ConfigProblem("", reason, origin=path, line=line),))


def read_document(path: str) -> Document:
    """Read a file by the end of its name: .yaml, .yml, .toml or .json.

    A file is input: it may have 8 MiB, and 200,000 values after its aliases are expanded.

    Raises:
        ConfigInvalid: It cannot be read.
    """
    readers = {".yaml": _read_yaml, ".yml": _read_yaml, ".toml": _read_toml, ".json": _read_json}
    reader = readers.get(os.path.splitext(path)[1].lower())
    if reader is None:
        raise _invalid(path, "its name must end in .yaml, .toml or .json", 1)
    try:
        return _parsed(path, read_file(os.path.realpath(path), limit=_MOST_BYTES), reader)
    except FileUnreadable as error:
        raise _invalid(path, error.reason) from error
    except OSError as error:
        raise _invalid(path, os_reason(error)) from error


def read_input() -> Document:
    """Read what a pipe brings on standard input: JSON if it begins with a brace, otherwise YAML.

    Waits for its end; as much of it is read as a file may have.

    Raises:
        ConfigInvalid: It cannot be read.
    """
    if (file := getattr(sys.stdin, "buffer", None)) is None:  # as in a notebook
        raise _invalid(_STDIN, "it is closed")
    try:
        data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _invalid(_STDIN, os_reason(error)) from error
    if len(data) > _MOST_BYTES:
        raise _invalid(_STDIN, f"it has more than {_MOST_BYTES:,} bytes, the most that are read")
    is_json = data.lstrip().startswith(b"{")
    return _parsed(_STDIN, data, _read_json if is_json else _read_yaml)


def _parsed(path: str, data: bytes, reader: Callable[[str, str], Document]) -> Document:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _invalid(path, f"it is not UTF-8 at byte {error.start}") from error
    try:
        document = reader(path, text)
        wrong = unusable(document.data, ()) if _SUSPECT.search(text) else None
    except RecursionError:
        raise _invalid(path, "it is nested too deeply", 1) from None
    except (ValueError, OverflowError) as error:  # of a number or a date
        raise _invalid(path, _first_line(error), 1) from error
    if wrong:
        raise ConfigInvalid(path, (document.problem(*wrong),))
    return document


def _first_line(error: Exception) -> str:
    if "integer string conversion" in str(error):  # Python speaks of its own limit, which is higher
        return f"the number has more than {MOST_DIGITS} digits"
    text = str(error).partition("\n")[0].partition(";")[0]
    return text[:1].lower() + text[1:]


def unusable(data: Any, at: Path = ()) -> tuple[Path, str] | None:
    """Return the place of a value that no program can be given, and what is wrong with it."""
    if isinstance(data, str):
        if (character := _NO_TEXT.search(data)) is None:
            return None
        if character[0] == "\0":
            return at, "no text may hold a NUL"
        return at, "an unpaired surrogate is not valid text"
    if isinstance(data, int) and abs(data) >= 10**MOST_DIGITS:
        return at, f"the number has more than {MOST_DIGITS} digits"
    if not isinstance(data, (dict, list, set)):
        return None
    parts = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in parts:
        if found := unusable(key, at) or unusable(value, (*at, key)):
            return found
    return None


def _read_yaml(path: str, text: str, *, exactly: bool = False) -> Document:
    from runbus.config._yaml import YamlInvalid, read_yaml
    from runbus.config._yaml_quick import UNUSUAL, read_plain_yaml

    if not exactly and (data := read_plain_yaml(text)) is not UNUSUAL:
        return Document(path, data, lambda: read_yaml(text).lines)
    try:
        found = read_yaml(text)
    except YamlInvalid as error:
        raise _invalid(path, error.reason, error.line) from error
    return Document(path, found.data, found.lines, found.repeated)


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
        raise _invalid(path, error.msg.lower(), error.lineno) from error

    def places() -> Document:
        # JSON is YAML as far as places are concerned, but for tabs, which YAML does not indent by,
        # and for some characters that no YAML may hold.
        try:
            return _read_yaml(path, text.replace("\t", " "), exactly=True)
        except ConfigInvalid:
            return Document(path, None, {})

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
        raise _invalid(path, message, int(found[1]) if found else 1) from error
    lines: dict[Path, int] = {}
    at: Path = ()
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
