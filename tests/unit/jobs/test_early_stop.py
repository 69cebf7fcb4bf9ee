"""Rules that end a job early, by the points that its run logs."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runbus.abc import EarlyStop
from runbus.errors import FieldInvalid
from runbus.jobs import EarlyStopRules


def _first(
    stop: EarlyStop, values: list[float], metric: str = "val/loss"
) -> tuple[int, str] | None:
    """Return the first step at which a rule ends the job, and why."""
    rules = EarlyStopRules(stop)
    for step, value in enumerate(values):
        if (reason := rules.reason(metric, step, value)) is not None:
            return step, reason
    return None


@pytest.mark.parametrize(
    ("rule", "values", "step", "reason"),
    [
        ("val/loss > 3 after 2", [9, 9, 3, 4], 3, "val/loss is 4 > 3 at step 3"),
        ("val/loss >= 3 after 2", [9, 9, 3, 4], 2, "val/loss is 3 >= 3 at step 2"),
        ("val/loss<-1e-1", [0, -0.1, -0.2], 2, "val/loss is -0.2 < -0.1 at step 2"),
        ("val/loss <= .5", [1, 0.5], 1, "val/loss is 0.5 <= 0.5 at step 1"),
        ("val/loss is nan", [1, math.inf, math.nan], 2, "val/loss is nan at step 2"),
        (
            "val/loss is nan after 5 or val/loss > 8",
            [math.nan, 9],
            1,
            "val/loss is 9 > 8 at step 1",
        ),
        ("val/loss > 3", [9], 0, "val/loss is 9 > 3 at step 0"),
        ("val/loss > 3 after 9", [9, 9], None, None),
        ("loss > 3", [9, 9], None, None),
        ("val/loss > 3", [math.nan], None, None),
    ],
    ids=[
        "after",
        "reached",
        "below",
        "at-most",
        "nan",
        "or",
        "at-once",
        "not-yet",
        "other",
        "no-nan",
    ],
)
def test_a_bound_ends_a_job_at_the_first_step_that_it_holds_for(
    rule: str, values: list[float], step: int | None, reason: str | None
) -> None:
    found = _first(EarlyStop(stop_when=rule), values)

    assert found == (None if step is None else (step, reason))


@given(values=st.lists(st.floats(allow_infinity=False), max_size=30), steps=st.integers(1, 10))
@example(values=[math.nan, 1.0, 1.0], steps=2)
def test_patience_ends_a_job_once_its_best_is_so_many_steps_old(
    values: list[float], steps: int
) -> None:
    expected = None
    for at in range(len(values)):
        seen = [(math.inf if math.isnan(one) else one) for one in values[: at + 1]]
        best = min(range(at + 1), key=lambda one: seen[one])
        if at - best >= steps:
            expected = at
            break

    for goal, sign in (("min", 1), ("max", -1)):
        stop = EarlyStop(patience=f"{goal}:val/loss for {steps}")
        found = _first(stop, [sign * one for one in values])
        assert (found and found[0]) == expected


@pytest.mark.parametrize(("goal", "values"), [("min", [5, 3, 4, 3]), ("max", [1, 3, 2, 3])])
def test_patience_says_what_was_best_and_when(goal: str, values: list[float]) -> None:
    stop = EarlyStop(patience=f"{goal}:val/loss for 2")

    said = "val/loss was best with 3 at step 1, and this is step 3"
    assert _first(stop, values) == (3, said)


@pytest.mark.parametrize(
    "rule",
    [
        "loss",
        "loss > three",
        "loss > 3 after -1",
        "> 3",
        "loss == 3",
        "loss > 3 and acc < 1",
        "a or",
    ],
)
def test_what_is_no_rule_is_refused_with_a_hint(rule: str) -> None:
    with pytest.raises(FieldInvalid, match=re.escape(repr(rule))) as caught:
        EarlyStop(stop_when=rule)

    assert caught.value.hint == "write a metric and a bound: val/loss > 3 after 500, or loss is nan"
    with pytest.raises(FieldInvalid, match="the text has an invalid form\n"):
        EarlyStop(patience=rule)


def test_rules_say_what_they_look_at() -> None:
    stop = EarlyStop(stop_when="a > 1 or b is nan", patience="min:c for 2")

    assert EarlyStopRules(stop).metrics == {"a", "b", "c"}
    assert EarlyStopRules(EarlyStop()).metrics == set()
