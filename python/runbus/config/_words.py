"""Lists, mappings and calls in the words of a command line: `[0.9,0.95]`, `{a: 1}`, `adam(lr=1)`.

The grammar is ours and small; nothing in a word is ever evaluated. What stands in quotes is a text,
everything else a `Word`, whose meaning the wanted type decides.
"""

from __future__ import annotations

import re
from typing import Any

from runbus.config._node import Word

__all__ = ["Call", "WordInvalid", "read_call", "read_words", "split_items"]

_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_DEEPEST = 50
_ENDS = {"[": "]", "(": ")", "{": "}"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class WordInvalid(ValueError):
    """A word begins like a list, a mapping or a call, but does not end like one."""


class Call:
    """A name with arguments in parentheses: `adam(lr=0.1)`.

    Attributes:
        name: The name.
        args: Values without a name.
        named: Values with one.
    """

    __slots__ = ("args", "name", "named")

    def __init__(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.name = name
        self.args = args
        self.named = named

    def __repr__(self) -> str:
        """Return it as it is written on a command line."""
        values = [*map(str, self.args), *(f"{name}={value}" for name, value in self.named.items())]
        return f"{self.name}({', '.join(values)})"


def read_words(word: Word) -> Any:
    """Return the list, tuple or mapping that a word writes down; else the word itself."""
    text = word.strip()
    if text[:1] not in _ENDS:
        return word
    try:
        reader = _Reader(text)
        found = reader.value(0)
        reader.end()
    except WordInvalid:
        return word
    return found


def read_call(text: str) -> Any:
    """Return what a word means where a name may stand: a `Call`, a list or mapping, or the word.

    A name without parentheses is a `Call` without arguments.

    Raises:
        WordInvalid: It begins like a call or a list, and does not end like one.
    """
    text = text.strip()
    if not (text[:1] in ("[", "{") or _NAME.match(text)):
        return Word(text)
    reader = _Reader(text)
    found = reader.value(0)
    reader.end()
    return Call(str(found), (), {}) if type(found) is Word and _NAME.fullmatch(found) else found


def split_items(text: str) -> list[str]:
    """Return the values of `a,b,c`; commas within quotes and brackets separate nothing.

    A quote in the middle of a word is a letter of it, and so is a bracket that closes nothing.
    """
    items: list[str] = []
    ends: list[str] = []
    quote, start = "", 0
    for at, one in enumerate(text):
        if quote:
            quote = "" if one == quote else quote
        elif one in "'\"" and (at == start or text[at - 1] in "[({,:= "):
            quote = one
        elif one in _ENDS:
            ends.append(_ENDS[one])
        elif ends and one == ends[-1]:
            ends.pop()
        elif one == "," and not ends:
            items.append(text[start:at])
            start = at + 1
    return [*items, text[start:]]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def end(self) -> None:
        self._skip()
        if self.at < len(self.text):
            raise WordInvalid(f"{self.text[self.at :]!r} stands after its end")

    def _skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _peek(self) -> str:
        self._skip()
        return self.text[self.at : self.at + 1]

    def value(self, depth: int, stops: str = "") -> Any:
        if depth > _DEEPEST:
            raise WordInvalid("it is nested too deeply")
        first = self._peek()
        if first == "[":
            return self._sequence("]", depth)
        if first == "(":
            return tuple(self._sequence(")", depth))
        if first == "{":
            return self._mapping(depth)
        if first and first in "'\"":
            return self._quoted(first)
        return self._bare(depth, stops)

    def _sequence(self, end: str, depth: int, *, is_begun: bool = False) -> list[Any]:
        self.at += not is_begun
        found = []
        while self._peek() != end:
            found.append(self.value(depth + 1, f",{end}"))
            if self._peek() == ",":
                self.at += 1
            elif self._peek() != end:
                raise WordInvalid(f"there is no {end!r}")
        self.at += 1
        return found

    def _set(self, first: Any, depth: int) -> list[Any]:
        """Return what `{a, b}` holds, behind its first value: it is a list where data are."""
        if self._peek() == ",":
            self.at += 1
        return [first, *self._sequence("}", depth, is_begun=True)]

    def _mapping(self, depth: int) -> Any:
        self.at += 1
        found: dict[Any, Any] = {}
        while self._peek() != "}":
            key = self.value(depth + 1, ":,}")
            if self._peek() in (",", "}") and not found:
                return self._set(key, depth)
            if self._peek() != ":":
                raise WordInvalid("there is no ':' after a key")
            self.at += 1
            if isinstance(key, (list, dict, tuple)):
                raise WordInvalid("a key is a text or a number")
            if key in found:
                raise WordInvalid(f"the key {str(key)!r} is given twice")
            # A text in data, and a word where the keys are of another type.
            found[str(key)] = self.value(depth + 1, ",}")
            if self._peek() == ",":
                self.at += 1
            elif self._peek() != "}":
                raise WordInvalid("there is no '}'")
        self.at += 1
        return found

    def _quoted(self, quote: str) -> str:
        self.at += 1
        parts: list[str] = []
        while self.at < len(self.text):
            one = self.text[self.at]
            self.at += 1
            if one == quote:
                return "".join(parts)
            if one == "\\" and self.at < len(self.text):
                after = self.text[self.at]
                parts.append(_ESCAPES.get(after, after if after in "\\'\"" else f"\\{after}"))
                self.at += 1
            else:
                parts.append(one)
        raise WordInvalid(f"there is no closing {quote}")

    def _bare(self, depth: int, stops: str) -> Any:
        self._skip()
        start = self.at
        name = _NAME.match(self.text, self.at)
        if name and self.text[name.end() : name.end() + 1] == "(":
            self.at = name.end()
            return self._call(name[0], depth)
        while self.at < len(self.text) and self.text[self.at] not in stops:
            if self.text[self.at] in "[](){}" and stops:
                raise WordInvalid(f"{self.text[self.at]!r} in the middle of a value; quote it")
            self.at += 1
        found = self.text[start : self.at].strip()
        if not found:
            raise WordInvalid("a value is missing")
        return Word(found)

    def _call(self, name: str, depth: int) -> Call:
        self.at += 1
        args: list[Any] = []
        named: dict[str, Any] = {}
        while self._peek() != ")":
            self._skip()
            key = re.compile(r"([A-Za-z_]\w*)\s*=(?!=)", re.ASCII).match(self.text, self.at)
            if key:
                self.at = key.end()
                if key[1] in named:
                    raise WordInvalid(f"{key[1]!r} is given twice")
                named[key[1]] = self.value(depth + 1, ",)")
            elif named:
                raise WordInvalid("a value without a name stands after one with a name")
            else:
                args.append(self.value(depth + 1, ",)"))
            if self._peek() == ",":
                self.at += 1
            elif self._peek() != ")":
                raise WordInvalid("there is no ')'")
        self.at += 1
        return Call(name, tuple(args), named)
