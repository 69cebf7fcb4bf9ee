"""The spaces of sweeps: which points they have, the same ones on every machine."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec
from msgspec.structs import force_setattr

from runbus.config._axis import MOST_POINTS, given_values, of_values
from runbus.config._draw import Choice, Distribution, draw
from runbus.config._node import Mistake
from runbus.config._paths import parse_path
from runbus.errors import SpaceInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.config._node import Mistakes

__all__ = [
    "Grid",
    "Point",
    "Points",
    "Random",
    "Space",
    "Trials",
    "Zip",
    "size_mistakes",
    "value_text",
]

_REDRAWS = 100
"""How many draws may be made for each point until it differs from the others."""

Point = dict[str, Any]
"""A value for each config path that a sweep changes."""


class _Space(msgspec.Struct, frozen=True):
    def __post_init__(self) -> None:
        if mistakes := self.mistakes():
            problems = tuple(one.told() for one in mistakes)
            raise SpaceInvalid(type(self).__name__, problems, mistakes[0].expected)

    def mistakes(self) -> Mistakes:
        raise NotImplementedError


class _Axes(_Space, frozen=True):
    axes: Mapping[str, Iterable[Any]]

    def __post_init__(self) -> None:
        axes: Any = self.axes
        if isinstance(axes, Mapping):
            made = {path: given_values(values) for path, values in axes.items()}
            force_setattr(self, "axes", made)
        super().__post_init__()

    @property
    def lists(self) -> dict[str, list[Any]]:
        """The values by config paths, plain ones."""
        return cast("dict[str, list[Any]]", self.axes)

    def mistakes(self) -> Mistakes:
        if wrong := _no_mapping(self.axes, "paths to lists of values"):
            return wrong
        return [
            wrong
            for path, values in self.axes.items()
            for wrong in [*_of_path(path), *_below(str(path), of_values(values))]
        ]


class Grid(_Axes, frozen=True):
    """Every combination of some values; the last path varies fastest.

    Attributes:
        axes: The values by config paths: lists, ranges, arrays.

    Raises:
        SpaceInvalid: It has no points, or too many, or something in it is no value.
    """

    tag: ClassVar[str] = "grid"

    @property
    def size(self) -> int:
        """How many points it has."""
        return math.prod(map(len, self.lists.values()))

    @property
    def data(self) -> dict[str, Any]:
        """It as a file has it."""
        return {self.tag: {path: list(values) for path, values in self.axes.items()}}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        return super().mistakes() or size_mistakes(self.size)

    def points(self) -> Iterator[Point]:
        """Yield the points."""
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(self.axes, values, strict=True))


class Zip(_Axes, frozen=True):
    """The first values together, then the second ones, and so on.

    Attributes:
        axes: The values by config paths, as many of each: lists, ranges, arrays.

    Raises:
        SpaceInvalid: The lists differ in their lengths, it has no points, or too many, or something
            in it is no value.
    """

    tag: ClassVar[str] = "zip"

    @property
    def size(self) -> int:
        """How many points it has."""
        return len(next(iter(self.lists.values())))

    @property
    def data(self) -> dict[str, Any]:
        """It as a file has it."""
        return {self.tag: {path: list(values) for path, values in self.axes.items()}}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        if wrong := super().mistakes():
            return wrong
        (first, *others) = self.axes
        for path in others:
            if (here := len(self.lists[path])) != self.size:
                told = f"{here} values, but {first} has {self.size}"
                advice = "a zip takes as many values of each path; a grid combines all of them"
                return [Mistake(told, (path,), expected=advice)]
        return size_mistakes(self.size)

    def points(self) -> Iterator[Point]:
        """Yield the points."""
        for values in zip(*self.axes.values(), strict=True):
            yield dict(zip(self.axes, values, strict=True))


class Points(_Space, frozen=True):
    """The points themselves.

    Attributes:
        rows: A mapping from config paths to values for each.

    Raises:
        SpaceInvalid: There is no point, or too many, one is there twice, or something is no value.
    """

    tag: ClassVar[str] = "list"

    rows: Iterable[Mapping[str, Any]]

    def __post_init__(self) -> None:
        force_setattr(self, "rows", given_values(self.rows))
        super().__post_init__()

    @property
    def size(self) -> int:
        """How many points it has."""
        return len(cast("list[Point]", self.rows))

    @property
    def data(self) -> dict[str, Any]:
        """It as a file has it."""
        return {self.tag: [dict(one) for one in self.rows]}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        wrong = of_values(self.rows)
        if wrong or (wrong := size_mistakes(self.size)):
            return wrong
        for place, row in enumerate(self.rows):
            wrong += _below(place, _no_mapping(row, "paths to values"))
            if isinstance(row, Mapping):
                wrong += _below(place, [one for path in row for one in _of_path(path)])
        return wrong

    def points(self) -> Iterator[Point]:
        """Yield the points."""
        yield from map(dict, self.rows)


class Random(_Space, frozen=True):
    """Points that are drawn; the same ones for the same seed, on every machine.

    Each value depends on the seed, its path and the number of its point alone: more points leave
    those before them as they are, and so do other paths.

    Attributes:
        axes: What each value is drawn from, by config paths; a list is a `Choice`, and so is a
            range or an array.
        count: How many points.
        seed: The seed.

    Raises:
        SpaceInvalid: There are not as many points, or too many, or a distribution has no values.
    """

    tag: ClassVar[str] = "random"

    axes: Mapping[str, Distribution | Iterable[Any]]
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        axes: Any = self.axes
        if isinstance(axes, Mapping):
            made = {path: _choice(one) for path, one in axes.items()}
            force_setattr(self, "axes", made)
        super().__post_init__()

    @property
    def size(self) -> int:
        """How many points it has."""
        return self.count

    @property
    def distributions(self) -> dict[str, Distribution]:
        """What each value is drawn from, lists as choices."""
        return cast("dict[str, Distribution]", self.axes)

    @property
    def data(self) -> dict[str, Any]:
        """It as a file has it."""
        axes = {path: one.data for path, one in self.distributions.items()}
        return {self.tag: axes, "points": self.count, "seed": self.seed}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        if wrong := _no_mapping(self.axes, "paths to distributions"):
            return wrong
        for path, one in self.axes.items():
            given: Any = one
            wrong += _of_path(path)
            if isinstance(given, Distribution):
                wrong += _below(str(path), given.mistakes())
            else:
                advice = "write uniform, log_uniform, int or choice, or a list"
                told = f"{given!r} is nothing to draw from"
                wrong.append(Mistake(told, (str(path),), expected=advice))
        for name, number in (("points", self.count), ("seed", self.seed)):
            whole: Any = number
            if not isinstance(whole, int) or isinstance(whole, bool):
                told = f"{name} is {whole!r}, and no whole number"
                wrong.append(Mistake(told, expected=f"write {name}: 20"))
        return wrong or size_mistakes(self.count) or self._enough()

    def _enough(self) -> Mistakes:
        sizes = [one.size for one in self.distributions.values()]
        most = math.prod(size for size in sizes if size is not None)
        if None in sizes or most >= self.count:
            return []
        told = f"{self.count:,} points are asked for, and there are {most:,} different ones"
        return [Mistake(told, expected=f"write points: {most}, or a grid, which has them all")]

    def points(self) -> Iterator[Point]:
        """Yield the points; one that was there before is drawn again.

        Raises:
            SpaceInvalid: The ranges are so narrow that too few different points were drawn.
        """
        axes = self.distributions
        seen: set[str] = set()
        for number in range(self.count * _REDRAWS):
            point = {path: draw(one, self.seed, path, number) for path, one in axes.items()}
            if (text := json.dumps(point)) not in seen:
                seen.add(text)
                yield point
            if len(seen) == self.count:
                return
        told = f"{self.count * _REDRAWS:,} draws gave {len(seen):,} different points"
        problems = (Mistake(told).told(),)
        raise SpaceInvalid("Random", problems, f"write points: {len(seen)}, or a grid")


class Trials(_Space, frozen=True):
    """Points whose values are chosen when each begins, by a plugin such as Optuna's.

    Attributes:
        count: How many points.

    Raises:
        SpaceInvalid: There is none, or there are too many.
    """

    tag: ClassVar[str] = "trials"

    count: int

    @property
    def size(self) -> int:
        """How many points it has."""
        return self.count

    @property
    def data(self) -> dict[str, Any]:
        """It as a file has it."""
        return {self.tag: self.count}

    def mistakes(self) -> Mistakes:
        """Return what is wrong with it."""
        given: Any = self.count
        if not isinstance(given, int) or isinstance(given, bool):
            told = f"expected how many trials, got {given!r}"
            return [Mistake(told, expected="write a whole number: trials: 50")]
        return size_mistakes(given)

    def points(self) -> Iterator[Point]:
        """Yield the points, which are empty."""
        for _ in range(self.count):
            yield {}


Space = Grid | Zip | Points | Random | Trials


def _choice(given: Any) -> Any:
    """Return what a list means where something is drawn from it; anything else as it is."""
    if isinstance(given, Distribution):
        return given
    made = Choice(given)
    return made if isinstance(made.values, list) else given


def value_text(value: Any) -> str:
    """Return a value of a point as a command line has it."""
    return str(value) if isinstance(value, str) else json.dumps(value)


def size_mistakes(count: int) -> Mistakes:
    """Return what is wrong with so many points; none of them was made."""
    if count < 1:
        return [Mistake(f"{count:,} points are none", expected="write at least one point")]
    if count > MOST_POINTS:
        told = f"it has {count:,} points, and a sweep at most {MOST_POINTS:,}"
        return [Mistake(told, expected="write fewer values, or draw some of them: random")]
    return []


def _below(step: str | int, mistakes: Iterable[Mistake]) -> Mistakes:
    found = list(mistakes)
    for one in found:
        one.path = (step, *one.path)
    return found


def _of_path(path: Any) -> Mistakes:
    if isinstance(path, str):
        try:
            parse_path(path)
        except ValueError as error:
            return [Mistake(str(error), (path,), expected="write model.layers[0].width")]
        if not path.startswith("-"):
            return []
    told = f"{path!r} is no path of a configuration"
    return [Mistake(told, (str(path),), expected="write the name of an option or field: lr")]


def _no_mapping(given: Any, of: str) -> Mistakes:
    if isinstance(given, Mapping) and given:
        return []
    is_empty = given is None or (isinstance(given, (Mapping, Sequence)) and not given)
    told = "nothing is swept" if is_empty else f"expected a mapping from {of}, got {given!r}"
    return [Mistake(told, expected="write at least one path: lr: [0.1, 0.01]")]
