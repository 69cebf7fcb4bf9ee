"""What is exported is imported again as it was, in every form."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbus import Secret
from runbus.config import (
    Config,
    Partial,
    Ref,
    apply_overrides,
    dumps,
    load,
    parse_override,
    render_overrides,
)
from runbus.errors import ConfigInvalid

ME = __name__


class Color(enum.Enum):
    RED = "r"
    BLUE = 2


@dataclasses.dataclass
class Leaf:
    number: int = 0
    rate: float | None = None
    text: str = ""
    color: Color = Color.RED
    path: Path | None = None
    time: datetime.datetime | None = None
    wait: datetime.timedelta | None = None
    raw: bytes = b""
    exact: decimal.Decimal = decimal.Decimal(0)
    key: uuid.UUID | None = None
    choice: Literal["a", 1, True, None] = "a"
    either: int | str | list[int] | None = None
    secret: str | Secret | None = None
    any: Any = None


@dataclasses.dataclass
class Tree:
    leaf: Leaf = dataclasses.field(default_factory=Leaf)
    leaves: list[Leaf] = dataclasses.field(default_factory=list)
    named: dict[str, Leaf] = dataclasses.field(default_factory=dict)
    numbered: dict[int, float] = dataclasses.field(default_factory=dict)
    pair: tuple[int, str] | None = None
    paths: list[Path] = dataclasses.field(default_factory=list)
    some: set[int] = dataclasses.field(default_factory=set)
    below: Tree | None = None


def call(number: int = 0, *rest: int, leaf: Leaf | None = None, **others: str) -> None: ...


ODD = [
    "no",
    "~",
    "1e5",
    "0o17",
    "017",
    "<<",
    "1:30",
    "2026-01-02",
    "-_a",
    "a:_b",
    "#",
    "'",
    '"',
    "{_ref_:_a}",
    "true",
    "null",
    "=",
    "x\\n_y\\n",
]
ODD = [one.replace("_", " ").replace("\\n", "\n") for one in ODD] + ["\u2028", "\x85", "\x7f", " "]

texts = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.sampled_from(ODD),
)
numbers = st.integers(-(10**30), 10**30)
floats = st.floats(width=64)
paths = texts.map(Path)
plain = st.one_of(st.none(), st.booleans(), numbers, floats, texts)
odd = st.one_of(
    plain, paths, st.binary(max_size=5), st.sampled_from(Color), st.tuples(numbers, texts),
    st.frozensets(numbers, max_size=3), st.sampled_from([Leaf, len]), st.complex_numbers(),
)  # fmt: skip
keys = texts.filter(lambda text: not text.startswith("_"))
anything = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
PLAIN = {
    "number": numbers, "rate": st.none() | floats, "text": texts, "color": st.sampled_from(Color),
    "path": paths, "time": st.datetimes(), "wait": st.timedeltas(), "raw": st.binary(max_size=5),
    "exact": st.decimals(allow_nan=False), "key": st.uuids(),
    "choice": st.sampled_from(["a", 1, True, None]), "either": numbers | texts | st.none(),
    "secret": texts,
}  # fmt: skip
"""What a leaf may hold that a word can say, too."""

ALL = PLAIN | {
    "number": numbers | st.just(Ref("below")), "any": anything,
    "either": PLAIN["either"] | st.lists(numbers, max_size=2),
    "secret": texts | st.just(Secret("env:TOKEN")),
}  # fmt: skip


def leaves_of(fields: dict[str, Any]) -> Any:
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: Config(Leaf, **values))


def trees_of(leaves: Any) -> Any:
    return st.recursive(
        leaves.map(lambda leaf: Config(Tree, leaf=leaf)),
        lambda inner: st.fixed_dictionaries(
            {"below": inner},
            optional={
                "leaves": st.lists(leaves, max_size=2),
                "named": st.dictionaries(keys, leaves, max_size=2),
                "numbered": st.dictionaries(st.integers(-9, 9), floats, max_size=2),
                "pair": st.tuples(numbers, texts), "paths": st.lists(paths, max_size=2),
                "some": st.sets(numbers, max_size=3),
            },
        ).map(lambda values: Config(Tree, **values)),
        max_leaves=3,
    )  # fmt: skip


leaves, trees = leaves_of(ALL), trees_of(leaves_of(ALL))
calls = st.tuples(numbers, st.lists(numbers, max_size=2), leaves, st.booleans()).map(
    lambda one: (Partial if one[3] else Config)(call, one[0], *one[1], leaf=one[2], other="x")
)


@given(trees | calls, st.sampled_from(["yaml", "toml", "json"]))
@settings(max_examples=80, deadline=None, suppress_health_check=[*HealthCheck])
def test_a_file_gives_back_what_was_written(config: Any, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{form}")
        path.write_text(dumps(config, form), encoding="utf-8", newline="")
        again = load(path)
    assert again == config, str(config.diff(again))
    assert dumps(again, form) == dumps(config, form)


@given(trees | calls)
@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
def test_code_makes_again_what_it_was_written_from(config: Any) -> None:
    code = dumps(config, "python").replace(f"import {ME}\n", "import sys\n")
    found: dict[str, Any] = {}
    exec(code.replace(f"{ME}.", f"sys.modules[{ME!r}]."), found)
    assert found["config"] == config, str(config.diff(found["config"]))
    assert ME in sys.modules


@given(trees_of(leaves_of(PLAIN)))
@settings(max_examples=80, deadline=None, suppress_health_check=[*HealthCheck])
def test_words_make_again_what_they_were_rendered_from(config: Any) -> None:
    words = render_overrides(config)
    again = Config(Tree)
    apply_overrides(again, map(parse_override, words))
    assert again == config, f"{words}: {config.diff(again)}"


@pytest.mark.parametrize(
    "values", [{"either": [1]}, {"secret": Secret("env:A")}, {"any": Leaf}, {"number": Ref("b")}]
)
def test_what_no_word_can_say_is_refused_and_not_said_wrongly(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match="no word of a command line says this; a file does"):
        render_overrides(Config(Tree, leaf=Config(Leaf, **values)))
