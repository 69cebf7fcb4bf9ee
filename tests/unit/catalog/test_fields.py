"""What runs are compared by: what their metrics amount to, and what they had logged at a step."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

import runbus
from runbus.catalog import Condition, Fields, ordered, selected, survey
from runbus.errors import UsageError

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture(autouse=True)
def runs() -> None:
    """Make three runs; the last has logged no number."""
    for name, values in [("a", [3.0, 1.0, 2.0]), ("b", [4.0, 0.5, 9.0, 6.0])]:
        with runbus.init("p", name, config={"lr": 0.1}) as run:
            for step, value in enumerate(values):
                run.log({"val/loss": value}, step=10 * step)
    with runbus.init("p", "c", config={"odd:min": 7}) as run:
        run.log({"val/loss": math.nan}, step=0)


def values(name: str, at_step: int | None = None) -> list[object]:
    fields = Fields(at_step)
    return [fields.of(row, name) for row in survey()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/loss:min", [1.0, 0.5, None]),
        ("val/loss:min@step", [10, 10, None]),
        ("val/loss:max", [3.0, 9.0, None]),
        ("val/loss:max@step", [0, 20, None]),
        ("val/loss:mean", [2.0, 4.875, None]),
        ("val/loss@step", [20, 30, 0]),
        ("odd:min", [None, None, 7]),
        ("nothing:min", [None, None, None]),
        ("val/loss:median", [None, None, None]),
        (":min", [None, None, None]),
        ("@step", [None, None, None]),
    ],
)
def test_a_name_may_ask_for_what_the_points_of_a_metric_amount_to(
    name: str, expected: list[object]
) -> None:
    assert values(name) == expected


def test_at_a_step_only_what_was_logged_there_counts() -> None:
    assert values("val/loss", 10) == [1.0, 0.5, None]
    assert values("val/loss", 30) == [None, 6.0, None]
    fields = Fields(10)
    assert [fields.values(row.run) for row in survey() if row.run] == [
        {"val/loss": 1.0},
        {"val/loss": 0.5},
        {},
    ]


def test_runs_are_chosen_and_ordered_by_it() -> None:
    rows = survey()

    assert [row.name for row in ordered(rows, "val/loss:min")] == ["b", "a", "c"]
    assert [row.name for row in ordered(rows, "-val/loss:min@step")] == ["a", "b", "c"]
    conditions = Condition.parse("lr>0.01 and val/loss:min<0.9")
    assert [row.name for row in selected(rows, conditions)] == ["b"]
    assert [row.name for row in selected(rows, Condition.parse("val/loss=6"), Fields(30))] == ["b"]


@pytest.mark.parametrize(
    ("name", "at_step", "told"),
    [
        ("val/loss:mni", None, "did you mean 'val/loss:min'"),
        ("val/los:min", None, "did you mean 'val/loss:min'"),
        ("val/los@step", None, "did you mean 'val/loss@step'"),
        ("val/loss:mean@step", None, "the step of a mean, which has none"),
        ("val/loss:min", 10, "is of all steps, and one is asked for"),
        ("val/loss", 15, "the steps next to it are 10 and 20"),
        ("val/loss", 99, "the steps next to it are 30"),
        ("zzz", 10, "no run has a field, param or metric 'zzz'; fields are id"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_may_have_been_meant(
    name: str, at_step: int | None, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        Fields(at_step).check(survey(), name)


def test_ls_prints_what_was_asked_for_as_json() -> None:
    command = [
        RUNBUS,
        "ls",
        "--json",
        "--columns",
        "name,val/loss:min@step",
        "--sort",
        "val/loss:min",
    ]
    made = subprocess.run(command, capture_output=True, check=True, timeout=120)

    assert [tuple(one.values()) for one in json.loads(made.stdout)] == [
        ("b", 10),
        ("a", 10),
        ("c", None),
    ]


@pytest.mark.parametrize("value", ["3", "epoch=3", "step=", "step=1e3", f"step={1 << 63}"])
def test_a_step_that_is_none_is_refused(value: str) -> None:
    made = subprocess.run([RUNBUS, "ls", "--at", value], capture_output=True, timeout=120)

    assert made.returncode == 2
    assert b"is not a step: write step=1000" in made.stderr
