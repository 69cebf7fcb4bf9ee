"""Spaces of sweeps from data: the key `sweep` of a batch file, files of points, words."""

from __future__ import annotations

import csv
import io
import os
import re
from typing import TYPE_CHECKING, Any

from runbus._files import read_file
from runbus.config._axis import MOST_POINTS
from runbus.config._document import read_document
from runbus.config._draw import DISTRIBUTIONS, Distribution
from runbus.config._node import Mistake, Word
from runbus.config._paths import parse_path
from runbus.config._scalars import guess
from runbus.config._space import Grid, Points, Random, Space, Trials, Zip
from runbus.config._sweep import parse_axes
from runbus.config._words import split_items
from runbus.errors import (
    ConfigInvalid,
    FileUnreadable,
    SpaceInvalid,
    SweepInvalid,
    UsageError,
    near_matches,
    os_reason,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config._node import Mistakes

__all__ = ["load_space", "read_space", "space_of_words"]

_LARGEST_FILE = 64 << 20
_DRAWN = re.compile(rf"([^=\s]+)=({'|'.join(DISTRIBUTIONS)})\((.*)\)", re.DOTALL)
_WRITE = "write grid, zip, list, random, file or trials, such as grid: {lr: [0.1, 0.01]}"

_KEYS = {
    "grid": {"grid"},
    "zip": {"zip"},
    "list": {"list"},
    "random": {"random", "points", "seed"},
    "file": {"file"},
    "trials": {"trials"},
}
"""The kinds of spaces, and the keys that each may have."""


def read_space(data: Any, folder: str, wrong: Mistakes) -> Space | None:
    """Return the space that data describes; None if something is wrong with it.

    Args:
        data: The data, such as `{"grid": {"lr": [0.1, 0.01]}}`.
        folder: The folder that a file's path starts from.
        wrong: Every mistake is added, with its path.
    """
    try:
        return _read(data, folder)
    except _WrongHere as error:
        wrong += error.mistakes
    return None


def load_space(path: str) -> Space:
    """Read a space from a file: its points as CSV, or a list or space as YAML, TOML or JSON.

    Blocks. The first line of a CSV file names the paths; its values are read as those of a command
    line.

    Raises:
        SpaceInvalid: It cannot be read, or something in it is wrong; every mistake has its place.
    """
    try:
        return _from_csv(path) if path.lower().endswith(".csv") else _from_document(path)
    except ConfigInvalid as error:
        raise SpaceInvalid(path, error.problems) from error.__cause__
    except FileUnreadable as error:
        raise SpaceInvalid(path, (Mistake(error.reason).told(path),)) from error
    except OSError as error:
        raise SpaceInvalid(path, (Mistake(os_reason(error)).told(path),)) from error


def space_of_words(
    words: Sequence[str], *, is_zip: bool = False, points: int | None = None, seed: int = 0
) -> Space | None:
    """Return the space that the words of a command line describe; None for none.

    Args:
        words: `lr=0.01,0.1` each; or `lr=log_uniform(1e-5,1e-1)`, and uniform, int and choice; or
            one `@FILE`.
        is_zip: Whether the first values go together, then the second ones, and so on.
        points: How many points are drawn; what has values is then one to choose from.
        seed: What they depend on.

    Raises:
        SweepInvalid: A word cannot be read, or a name is swept twice, or they do not go together.
        SpaceInvalid: They describe no space, or too large a one.
        UsageError: Points are asked for, and nothing is swept.
    """
    if not words:
        if is_zip or points is not None:
            raise UsageError("nothing is swept: --zip and --points go with --sweep NAME=VALUE,…")
        return None
    if any(word.startswith("@") for word in words):
        if len(words) > 1 or is_zip or points is not None:
            file = next(word for word in words if word.startswith("@"))
            raise SweepInvalid(file, "a file says all of a sweep, and goes with nothing else")
        return load_space(words[0][1:])
    drawn = {found[1]: found for word in words if (found := _DRAWN.fullmatch(word))}
    axes: dict[str, Any] = {
        name: [Word(one) for one in values]
        for name, values in parse_axes(
            [word for word in words if not _DRAWN.fullmatch(word)]
        ).items()
    }
    if twice := next((name for name in drawn if name in axes), None) or _repeated(words, drawn):
        raise SweepInvalid(twice, f"{twice} is swept twice")
    if points is None:
        for name, found in drawn.items():
            told = f"how many points are to be drawn? add --points 20 to {name}={found[2]}(…)"
            raise SweepInvalid(found[0], told)
        return Zip(axes) if is_zip else Grid(axes)
    if is_zip:
        raise SweepInvalid(words[0], "what is drawn is not zipped")
    return Random(axes | {name: _drawn(found) for name, found in drawn.items()}, points, seed)


def _repeated(words: Sequence[str], drawn: Mapping[str, object]) -> str | None:
    count = sum(_DRAWN.fullmatch(word) is not None for word in words)
    return None if count == len(drawn) else next(iter(drawn))


class _WrongHere(Exception):
    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes


def _wrong(reason: str, *path: str | int, advice: str = _WRITE) -> _WrongHere:
    return _WrongHere([Mistake(reason, path, expected=advice)])


def _kind(data: Any) -> str:
    """Return which kind of space data describes; it has no keys that another kind has."""
    if not isinstance(data, dict) or not data:
        raise _wrong(f"expected a space, got {data!r}")
    kinds = [kind for kind in _KEYS if kind in data]
    if not kinds:
        first = str(next(iter(data)))
        near = near_matches(first, _KEYS)
        told = f"unknown kind {first!r}" + (f"; did you mean {near[0]!r}" if near else "")
        raise _wrong(told, first)
    if len(kinds) > 1:
        raise _wrong(f"it is {kinds[0]} and {kinds[1]}", kinds[1], advice=f"leave {kinds[1]} out")
    kind = kinds[0]
    for key in data:
        if key not in _KEYS[kind]:
            raise _wrong(f"{key} does not go with {kind}", str(key), advice=f"leave {key} out")
    return kind


def _read(data: Any, folder: str) -> Space:
    kind = _kind(data)
    given = data[kind]
    if kind == "file":
        if not isinstance(given, str) or not given:
            raise _wrong(f"expected the path of a file, got {given!r}", kind, advice="write a path")
        try:
            return load_space(os.path.join(folder, given))
        except SpaceInvalid as error:
            mistakes = [Mistake(str(one), (kind,)) for one in error.problems]
            raise _WrongHere(mistakes) from error
    if kind == "random":
        return _random(data)
    made: dict[str, Any] = {"grid": Grid, "zip": Zip, "list": Points, "trials": Trials}
    try:
        return made[kind](given)  # type: ignore[no-any-return]
    except SpaceInvalid as error:
        raise _WrongHere(_located(error, kind)) from error


def _random(data: dict[str, Any]) -> Random:
    axes = data["random"]
    if isinstance(axes, dict):
        mistakes: Mistakes = []
        axes = {path: _distribution(one, path, mistakes) for path, one in axes.items()}
        if mistakes:
            raise _WrongHere(mistakes)
    if "points" not in data:
        raise _wrong("how many points are drawn is missing", "random", advice="add points: 20")
    try:
        return Random(axes, data["points"], data.get("seed", 0))
    except SpaceInvalid as error:
        raise _WrongHere(_located(error, "random")) from error


def _distribution(given: Any, path: Any, mistakes: Mistakes) -> Any:
    """Return what data describes; a list stays one, and what is wrong is told."""
    if isinstance(given, list):
        return given
    advice = "write log_uniform: [1e-5, 0.1], uniform, int, or choice: [a, b]"
    if not isinstance(given, dict) or len(given) != 1:
        told = f"{given!r} is nothing to draw from"
        mistakes.append(Mistake(told, ("random", str(path)), expected=advice))
        return None
    ((tag, values),) = given.items()
    at = ("random", str(path), str(tag))
    if tag not in DISTRIBUTIONS:
        near = near_matches(str(tag), DISTRIBUTIONS)
        told = f"unknown distribution {tag!r}" + (f"; did you mean {near[0]!r}" if near else "")
        mistakes.append(Mistake(told, at, expected=advice))
        return None
    made = _made(tag, values)
    if made is None:
        mistakes.append(Mistake(f"expected [low, high], got {values!r}", at, expected=advice))
        return None
    for one in made.mistakes():
        one.path = (*at, *one.path)
        mistakes.append(one)
    return made


def _made(tag: str, values: Any) -> Distribution | None:
    kind: Any = DISTRIBUTIONS[tag]
    if tag == "choice":
        return kind(values)  # type: ignore[no-any-return]
    if not isinstance(values, (list, tuple)) or len(values) != 2:
        return None
    return kind(*values)  # type: ignore[no-any-return]


def _located(error: SpaceInvalid, kind: str) -> Mistakes:
    return [
        Mistake(
            one.reason,
            (kind, *parse_path(one.path)) if one.path else (kind,),
            expected=one.expected or error.advice,
        )
        for one in error.problems
    ]


def _drawn(found: re.Match[str]) -> Distribution:
    """Return what a word such as `lr=uniform(0,1)` draws from."""
    _, tag, inside = found.groups()
    texts = [text.strip() for text in split_items(inside)] if inside.strip() else []
    values = [Word(one) for one in texts] if tag == "choice" else list(map(guess, texts))
    made = _made(tag, values)
    if made is None:
        raise SweepInvalid(found[0], f"{tag} takes two numbers, the least and the greatest")
    return made


def _from_document(path: str) -> Space:
    document = read_document(path)
    data = {"list": document.data} if isinstance(document.data, list) else document.data
    if isinstance(data, dict) and "file" in data:
        told = "a file of points names no other file"
        raise ConfigInvalid(path, (document.problem(("file",), told),))
    try:
        space = _read(data, "")
    except _WrongHere as error:
        is_list = isinstance(document.data, list)
        found = []
        for one in error.mistakes:
            at = one.path[1:] if is_list else one.path
            found.append(one.told(path, document.line(at)))
        raise SpaceInvalid(path, tuple(found), error.mistakes[0].expected) from None
    if document.repeated:
        raise ConfigInvalid(path, document.repeated)
    return space


def _from_csv(path: str) -> Points:
    text = read_file(path, limit=_LARGEST_FILE)
    try:
        reader = csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), strict=True)
        names = [name.strip() for name in next(reader, [])]
        rows = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                told = f"{len(row)} values, but {len(names)} names"
                advice = "write a value for each name, nothing between two commas for an empty one"
                problem = Mistake(told).told(path, reader.line_num)
                raise SpaceInvalid(path, (problem,), advice)
            rows.append({name: Word(one.strip()) for name, one in zip(names, row, strict=True)})
            if len(rows) > MOST_POINTS:
                break
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpaceInvalid(path, (Mistake(f"it is no CSV: {error}").told(path),)) from error
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpaceInvalid(path, (Mistake(f"two columns are named {twice!r}").told(path, 1),))
    try:
        return Points(rows)
    except SpaceInvalid as error:
        found = [one._replace(origin=path) for one in error.problems]
        raise SpaceInvalid(path, tuple(found), error.advice) from None
