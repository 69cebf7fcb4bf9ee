"""Jobs that wait for others, and the first failure that ends all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from runbus.abc import GRACE_S, JobSpec, RetryPolicy
from runbus.attempt import CANCELLED
from runbus.events import Condition, Dependency
from runbus.jobs import TERMINAL, End, JobState
from runbus.supervisor._board import Board, decide
from runbus.supervisor._decisions import (
    Cancel,
    Decision,
    Drain,
    Find,
    Finish,
    Follow,
    NoteCancel,
    Retry,
    Submit,
)

from .backend import DONE
from .test_board import record_of

Spec = Callable[..., JobSpec]


def child_of(spec: Spec, name: str, *parents: str, when: Condition = "afterok") -> JobSpec:
    return replace(spec(name), depends_on=tuple(Dependency(job=one, when=when) for one in parents))


def board_of(*jobs: JobSpec, **states: JobState) -> Board:
    """Return the board of some jobs; those that are named have ended."""
    board = Board()
    board.set_seats(10, {})
    records = {
        job.name: record_of(job, state=states.get(job.name, JobState.PENDING)) for job in jobs
    }
    for job in jobs:
        board.add(job, records[job.name], 0.0, parents=records)
    return board


def end(board: Board, job: JobSpec, state: JobState) -> list[Decision]:
    board.recorded(record_of(job, state=state), 1.0)
    return decide(board, 1.0)


def submitted(decisions: list[Decision]) -> list[str]:
    return [one.job.name for one in decisions if isinstance(one, Submit)]


def finished(decisions: list[Decision]) -> dict[str, tuple[str, str]]:
    ends = [one for one in decisions if isinstance(one, Finish)]
    return {one.job.name: (str(one.end.state), one.end.reason) for one in ends}


def test_a_job_begins_when_the_last_that_it_waits_for_has_ended(spec: Spec) -> None:
    a, b = spec("a"), spec("b")
    board = board_of(child_of(spec, "c", "a", "b"), a, b)
    assert submitted(decide(board, 0.0)) == ["a", "b"]
    assert end(board, b, JobState.SUCCEEDED) == []
    assert submitted(end(board, a, JobState.SUCCEEDED)) == ["c"]


RUNS = {
    "afterok": {"SUCCEEDED"},
    "afterany": {*map(str, TERMINAL)},
    "afternotok": {*map(str, TERMINAL - {JobState.SUCCEEDED, JobState.SKIPPED})},
}


@pytest.mark.parametrize("is_taken_over", [False, True], ids=["led", "taken over"])
@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("when", ["afterok", "afterany", "afternotok"])
def test_each_end_of_a_parent_frees_or_skips_as_the_condition_says(
    spec: Spec, when: Condition, state: JobState, is_taken_over: bool
) -> None:
    parent, child = spec("a"), child_of(spec, "b", "a", when=when)
    if is_taken_over:
        decisions = decide(board_of(parent, child, a=state), 1.0)
    else:
        board = board_of(parent, child)
        decide(board, 0.0)
        decisions = end(board, parent, state)
    if state in RUNS[when]:
        assert (submitted(decisions), finished(decisions)) == (["b"], {})
    else:
        assert submitted(decisions) == []
        ((how, reason),) = finished(decisions).values()
        assert how == "SKIPPED"
        assert "job 'a'" in reason
        assert reason.endswith(f"that ended as {state}")


def test_what_cannot_run_any_more_is_skipped_at_once(spec: Spec) -> None:
    a = spec("a")
    board = board_of(a, spec("b"), child_of(spec, "c", "a", "b"))
    decide(board, 0.0)

    assert list(finished(end(board, a, JobState.FAILED))) == ["c"]


def test_a_job_that_has_ended_keeps_none_back_that_waits_for_the_same(spec: Spec) -> None:
    a = spec("a")
    board = board_of(a, child_of(spec, "b", "a"), child_of(spec, "c", "a"))
    decide(board, 0.0)
    board.ask_to_end("not needed", 1.0, "b")
    assert list(finished(decide(board, 0.0))) == ["b"]

    assert submitted(end(board, a, JobState.SUCCEEDED)) == ["c"]


def test_what_waits_for_a_skipped_job_is_skipped_or_runs_after_it(spec: Spec) -> None:
    a, b = spec("a"), child_of(spec, "b", "a")
    board = board_of(a, b, child_of(spec, "c", "b"), child_of(spec, "d", "b", when="afterany"))
    decide(board, 0.0)
    assert list(finished(end(board, a, JobState.FAILED))) == ["b"]
    then = end(board, b, JobState.SKIPPED)
    assert list(finished(then)) == ["c"]
    assert submitted(then) == ["d"]


def test_a_job_that_waits_is_cancelled_at_once_and_takes_no_seat(spec: Spec) -> None:
    board = board_of(spec("a"), child_of(spec, "b", "a"))
    decide(board, 0.0)
    board.ask_to_end("not needed", 1.0, "b")
    assert finished(decide(board, 0.0)) == {"b": ("CANCELLED", "not needed")}


def test_a_later_attempt_does_not_wait_again(spec: Spec) -> None:
    child = replace(child_of(spec, "b", "a"), attempt=2)
    board = board_of(spec("a"), child)
    assert sorted(submitted(decide(board, 0.0))) == ["a", "b"]


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_the_first_failure_ends_all_if_asked_to(spec: Spec, state: JobState) -> None:
    jobs = [spec(name) for name in "abc"]
    for fails_fast in (False, True):
        board = Board()
        board.set_seats(10, {})
        if fails_fast:
            board.fail_fast()
        for job in jobs:
            board.add(job, record_of(job), 0.0)
        decide(board, 0.0)
        noted = [one for one in end(board, jobs[0], state) if isinstance(one, NoteCancel)]
        failed = state not in ("SUCCEEDED", "CANCELLED", "SKIPPED")
        assert [one.job.name for one in noted] == (["b", "c"] if fails_fast and failed else [])
        assert {one.reason for one in noted} <= {
            f"job 'a' ended as {state}, and the first failure ends all"
        }


@pytest.mark.parametrize("group", ["", "g"], ids=["fail fast", "a group"])
def test_what_runs_when_another_fails_is_given_its_time_to_end(spec: Spec, group: str) -> None:
    a, b = (replace(spec(name), group=group) for name in "ab")
    board = Board()
    board.set_seats(2, {})
    if not group:
        board.fail_fast()
    for job in (a, b):
        board.add(job, record_of(job, state=JobState.RUNNING, handle="h", started_ns=1), 0.0)
    decide(board, 0.0)

    assert [one for one in end(board, a, JobState.FAILED) if isinstance(one, Cancel)] == [
        Cancel(b, GRACE_S)
    ]


def test_a_leader_that_takes_over_ends_what_an_earlier_failure_was_to_end(spec: Spec) -> None:
    a, b = spec("a"), spec("b")
    board = Board()
    board.set_seats(10, {})
    board.fail_fast()
    board.add(b, record_of(b), 0.0)
    board.add(a, record_of(a, state=JobState.FAILED), 0.0)
    assert list(finished(decide(board, 0.0))) == ["b"]


def group_of(spec: Spec, *names: str) -> list[JobSpec]:
    return [replace(spec(name), group="g") for name in names]


def test_a_group_begins_when_the_last_of_it_can_and_there_are_seats_for_all(spec: Spec) -> None:
    a, b = group_of(spec, "a", "b")
    parent, other = spec("p"), spec("o")
    b = replace(b, depends_on=(Dependency(job="p"),))
    board = board_of(a, b, parent, other)
    board.set_seats(2, {})
    assert submitted(decide(board, 0.0)) == ["p", "o"]
    assert submitted(end(board, parent, JobState.SUCCEEDED)) == []
    assert sorted(submitted(end(board, other, JobState.SUCCEEDED))) == ["a", "b"]


@pytest.mark.parametrize("is_taken_over", [False, True], ids=["led", "taken over"])
@pytest.mark.parametrize("state", sorted(TERMINAL - {JobState.SKIPPED}))
def test_a_group_fails_as_one(spec: Spec, state: JobState, is_taken_over: bool) -> None:
    a, b = group_of(spec, "a", "b")
    other = spec("o")
    for jobs in ((a, b, other), (b, a, other)):
        if is_taken_over:
            decisions = decide(board_of(*jobs, a=state), 1.0)
        else:
            board = board_of(*jobs)
            decide(board, 0.0)
            decisions = end(board, a, state)
        noted = [(one.job.name, one.reason) for one in decisions if isinstance(one, NoteCancel)]
        reason = f"job 'a' of its group ended as {state}"
        assert noted == ([] if state == "SUCCEEDED" else [("b", reason)])


def test_a_group_of_which_one_is_skipped_is_skipped(spec: Spec) -> None:
    a, b = group_of(spec, "a", "b")
    parent, a = spec("p"), replace(a, depends_on=(Dependency(job="p"),))
    for jobs in ((a, b, parent), (parent, b, a)):
        board = board_of(*jobs)
        decide(board, 0.0)
        assert list(finished(end(board, parent, JobState.FAILED))) == ["a"]
        reason = "job 'a' of its group ended as SKIPPED"
        assert finished(end(board, a, JobState.SKIPPED)) == {"b": ("SKIPPED", reason)}


def test_one_of_a_group_that_begins_once_more_goes_before_those_that_never_began(
    spec: Spec,
) -> None:
    a, b = (replace(one, retry=RetryPolicy(retries=1)) for one in group_of(spec, "a", "b"))
    board = board_of(a, b, spec("x"))
    board.set_seats(2, {})
    assert submitted(decide(board, 0.0)) == ["a", "b"]
    board.not_submitted("a", End(JobState.FAILED, "it could not be started", None))
    decide(board, 0.0)
    again = replace(a, attempt=2)
    board.next_attempt(again)
    board.recorded(record_of(again), 0.0)

    assert submitted(decide(board, 60.0)) == ["a"]


@pytest.mark.parametrize("began", ["a", "b"])
def test_what_is_left_of_a_group_begins_where_a_leader_died_between_two_of_it(
    spec: Spec, began: str
) -> None:
    board = Board()
    board.set_seats(2, {})
    for one in group_of(spec, "a", "b"):
        runs: dict[str, Any] = {"state": JobState.RUNNING, "handle": "h", "started_ns": 1}
        board.add(one, record_of(one, **(runs if one.name == began else {})), 0.0)
    assert submitted(decide(board, 0.0)) == ["b" if began == "a" else "a"]


@pytest.mark.parametrize("found", [False, True], ids=["none was submitted", "one was submitted"])
def test_those_of_a_group_begin_once_it_is_known_of_all_whether_they_were_submitted(
    spec: Spec, found: bool
) -> None:
    board = Board()
    board.set_seats(3, {})
    a, b, c = group_of(spec, "a", "b", "c")
    for one in (a, b, c):
        board.add(one, record_of(one), 0.0, is_inherited=True)
    assert [one.job.name for one in decide(board, 0.0) if isinstance(one, Find)] == ["a", "b", "c"]
    board.not_found("a")
    assert decide(board, 1.0) == []
    board.not_found("c")
    assert decide(board, 1.0) == []
    if found:
        board.recorded(record_of(b, state=JobState.QUEUED, handle="h"), 1.0)
    else:
        board.not_found("b")
    assert submitted(decide(board, 1.0)) == (["a", "c"] if found else ["a", "c", "b"])


def test_a_group_does_not_begin_while_the_end_of_one_of_it_is_recorded(spec: Spec) -> None:
    one = replace(spec("a"), group="g")
    waits = replace(
        spec("b"), group="g", depends_on=(Dependency(job="p", when="afterok", experiment="x"),)
    )
    board = Board()
    board.set_seats(10, {})
    for job in (one, waits):
        board.add(job, record_of(job, state=JobState.PENDING), 0.0, is_inherited=True)
    board.parent_ended("x", "p", JobState.FAILED)
    assert [type(decision) for decision in decide(board, 0.0)] == [Finish, Find]
    board.not_found("a")
    assert decide(board, 0.0) == []
    told = finished(end(board, waits, JobState.SKIPPED))
    assert told == {"a": ("SKIPPED", "job 'b' of its group ended as SKIPPED")}


def test_the_rest_of_a_group_begins_once_it_is_recorded_that_one_of_it_has_succeeded(
    spec: Spec,
) -> None:
    one, other = (replace(spec(name), group="g") for name in "ab")
    board = Board()
    board.set_seats(10, {})
    board.add(one, replace(record_of(one, state=JobState.RUNNING), handle="7"), 0.0)
    board.add(other, record_of(other, state=JobState.PENDING), 0.0, is_inherited=True)
    assert [type(decision) for decision in decide(board, 0.0)] == [Follow, Find]
    board.saw("a", DONE, (), 0.0)
    assert Drain in [type(decision) for decision in decide(board, 0.0)]
    board.not_found("b")
    assert decide(board, 0.0) == []
    board.drained("a")
    assert [type(decision) for decision in decide(board, 0.0)] == [Finish]
    assert submitted(end(board, one, JobState.SUCCEEDED)) == ["b"]


def test_the_rest_of_a_group_begins_once_it_is_recorded_that_one_of_it_is_tried_again(
    spec: Spec,
) -> None:
    one, other = (
        replace(spec(name), group="g", retry=RetryPolicy(retries=1, backoff_s=60)) for name in "ab"
    )
    board = Board()
    board.set_seats(10, {})
    board.add(one, replace(record_of(one, state=JobState.RUNNING), handle="7"), 0.0)
    board.add(other, record_of(other, state=JobState.PENDING), 0.0, is_inherited=True)
    decide(board, 0.0)
    board.saw("a", replace(DONE, exit_code=1), (), 0.0)
    decide(board, 0.0)
    board.not_found("b")
    board.drained("a")
    assert [type(decision) for decision in decide(board, 0.0)] == [Retry]

    board.next_attempt(replace(one, attempt=2))
    board.recorded(record_of(one, state=JobState.PENDING, attempt=2), 0.0)
    assert submitted(decide(board, 0.0)) == ["b"]


def test_one_of_a_group_that_its_backend_ended_while_nobody_led_it_was_cancelled(
    spec: Spec,
) -> None:
    ended = replace(DONE, exit_code=None, signal=15, reason=CANCELLED)
    alone = spec("a")
    for group, state in (("g", "CANCELLED"), ("", "FAILED")):
        one = replace(alone, group=group)
        board = board_of(one)
        decide(board, 0.0)
        board.recorded(record_of(one, state=JobState.RUNNING, handle="h", started_ns=1), 0.0)
        board.saw("a", ended, (), 1.0)
        decide(board, 1.0)
        board.drained("a")
        assert finished(decide(board, 1.0))["a"][0] == state


@pytest.mark.parametrize(
    ("after_s", "reason", "state"),
    [
        (-20, "", "FAILED"),
        (1, "", "CANCELLED"),
        (-20, CANCELLED, "CANCELLED"),
        (None, "", "CANCELLED"),
    ],
    ids=["before", "after", "its script says so", "nobody knows when"],
)
def test_what_had_failed_before_its_group_was_ended_is_not_called_cancelled(
    spec: Spec, after_s: int | None, reason: str, state: str
) -> None:
    a, b = (replace(one, retry=RetryPolicy(retries=1)) for one in group_of(spec, "a", "b"))
    board = board_of(a, b)
    decide(board, 0.0)
    for one in (a, b):
        running = record_of(one, state=JobState.RUNNING, handle="h", started_ns=1)
        board.recorded(running, 0.0)
    # A script has ended the other because of it, of which a new leader hears first.
    at_ns = DONE.ended_ns
    board.recorded(record_of(a, state=JobState.CANCELLED, ended_ns=at_ns), 1.0)
    decide(board, 1.0)
    ended_ns = 0 if after_s is None else at_ns + after_s * 10**9
    board.saw("b", replace(DONE, exit_code=4, reason=reason, ended_ns=ended_ns), (), 1.0)
    decide(board, 1.0)
    board.drained("b")

    assert finished(decide(board, 1.0))["b"][0] == state


def test_a_job_waits_for_one_of_another_experiment_as_for_its_own(spec: Spec) -> None:
    child = replace(spec("a"), depends_on=(Dependency(job="b", experiment="x"),))
    same_name = spec("b")
    for state, runs in ((JobState.SUCCEEDED, True), (JobState.FAILED, False), (None, False)):
        board = board_of(child, same_name)
        assert submitted(decide(board, 0.0)) == ["b"]
        assert end(board, same_name, JobState.SUCCEEDED) == []
        board.parent_ended("x", "b", state)
        decisions = decide(board, 1.0)
        assert submitted(decisions) == (["a"] if runs else [])
        ends = {"a": ("SKIPPED", f"it needs job 'b' of x to succeed, and that ended as {state}")}
        if state is None:
            ends = {"a": ("SKIPPED", "it needs job 'b' of x, and that was removed")}
        assert finished(decisions) == ({} if runs else ends)
