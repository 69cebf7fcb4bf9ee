"""Conditions on when runs were made, and on what is a number."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runbus
from runbus.catalog import Condition, selected, survey
from runbus.catalog._times import period_of
from runbus.errors import UsageError

SHOWN = "%Y-%m-%d %H:%M:%S"
TIMES = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1))


def chosen(*texts: str) -> list[str]:
    return [row.name for row in selected(survey(), [Condition.parse(text)[0] for text in texts])]


@given(TIMES, st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M", SHOWN]))
def test_a_time_lies_in_the_period_that_is_written_of_it(moment: datetime, form: str) -> None:
    moment_ns = int(moment.replace(microsecond=0).timestamp()) * 10**9
    shown = time.strftime(form, time.localtime(moment_ns / 1e9))
    period = period_of(shown)
    assert period is not None
    assert period.start_ns <= moment_ns < period.end_ns
    after = time.strftime(form, time.localtime(period.end_ns / 1e9))
    assert period_of(after) == (period.end_ns, period_of(after).end_ns)  # type: ignore[union-attr]


def test_a_time_may_name_its_zone() -> None:
    for text in ("1970-01-02T01:00Z", "1970-01-02 02:00 +0100", "1970-01-01T20:00:00-05:00"):
        assert period_of(text).start_ns == 90_000 * 10**9  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["1h", "yesterday", "20", "2026-13", "2026-02-30", "9999", "abc"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time that created is compared with: write created"):
        Condition.parse(f"created>{text}")


def test_runs_are_chosen_by_when_they_were_made() -> None:
    with runbus.init(project="p", name="a"):
        pass
    made = datetime.fromtimestamp(survey()[0].created_ns // 10**9)
    for true in (
        "created>2020",
        f"created>={made:%Y-%m-%d}",
        f"created>={made:%Y-%m-%dT%H:%M}",
        f"created={made:%Y-%m-%d}",
        f"created={made:{SHOWN}}",
        f"created<{made + timedelta(minutes=1):{SHOWN}}",
        f"created~{made:%Y-}",
        "created!=2020",
    ):
        assert chosen(true) == ["a"], true
    later = made + timedelta(days=1)
    for false in ("created<2020", f"created>{later:%Y-%m-%d}", "created=2020", "created~1h"):
        assert chosen(false) == [], false


def test_a_number_is_not_compared_with_what_is_none() -> None:
    for name, rate in (("number", 0.5), ("word", "auto")):
        with runbus.init(project="p", name=name, config={"rate": rate}) as run:
            run.log("loss", float("nan") if name == "word" else 1.0)

    with pytest.raises(UsageError, match="'abc' is not a number, and loss is compared with it"):
        chosen("loss < abc")
    assert chosen("rate>0.1") == ["number"]
    assert chosen("rate<b") == ["word"]
    assert chosen("loss>0.5") == ["number"]
    assert chosen("loss<0.5") == []
    assert chosen("rate=auto") == ["word"]
