"""Spaces of sweeps: their points, and what is refused before any is made."""

from __future__ import annotations

import enum
import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.config import (
    Choice,
    Grid,
    IntUniform,
    LogUniform,
    Points,
    Random,
    Trials,
    Uniform,
    Zip,
    load_space,
    read_space,
    space_of_words,
)
from runbus.errors import SpaceInvalid, SweepInvalid

_numbers = st.floats(min_value=1e-300, max_value=1e300)
_axes = st.one_of(
    st.tuples(_numbers, _numbers).map(lambda two: LogUniform(*sorted(two))),
    st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)).map(
        lambda two: Uniform(*sorted(two))
    ),
    st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)).map(
        lambda two: IntUniform(*sorted(two))
    ),
    st.lists(st.integers() | st.text(), min_size=1, max_size=4, unique_by=repr).map(Choice),
)


def test_a_grid_has_every_combination_the_last_path_fastest() -> None:
    assert list(Grid({"lr": [0.1, 1], "model.depth": [2, 3]}).points()) == [
        {"lr": 0.1, "model.depth": 2},
        {"lr": 0.1, "model.depth": 3},
        {"lr": 1, "model.depth": 2},
        {"lr": 1, "model.depth": 3},
    ]


class _Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class _Kind(enum.StrEnum):
    A = "a"


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        (np.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
        ([*np.linspace(0, 1, 3)], [0.0, 0.5, 1.0]),
        (np.arange(2), [0, 1]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["a", "b"]), ["a", "b"]),
        ([np.str_("a"), np.bool_(True), np.float32(0.5)], ["a", True, 0.5]),
        (range(3), [0, 1, 2]),
        ((1, 2.5, None), [1, 2.5, None]),
        ([Path("/a"), _Text("b"), _Kind.A], ["/a", "b", "a"]),
        ([(1, {"x": np.int64(2)})], [[1, {"x": 2}]]),
    ],
)
def test_values_of_arrays_ranges_and_kinds_of_numbers_and_texts_are_made_plain(
    values: Any, plain: list[Any]
) -> None:
    points = Points([{"x": one} for one in values])
    drawn = Random({"x": values}, len(plain))

    for space in (Grid({"x": values}), Grid({"x": iter(values)}), Zip({"x": values}), points):
        assert [one["x"] for one in space.points()] == plain
        msgspec.json.encode(space.data)  # which takes JSON's own types, and no kind of them
    assert sorted(map(repr, (one["x"] for one in drawn.points()))) == sorted(map(repr, plain))
    msgspec.json.encode(drawn.data)


def test_ranges_take_numbers_of_numpy() -> None:
    high: Any = np.float32(2)
    low: Any = np.int64(1)
    space = Random({"a": Uniform(np.float64(0.5), high), "b": IntUniform(low, 9)}, 1)

    assert space.data["random"] == {"a": {"uniform": [0.5, 2.0]}, "b": {"int": [1, 9]}}
    msgspec.json.encode(space.data)


@pytest.mark.parametrize(
    ("values", "problem", "hint"),
    [
        ({1, 2}, "x: expected a list of values, got {1, 2}", "write a list: a set has no order"),
        ([*range(200_000)], "it has 200,000 points, and a sweep at most 100,000", "write fewer"),
        (itertools.count(), "it has 100,001 points, and a sweep at most 100,000", "write fewer"),
        (np.float64(3), "x: expected a list of values, got np.float64(3.0)", "write a list: ["),
        (np.zeros(0), "x: the list is empty", "write at least one value"),
        (np.zeros(2), "x[1]: 0.0 is given twice", "leave one out"),
        (np.array([np.nan]), "x[0]: nan cannot be a value", "write text, numbers"),
        (b"ab", "x: expected a list of values, got b'ab'", "write a list"),
    ],
)
def test_what_holds_no_values_in_order_is_refused(values: Any, problem: str, hint: str) -> None:
    with pytest.raises(SpaceInvalid) as caught:
        Grid({"x": values})

    assert problem in str(caught.value)
    assert str(caught.value.hint).startswith(hint)


def test_what_holds_itself_is_refused() -> None:
    around: list[Any] = []
    around.append(around)

    with pytest.raises(SpaceInvalid):
        Grid({"x": around})


def test_a_zip_takes_the_first_values_together_then_the_second() -> None:
    assert list(Zip({"lr": [0.1, 1], "depth": [2, 3]}).points()) == [
        {"lr": 0.1, "depth": 2},
        {"lr": 1, "depth": 3},
    ]


@given(axis=_axes, seed=st.integers(0, 2**70))
def test_what_is_drawn_is_within_its_range(axis: Any, seed: int) -> None:
    (point,) = Random({"x": axis}, 1, seed).points()

    if isinstance(axis, Choice):
        assert point["x"] in axis.values
    else:
        assert axis.low <= point["x"] <= axis.high
        assert isinstance(point["x"], int) == isinstance(axis, IntUniform)


@given(seed=st.integers(), more=st.integers(0, 20))
def test_more_points_and_other_paths_leave_the_first_points_as_they_are(
    seed: int, more: int
) -> None:
    few = list(Random({"lr": LogUniform(1e-6, 1)}, 5, seed).points())
    many = list(Random({"w": Uniform(0, 1), "lr": LogUniform(1e-6, 1)}, 5 + more, seed).points())

    assert [one["lr"] for one in many[:5]] == [one["lr"] for one in few]


def test_points_are_the_same_on_every_machine() -> None:
    axes: Any = {
        "lr": LogUniform(1e-5, 0.1),
        "width": IntUniform(8, 512),
        "drop": Uniform(0, 0.5),
        "opt": ["adam", "sgd"],
    }
    assert list(Random(axes, 3, seed=7).points()) == [
        {"lr": 0.000482518, "width": 60, "drop": 0.462116, "opt": "adam"},
        {"lr": 0.000111885, "width": 109, "drop": 0.1491392, "opt": "adam"},
        {"lr": 2.8674e-05, "width": 355, "drop": 0.3011519, "opt": "adam"},
    ]


def test_points_are_the_same_in_every_process() -> None:
    space = Random({"lr": LogUniform(1e-5, 0.1), "opt": Choice(["a", "b"])}, 20, seed=3)
    program = (
        "import json; from runbus.config import read_space\n"
        f"space = read_space(json.loads({json.dumps(space.data)!r}), '', [])\n"
        "print(json.dumps(list(space.points())))"
    )
    env = {"PYTHONHASHSEED": "1", "LC_ALL": "C"}
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=env)

    assert json.loads(told.stdout) == list(space.points())


def test_drawn_points_differ_from_each_other() -> None:
    points = list(Random({"a": IntUniform(1, 4), "b": [0, 1]}, 8, seed=1).points())

    assert len({(one["a"], one["b"]) for one in points}) == 8


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"random": {"lr": {"log_uniform": [0, 1]}}, "points": 3}, "random.lr.log_uniform: the lo"),
        ({"random": {"n": {"int": [1, 2.5]}}, "points": 3}, "random.n.int: 2.5 is no whole number"),
        ({"random": {"n": {"unifrom": [1, 2]}}, "points": 3}, "did you mean 'uniform'"),
        ({"random": {"n": {"int": [1, 3]}}, "points": 4}, "there are 3 different ones"),
        ({"random": {"n": {"uniform": [3, 1]}}, "points": 4}, "ends before it begins: 3 > 1"),
        ({"random": {"n": {"uniform": [0, float("inf")]}}, "points": 4}, "inf is no finite number"),
        ({"random": {"n": [1, 2]}}, "how many points are drawn is missing"),
        ({"random": {"n": [1, 2]}, "points": True}, "points is True, and no whole number"),
        ({"zip": {"a": [1, 2], "m.b": [1]}}, 'zip["m.b"]: 1 values, but a has 2'),
        ({"grid": {"a": []}}, "grid.a: the list is empty"),
        ({"grid": {"a": [1, 1]}}, "grid.a[1]: 1 is given twice"),
        ({"grid": {"a": [float("nan")]}}, "grid.a[0]: nan cannot be a value"),
        ({"grid": {"a": 3}}, "grid.a: expected a list of values, got 3"),
        ({"grid": {"--a": [3]}}, "'--a' is no path of a configuration"),
        ({"grid": {}}, "grid: nothing is swept"),
        ({"list": [{"a": 1}, {"a": 1}]}, "list[1]: {'a': 1} is given twice"),
        ({"list": [{"a": 1}, 3]}, "list[1]: expected a mapping"),
        ({"gird": {"a": [1]}}, "did you mean 'grid'"),
        ({"grid": {"a": [1]}, "zip": {"a": [1]}}, "it is grid and zip"),
        ({"grid": {"a": [1]}, "seed": 3}, "seed does not go with grid"),
        ({"trials": 0}, "0 points are none"),
        ({"file": "missing.csv"}, "no such file"),
        ("grid", "expected a space, got 'grid'"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_space_is_told_with_its_place(data: Any, told: str) -> None:
    wrong: Any = []

    assert read_space(data, "", wrong) is None
    assert told in " ".join(str(one.told()) for one in wrong)


def test_a_billion_points_are_refused_before_they_are_made() -> None:
    axis = list(range(1000))
    with pytest.raises(SpaceInvalid, match="1,000,000,000 points") as caught:
        Grid({"a": axis, "b": axis, "c": axis})

    assert caught.value.hint == "write fewer values, or draw some of them: random"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    for too_many in (lambda: Random({"a": Uniform(0, 1)}, 10**9), lambda: Trials(10**9)):
        with pytest.raises(SpaceInvalid, match="1,000,000,000 points"):
            too_many()


def test_a_space_is_read_back_from_its_data() -> None:
    spaces: list[Any] = [
        Grid({"a": [1, "x", None]}),
        Zip({"a": [1, 2], "b": [True, 0.5]}),
        Points([{"a": 1}, {"a": 2, "b": [1]}]),
        Random({"a": [1, 2], "b": LogUniform(1e-3, 1.0)}, 2, 5),
        Trials(3),
    ]
    assert [read_space(one.data, "", []) for one in spaces] == spaces


def test_points_come_from_files(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text('\ufefflr, opt\r\n0.1,adam\n\n1,"sg,d"\n')
    document = tmp_path / "points.yaml"
    document.write_text("- {lr: 0.1, opt: adam}\n- {lr: 1, opt: 'sg,d'}\n")

    assert list(load_space(str(document)).points()) == [
        {"lr": 0.1, "opt": "adam"},
        {"lr": 1, "opt": "sg,d"},
    ]
    assert list(load_space(str(table)).points()) == [
        {"lr": "0.1", "opt": "adam"},
        {"lr": "1", "opt": "sg,d"},
    ]
    assert read_space({"file": "points.csv"}, str(tmp_path), []) == load_space(str(table))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "lr,n\n1\n", "a.csv:2: 1 values, but 2 names"),
        ("a.csv", "lr,lr\n1,2\n", "a.csv:1: two columns are named 'lr'"),
        ("a.csv", "", "a.csv: the list is empty"),
        ("a.csv", "lr\n\x80\n", "it is no CSV"),
        ("a.csv", 'lr\n"1\n', "it is no CSV"),
        ("a.yaml", "- {lr: 1}\n- {lr: 1}\n", "a.yaml:2: list[1]: {'lr': 1} is given twice"),
        ("a.yaml", "random:\n  lr: {log_uniform: [0, 1]}\npoints: 3\n", "a.yaml:2: random.lr"),
        ("a.yaml", "file: a.yaml\n", "names no other file"),
        ("a.yaml", "{", "a.yaml:1"),
        ("a.txt", "", "a.txt"),
    ],
    ids=["short", "twice", "empty", "bytes", "quote", "again", "random", "itself", "yaml", "end"],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(SpaceInvalid) as caught:
        load_space(str(path))

    assert told in str(caught.value)


def test_words_draw_values_if_they_say_from_what() -> None:
    space = space_of_words(["lr=log_uniform(1e-5, 1e-1)", "opt=adam,sgd"], points=4, seed=9)

    assert space == Random({"opt": Choice(["adam", "sgd"]), "lr": LogUniform(1e-5, 1e-1)}, 4, 9)


@pytest.mark.parametrize(
    ("words", "options", "told"),
    [
        (["lr=uniform(0,1)"], {}, "add --points 20"),
        (["lr=uniform(0)"], {"points": 3}, "uniform takes two numbers"),
        (["lr=uniform(0,1)", "lr=1,2"], {"points": 3}, "lr is swept twice"),
        (["lr=uniform(0,1)", "lr=int(0,1)"], {"points": 3}, "lr is swept twice"),
        (["@a.csv", "lr=1"], {}, "goes with nothing else"),
        (["a=1", "b=2"], {"points": 1, "is_zip": True}, "what is drawn is not zipped"),
    ],
    ids=["points", "numbers", "twice", "drawn-twice", "file", "zip"],
)
def test_words_that_do_not_go_together_are_refused(
    words: list[str], options: Any, told: str
) -> None:
    with pytest.raises(SweepInvalid, match=told):
        space_of_words(words, **options)
