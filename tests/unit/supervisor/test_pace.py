"""How often a backend is looked at."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from runbus.supervisor._pace import FASTEST_S, Pace


def quiet_looks(pace: Pace, start: float, count: int) -> list[float]:
    """Look as soon as it is due, see nothing new, and return the times of the looks."""
    now, times = start, []
    for _ in range(count):
        now += pace.wait_s(now)
        times.append(now)
        pace.looked(now, has_changed=False)
    return times


def test_the_first_look_is_due_at_once() -> None:
    assert Pace(0, 5).wait_s(100.0) == 0


def test_looks_become_rarer_while_nothing_happens_but_never_too_rare() -> None:
    times = quiet_looks(Pace(0, 5), 100.0, 40)

    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.05
    assert abs(gaps[-1] - 5) < 1e-6


def test_what_nobody_reads_is_looked_at_as_rarely_as_is_said_and_only_then() -> None:
    pace = Pace(0, 0.5)
    now = quiet_looks(pace, 100.0, 40)[-1]
    for _ in range(40):
        pace.looked(now, has_changed=False, slowest_s=5.0)
    assert abs(pace.wait_s(now) - 5.0) < 1e-6

    pace.looked(now, has_changed=False)
    assert abs(pace.wait_s(now) - 0.5) < 1e-6


def test_something_new_makes_looks_frequent_again() -> None:
    pace = Pace(0, 5)
    now = quiet_looks(pace, 100.0, 40)[-1]

    pace.looked(now, has_changed=True)

    assert abs(pace.wait_s(now) - FASTEST_S) < 1e-9


def test_what_the_backend_tells_is_looked_at_now_and_what_we_did_soon() -> None:
    pace = Pace(0, 5)
    now = quiet_looks(pace, 100.0, 40)[-1]

    pace.quicken()
    assert 0 < pace.wait_s(now) < FASTEST_S + 1e-9
    pace.quicken(at_once=True)
    assert pace.wait_s(now) == 0


@given(
    st.floats(0, 60),
    st.lists(st.tuples(st.sampled_from(["quicken", "push", "wait"]), st.booleans()), max_size=50),
)
def test_a_backend_is_never_asked_more_often_than_it_bears(
    least_s: float, doings: list[tuple[str, bool]]
) -> None:
    pace, now, last = Pace(least_s, 5), 1000.0, None
    for doing, has_changed in doings:
        if doing != "wait":
            pace.quicken(at_once=doing == "push")
        now += pace.wait_s(now)
        if last is not None:
            assert now - last >= least_s - 1e-6
            assert now - last <= max(5, least_s) + 1e-6
        last = now
        pace.looked(now, has_changed=has_changed)
