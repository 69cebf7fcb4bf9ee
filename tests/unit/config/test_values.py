"""Every type: what it takes from Python, from data and from words, and what it says otherwise."""

# ruff: noqa: UP006, UP007, UP045 - the older spellings are what is tested

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import os
import pathlib
import subprocess
import sys
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus import Secret
from runbus.config import Config, Duration, Partial, Ref, Size, make
from runbus.config._node import Word
from runbus.config._scalars import guess
from runbus.errors import ConfigInvalid


class Color(enum.Enum):
    RED = "r"
    BLUE = 2


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


@dataclasses.dataclass
class Model:
    width: int = 512
    rate: float = 0.1


class Line(TypedDict, total=False):
    width: int


class Point(NamedTuple):
    x: int
    y: int = 0


UserId = NewType("UserId", int)
Number = TypeVar("Number", bound=int)
HOUR = datetime.timedelta(hours=1)
NOON = datetime.datetime(2026, 1, 2, 12, 0, tzinfo=datetime.UTC)


def value_as(hint: Any, value: Any) -> Any:
    """Return what a field of a type makes of a value."""

    def target(field: Any) -> Any:
        return field

    target.__annotations__["field"] = hint
    return Config(target, field=value).build()


FITS = [
    (int, 5, 5),
    (int, Word("1_000"), 1000),
    (int, Word("0o17"), 15),
    (int, Word("-0x1F"), -31),
    (int, Word("0b11"), 3),
    (int, Word(" 7 "), 7),
    (float, 5, 5.0),
    (float, Word("1e-3"), 0.001),
    (float, Word("inf"), float("inf")),
    (str, "no", "no"),
    (str, Word("5"), "5"),
    (str, Word("'5'"), "5"),
    (str, Word("os.getcwd"), "os.getcwd"),
    (str, "", ""),
    (int, 0, 0),
    (bool, False, False),
    (list, [], []),
    (str, Word("${X}"), "${X}"),
    (bool, True, True),
    (bool, Word("off"), False),
    (bool, Word("Yes"), True),
    (None, None, None),
    (None, Word("null"), None),
    (bytes, b"a", b"a"),
    (bytes, "YQ==", b"a"),
    (complex, "1+2j", 1 + 2j),
    (complex, 1, 1 + 0j),
    (pathlib.Path, "a/b", pathlib.Path("a/b")),
    (pathlib.Path, Word("'a b'"), pathlib.Path("a b")),
    (datetime.datetime, "2026-01-02T12:00:00+00:00", NOON),
    (datetime.datetime, NOON, NOON),
    (datetime.date, "2026-01-02", NOON.date()),
    (datetime.time, "12:30:00", datetime.time(12, 30)),
    (datetime.timedelta, "1h", HOUR),
    (datetime.timedelta, 3600, HOUR),
    (datetime.timedelta, "01:00:00", HOUR),
    (datetime.timedelta, "1-01:00:00", HOUR * 25),
    (datetime.timedelta, "-90s", datetime.timedelta(seconds=-90)),
    (Duration, "2h30m", 9000.0),
    (Duration, 90, 90.0),
    (Duration, HOUR, 3600.0),
    (Duration | None, None, None),
    (Size, "16GiB", 16 << 30),
    (Size, "1.5KB", 1500),
    (Size, 5, 5),
    (Size, Word("5"), 5),
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    (uuid.UUID, str(uuid.UUID(int=5)), uuid.UUID(int=5)),
    (list[int], [1, 2], [1, 2]),
    (list[int], (1,), [1]),
    (list[int], Word("[1,2]"), [1, 2]),
    (Sequence[float], [1], [1.0]),
    (list[str], Word("[a, 'b c', 3]"), ["a", "b c", "3"]),
    (set[int], [1, 1], {1}),
    (frozenset[str], ["a"], frozenset("a")),
    (set[int], {3}, {3}),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple, [1, "a"], (1, "a")),
    (tuple[float, float], Word("(0.9,0.95)"), (0.9, 0.95)),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (Mapping[str, float], Word("{a: 1, 'b c': 2}"), {"a": 1.0, "b c": 2.0}),
    (dict, Word("{}"), {}),
    (Optional[int], Word("none"), None),
    (Union[int, str], Word("5"), 5),
    (Union[str, int], Word("5"), "5"),
    (int | str, "5", "5"),
    (str | int, 5, 5),
    (float | int, 3, 3),
    (list[int] | int, Word("[1]"), [1]),
    (Literal["a", 1, True], 1, 1),
    (Literal[1, True], True, True),
    (Literal["a", 1], Word("1"), 1),
    (Literal[Color.RED], "RED", Color.RED),
    (Literal[None, "x"], Word("none"), None),
    (Color, "RED", Color.RED),
    (Color, "r", Color.RED),
    (Color, 2, Color.BLUE),
    (Color, Word("2"), Color.BLUE),
    (Right, "READ|WRITE", Right.READ | Right.WRITE),
    (UserId, 5, 5),
    (Number, 5, 5),
    (Annotated[int, "note"], 5, 5),
    (Any, Word("[1, true, x]"), [1, True, "x"]),
    (Any, Word("1e3"), 1000.0),
    (Any, {"a": [1]}, {"a": [1]}),
    (object, "x", "x"),
    (Annotated[int, msgspec.Meta(ge=1, le=5)], 5, 5),
    (Annotated[str, msgspec.Meta(pattern="^a")], "ab", "ab"),
    (Model, {"width": 3}, Model(3)),
    (Model, Model(4), Model(4)),
    (Model | None, None, None),
    (Model, Word("{width: 3}"), Model(3)),
    (list[Model], [{}, {"width": 1}], [Model(), Model(1)]),
    (dict[str, Model], {"a": {"rate": 1}}, {"a": Model(rate=1.0)}),
    (Line, {"width": 3}, {"width": 3}),
    (Line, {}, {}),
    (Point, {"x": 1}, Point(1)),
    (Callable[[int], int], abs, abs),
    (type, int, int),
    (type[int], bool, bool),
    (Secret, {"secret": "env:TOKEN"}, Secret("env:TOKEN")),
    (str | Secret, {"secret": "TOKEN"}, Secret("env:TOKEN")),
]


@pytest.mark.parametrize(("hint", "value", "expected"), FITS)
def test_a_value_that_fits_is_taken_as_its_type(hint: Any, value: Any, expected: Any) -> None:
    found = value_as(hint, value)
    assert type(found) is type(expected)
    assert found == expected or getattr(found, "reference", found) == getattr(
        expected, "reference", 0
    )


REFUSED = [
    (int, "5", "expected an integer, found '5'"),
    (int, True, "expected an integer, found true"),
    (int, 3.0, "expected an integer, found 3.0"),
    (int, Word("0x1G"), "expected an integer, found '0x1G'"),
    (int, Word("9" * 5000), "it is too long for a number"),
    (int, None, "expected an integer, found none"),
    (float, "5", "expected a number, found '5'"),
    (float, True, "expected a number, found true"),
    (float, 10**400, "too large"),
    (str, 5, "expected a text, found 5: quote it to make it a text"),
    (str, False, "YAML takes yes, no, on and off for true and false; quote it"),
    (bool, "no", "expected true or false"),
    (bool, 1, "expected true or false, found 1"),
    (bool, Word("maybe"), "expected true or false, found 'maybe'"),
    (bytes, "?", "bytes are written in base64"),
    (pathlib.Path, "a\0b", "no path may hold a NUL"),
    (datetime.timedelta, "12:30", "minutes or hours\\? write 12h30m, or 12:30:00"),
    (datetime.timedelta, "90", "it has no unit; write 90s, 15m or 2h"),
    (datetime.timedelta, "soon", "write 90s"),
    (datetime.timedelta, True, "expected a duration, found true"),
    (Duration, "x", "expected a duration, found 'x'"),
    (Size, "16G", "of 1000 or 1024\\? write GB or GiB"),
    (Size, "0.5B", "no whole number of bytes"),
    (Size, "x", "write 16GiB"),
    (datetime.datetime, "yesterday", "Invalid isoformat string"),
    (uuid.UUID, "x", "badly formed"),
    (list[int], "12", "expected a list, found '12'"),
    (list[int], {"a": 1}, "expected a list, found a mapping of 1"),
    (list[int], [1, "x"], r"field\[1\]: expected an integer, found 'x'"),
    (set[Any], [[1]], "expected a list"),
    (tuple[int, str], [1], "it has 1 items"),
    (tuple[int, str], ["a", 1], r"field\[0\]: expected an integer"),
    (dict[int, str], {"a": "x"}, "the key 'a': expected an integer"),
    (dict[str, int], [1], "expected a mapping"),
    (dict[str, int], {"a.b": "x"}, r'field\["a.b"\]: expected an integer'),
    (int | None, "x", "expected an integer or none, found 'x'"),
    (int | list[int], ["x"], r"field\[0\]: expected"),
    (Literal["a", "b"], "c", "expected one of 'a', 'b', found 'c'"),
    (Literal[1], True, "expected 1, found true"),
    (Literal["adam", "sgd"], "adma", "did you mean 'adam'"),
    (Color, "REDD", "did you mean 'RED'"),
    (Annotated[int, msgspec.Meta(ge=1)], 0, "expected at least 1, found 0"),
    (Annotated[str, msgspec.Meta(min_length=1)], "", "expected a length of at least 1, found ''"),
    (Annotated[int, msgspec.Meta(multiple_of=8)], 9, "expected a multiple of 8, found 9"),
    (Annotated[str, msgspec.Meta(pattern="^a")], "b", "expected a text like \\^a, found 'b'"),
    (Model, 5, "expected a Model, found 5"),
    (Model, {"widht": 1}, "unknown key 'widht'; did you mean 'width'"),
    (Model | Point, {"width": "x"}, "field.width: expected an integer"),
    (Line, {"wide": 1}, "unknown key 'wide'"),
    (Callable, "os.system", "write {_import_: module.name}"),
    (Secret, "hunter2 is the secret", "a secret is env:NAME or file:PATH"),
    (Model, Config(Point, x=1), "expected a Model, found a Config of Point"),
    (Model, Partial(Model), "found a Partial"),
]


@pytest.mark.parametrize(("hint", "value", "told"), REFUSED)
def test_a_value_that_does_not_fit_is_refused_with_what_was_expected(
    hint: Any, value: Any, told: str
) -> None:
    with pytest.raises(ConfigInvalid, match=told) as caught:
        value_as(hint, value)
    assert caught.value.problems[0].path.startswith("field")
    assert "hunter2" not in str(caught.value)


def test_all_mistakes_are_told_at_once_each_with_its_path() -> None:
    @dataclasses.dataclass
    class Run:
        name: str
        model: Model = dataclasses.field(default_factory=Model)
        layers: list[Model] = dataclasses.field(default_factory=list)

    with pytest.raises(ConfigInvalid) as caught:
        make(Run, {"nmae": 1, "model": {"width": "x"}, "layers": [{}, {"rate": []}]})
    assert [one.path for one in caught.value.problems] == [
        "nmae",
        "model.width",
        "layers[1].rate",
        "",
    ]
    assert caught.value.problems[0].near == ("name",)
    assert caught.value.problems[1].found == "'x'"
    assert caught.value.problems[3].reason == "the key 'name' is missing"


def test_the_order_of_a_union_counts_although_python_takes_both_for_equal() -> None:
    assert list[int | str] == list[str | int]
    assert value_as(list[int | str], Word("[5]")) == [5]
    assert value_as(list[str | int], Word("[5]")) == ["5"]


HOSTILE = [
    "os.system",
    "__import__('os').system('x')",
    "../x",
    "${HOME}",
    "__class__",
    "!!python/object:x",
    "{_target_: os.system}",
    "lambda: 0",
    "x" * 1_000_000,
    "\x1b[31m",
    "[" * 5000,
    "(1",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_inert(text: str) -> None:
    assert value_as(str, Word(text)) == text
    assert value_as(str, text) == text
    found = value_as(Any, Word(text))
    assert found == text or found == {"_target_": "os.system"}


def test_a_message_shows_no_control_characters_and_little_of_a_long_text() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        value_as(int, "\x1b[31m" + "x" * 10_000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_what_stands_for_another_value_is_taken_and_checked_when_it_is_built() -> None:
    @dataclasses.dataclass
    class Pair:
        left: int = 1
        right: int = 0
        name: str = "x"

    config = Config(Pair, right=Ref("left"))
    config.left = 7
    assert config.build() == Pair(7, 7)
    config["right"] = Ref("name")
    with pytest.raises(ConfigInvalid, match="right: the value at name: expected an integer"):
        config.build()
    config["right"] = Ref("right")
    with pytest.raises(ConfigInvalid, match="it leads to itself: right → right"):
        config.build()
    config["right"] = Ref("lefft")
    with pytest.raises(ConfigInvalid, match="did you mean 'left'"):
        config.build()


def test_abstract_types_of_the_standard_library_are_known() -> None:
    assert value_as(collections.abc.Iterable[int], [1]) == [1]
    assert value_as(typing.Dict[str, typing.List[int]], {"a": [1]}) == {"a": [1]}


def test_types_of_modules_that_nobody_has_loaded_cost_nothing() -> None:
    code = (
        "import sys\nfrom runbus.config import Partial, apply_overrides, parse_override\n"
        "def train(width: int = 1, rate: float = 0.5, name: str = '') -> None: pass\n"
        "apply_overrides(Partial(train), map(parse_override, ['width=2', 'rate*=2', 'name=x']))\n"
        "print({'pathlib', 'decimal', 'uuid', 'json', 'base64'} & {*sys.modules})\n"
        "import pathlib, decimal\n"
        "def late(where: pathlib.Path, exact: decimal.Decimal) -> object: return where, exact\n"
        "config = Partial(late)\n"
        "apply_overrides(config, map(parse_override, ['where=a/b', 'exact=1.10']))\n"
        "print(config.build()())\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "set()\n(PosixPath('a/b'), Decimal('1.10'))\n"


def _kinds(value: Any) -> set[type]:
    if isinstance(value, dict):
        return {dict}.union(*map(_kinds, value), *map(_kinds, value.values()))
    if isinstance(value, (list, tuple)):
        return {type(value)}.union(*map(_kinds, value))
    return {type(value)}


@given(st.text("ab1.[](){}:,='\" "))
def test_what_no_type_is_known_of_is_made_of_plain_values_which_a_record_can_hold(
    text: str,
) -> None:
    plain = {type(None), bool, int, float, str, list, tuple, dict}

    assert _kinds(guess(Word(text))) <= plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[a, 1, '2', [b]]", ["a", 1, "2", ["b"]]),
        ("{a: b, c: {1: 2.5}}", {"a": "b", "c": {"1": 2.5}}),
        ("(1, a)", (1, "a")),
        ("[adam(lr=1)]", ["adam(lr=1)"]),
        ("[abc", "[abc"),
    ],
)
def test_each_part_of_a_word_has_its_own_meaning(text: str, value: Any) -> None:
    assert guess(text) == value
