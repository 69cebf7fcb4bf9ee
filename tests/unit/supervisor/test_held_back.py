"""Jobs that wait for others in the queue of their backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from runbus.abc import UNMET, JobSpec, Observation, RetryPolicy, Timeouts
from runbus.events import Condition, Dependency
from runbus.jobs import End, JobState
from runbus.supervisor._board import Board, decide
from runbus.supervisor._decisions import (
    Cancel,
    Decision,
    Drain,
    Find,
    Follow,
    NoteOverdue,
    NoteStart,
    Retry,
    Submit,
    Withdraw,
)
from runbus.supervisor._standing import MANY, TOO_SOON

from .backend import DONE, QUEUED, RUNNING
from .test_board import record_of
from .test_graph import child_of, end, finished, submitted

Spec = Callable[..., JobSpec]
NOT_BEGUN = replace(QUEUED, phase="ended", exit_code=78, reason=UNMET)


def board_of(*jobs: JobSpec, seats: int = 10, **handles: str) -> Board:
    """Return the board of jobs whose executor's queue holds jobs back; some are there already."""
    board = Board()
    board.set_seats(seats, {})
    board.set_queues({"a": "q", "b": "q", "c": "other", "d": None})
    records = {
        job.name: record_of(job, handle=handles[job.name], state=JobState.QUEUED)
        if job.name in handles
        else record_of(job)
        for job in jobs
    }
    for job in jobs:
        board.add(job, records[job.name], 0.0, parents=records, is_inherited=bool(handles))
    return board


def take(board: Board, *jobs: JobSpec) -> list[Decision]:
    """Let the backend take jobs."""
    for job in jobs:
        board.recorded(record_of(job, state=JobState.QUEUED, handle="h"), 0.0)
    return decide(board, 0.0)


def over(board: Board, job: JobSpec, seen: Observation) -> list[Decision]:
    """Let a look at a job show its end."""
    board.saw(job.name, seen, (), 1.0)
    return drained(board, decide(board, 1.0))


def drained(board: Board, told: list[Decision]) -> list[Decision]:
    """Hand on all that jobs wrote which are over; return the other decisions."""
    for one in told:
        if isinstance(one, Drain):
            board.drained(one.job.name)
    return [*(one for one in told if not isinstance(one, Drain)), *decide(board, 1.0)]


def held_for(decisions: list[Decision]) -> dict[str, list[tuple[str, str, str]]]:
    return {
        one.job.name: [(after.job, after.folder, after.when) for after in one.job.after]
        for one in decisions
        if isinstance(one, Submit)
    }


def ahead(spec: Spec, *, when: Condition = "afterok") -> tuple[Board, JobSpec, JobSpec]:
    """Return a board with a parent and a child that its queue holds back."""
    parent, child = spec("p"), child_of(spec, "c", "p", when=when)
    board = board_of(parent, child)
    decide(board, 0.0)
    take(board, parent)
    take(board, child)
    return board, parent, child


def test_a_job_goes_to_a_queue_that_knows_all_that_it_waits_for(spec: Spec) -> None:
    p, q = spec("p"), spec("q", executor="b")
    child = child_of(spec, "c", "p", "q", when="afterany")
    board = board_of(child, p, q)
    assert submitted(decide(board, 0.0)) == ["p", "q"]
    assert take(board, p) == []
    told = held_for(take(board, q))
    assert told == {"c": [("p", p.folder, "afterany"), ("q", q.folder, "afterany")]}


def test_what_has_ended_is_not_waited_for_in_the_queue(spec: Spec) -> None:
    p, q = spec("p", executor="d"), spec("q")
    board = board_of(child_of(spec, "c", "p", "q"), p, q)
    decide(board, 0.0)
    take(board, p, q)
    assert held_for(end(board, p, JobState.SUCCEEDED)) == {"c": [("q", q.folder, "afterok")]}


NOT_HELD_BACK: dict[str, dict[str, Any]] = {
    "another queue": {"executor": "c"},
    "no queue": {"executor": "d"},
    "a group": {"group": "g"},
    "a trial": {"is_trial": True},
    "a result": {"outputs": {"LR": {"job": "p", "key": "lr"}}},
    "another experiment": {
        "depends_on": (Dependency(job="p"), Dependency(job="x", experiment="e"))
    },
}


@pytest.mark.parametrize("why", sorted(NOT_HELD_BACK))
def test_what_no_queue_can_hold_back_is_held_here(spec: Spec, why: str) -> None:
    parent = spec("p")
    child = replace(child_of(spec, "c", "p"), **NOT_HELD_BACK[why])
    board = board_of(parent, child)
    decide(board, 0.0)
    assert take(board, parent) == []


def test_a_failure_that_is_tried_again_gives_what_needs_the_success_another_attempt(
    spec: Spec,
) -> None:
    parent, child = replace(spec("p"), retry=RetryPolicy(retries=1)), child_of(spec, "c", "p")
    board = board_of(parent, child)
    decide(board, 0.0)
    assert held_for(take(board, parent)) == {"c": [("p", parent.folder, "afterok")]}
    take(board, child)
    *_, again = over(board, parent, replace(DONE, exit_code=1))
    assert isinstance(again, Retry)
    last = replace(parent, attempt=2, folder="p/2")
    board.next_attempt(last)
    board.recorded(record_of(last), 1.0)
    assert submitted(decide(board, 100.0)) == ["p"]
    assert over(board, child, NOT_BEGUN) == []

    assert take(board, last) == []
    (again,) = drained(board, end(board, last, JobState.SUCCEEDED))
    assert isinstance(again, Retry)
    assert again.end.reason == TOO_SOON


@pytest.mark.parametrize("when", ["afterany", "afternotok"])
def test_one_that_may_be_tried_again_is_waited_for_here_by_what_its_failure_lets_begin(
    spec: Spec, when: Condition
) -> None:
    parent = replace(spec("p"), retry=RetryPolicy(retries=1))
    child = child_of(spec, "c", "p", when=when)
    board = board_of(parent, child)
    decide(board, 0.0)
    assert take(board, parent) == []
    last = replace(parent, attempt=2, folder="p/2")
    board.next_attempt(last)
    board.recorded(record_of(last), 1.0)
    decide(board, 1.0)
    assert held_for(take(board, last)) == {"c": [("p", "p/2", when)]}


def test_a_queue_is_not_given_too_much_to_look_at(spec: Spec) -> None:
    parents = [spec(f"p{number}") for number in range(MANY + 1)]
    board = board_of(*parents, child_of(spec, "c", *(one.name for one in parents)), seats=1000)
    decide(board, 0.0)
    assert take(board, *parents) == []
    assert [len(one) for one in held_for(end(board, parents[0], JobState.SUCCEEDED)).values()] == [
        MANY
    ]


def test_with_too_few_seats_one_gets_the_seat_of_what_it_waits_for_and_others_wait_here(
    spec: Spec,
) -> None:
    p, q, r = spec("p"), child_of(spec, "q", "p"), child_of(spec, "r", "q")
    board = board_of(p, q, r, child_of(spec, "s", "p"), spec("t"), seats=1)
    assert submitted(decide(board, 0.0)) == ["p"]
    assert submitted(take(board, p)) == ["q"]
    # Were q cancelled while p runs, r would begin beside it.
    assert take(board, q) == []
    # There is no seat for the others until the chain is over.
    assert submitted(end(board, p, JobState.SUCCEEDED)) == ["r"]
    take(board, r)
    assert end(board, q, JobState.SUCCEEDED) == []
    assert submitted(end(board, r, JobState.SUCCEEDED)) == ["t"]


def test_one_that_is_cancelled_in_a_queue_lets_nothing_begin_beside_what_it_waits_for(
    spec: Spec,
) -> None:
    p, q, r = spec("p"), child_of(spec, "q", "p"), child_of(spec, "r", "q", when="afterany")
    board = board_of(p, q, r, seats=1)
    decide(board, 0.0)
    take(board, p)
    take(board, q)
    assert end(board, q, JobState.CANCELLED) == []
    assert submitted(end(board, p, JobState.SUCCEEDED)) == ["r"]


def test_one_that_has_a_seat_of_its_own_takes_no_second_when_its_parent_ends(spec: Spec) -> None:
    parent, child, other = spec("p"), child_of(spec, "c", "p"), spec("o")
    board = board_of(parent, child, seats=2)
    decide(board, 0.0)
    assert submitted(take(board, parent)) == ["c"]
    take(board, child)
    board.add(other, record_of(other), 0.0)
    assert decide(board, 0.0) == []

    assert submitted(end(board, parent, JobState.SUCCEEDED)) == ["o"]


def test_an_executor_that_takes_only_some_is_never_given_more(spec: Spec) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    board = Board()
    board.set_seats(10, {"a": 2})
    board.set_queues({"a": "q"})
    for job in (parent, child):
        board.add(job, record_of(job), 0.0)
    decide(board, 0.0)
    assert take(board, parent) == []


@pytest.mark.parametrize("is_first", [True, False], ids=["child first", "parent first"])
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
def test_the_end_is_told_once_those_of_its_parents_are(
    spec: Spec, is_first: bool, begun: bool
) -> None:
    board, parent, child = ahead(spec)
    seen, state = (DONE, JobState.SUCCEEDED) if begun else (NOT_BEGUN, JobState.FAILED)
    if is_first:
        assert over(board, child, seen) == []
        told = drained(board, end(board, parent, state))
    else:
        end(board, parent, state)
        told = over(board, child, seen)
    reason = "" if begun else "it needs job 'p' to succeed, and that ended as FAILED"
    assert finished(told) == {"c": ("SUCCEEDED" if begun else "SKIPPED", reason)}


@pytest.mark.parametrize("is_over", [False, True], ids=["it runs", "it is over"])
def test_the_start_is_told_once_the_ends_of_its_parents_are(spec: Spec, is_over: bool) -> None:
    board, parent, _ = ahead(spec)
    board.saw("c", RUNNING, (), 1.0)
    assert decide(board, 1.0) == []
    if is_over:
        board.saw("c", DONE, (), 1.0)
        assert decide(board, 1.0) == []
    told = end(board, parent, JobState.SUCCEEDED)
    assert [type(one) for one in told] == [NoteStart, *([Drain] if is_over else [])]


def test_what_was_not_let_begin_although_it_may_gets_an_attempt_that_is_no_retry(
    spec: Spec,
) -> None:
    board, parent, child = ahead(spec, when="afterany")
    over(board, child, NOT_BEGUN)
    (again,) = drained(board, end(board, parent, JobState.LOST))
    assert again == Retry(child, End(JobState.SKIPPED, TOO_SOON, None), 0.0)


def test_one_that_is_not_to_begin_is_taken_out_of_its_queue(spec: Spec) -> None:
    board, parent, child = ahead(spec)
    (cancel,) = end(board, parent, JobState.CANCELLED)
    assert isinstance(cancel, Cancel)
    told = over(board, child, replace(QUEUED, phase="ended", signal=15))
    assert finished(told)["c"][0] == "SKIPPED"


def test_one_that_has_begun_and_was_not_to_is_ended_and_says_why(spec: Spec) -> None:
    board, parent, child = ahead(spec)
    board.saw("c", RUNNING, (), 1.0)
    decide(board, 1.0)
    end(board, parent, JobState.TIMEOUT)
    told = over(board, child, replace(RUNNING, phase="ended", signal=15))
    why = "it needs job 'p' to succeed, and that ended as TIMEOUT"
    assert finished(told) == {"c": ("CANCELLED", why)}


def test_one_whose_end_is_asked_for_does_not_wait_for_its_parents(spec: Spec) -> None:
    board, _, child = ahead(spec)
    board.ask_to_end("not needed", 1.0, "c")
    decide(board, 1.0)
    told = over(board, child, replace(QUEUED, phase="ended", signal=15))
    assert finished(told) == {"c": ("CANCELLED", "not needed")}


def test_one_whose_end_was_asked_for_is_not_skipped_for_what_its_parents_became(spec: Spec) -> None:
    board, parent, child = ahead(spec)
    board.ask_to_end("not needed", 1.0, "c")
    decide(board, 1.0)
    end(board, parent, JobState.FAILED)
    told = over(board, child, replace(QUEUED, phase="ended", signal=15))
    assert finished(told) == {"c": ("CANCELLED", "not needed")}


def test_one_that_is_on_its_way_to_the_queue_when_it_is_not_to_begin_is_withdrawn(
    spec: Spec,
) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    board = board_of(parent, child)
    decide(board, 0.0)
    take(board, parent)
    (withdraw,) = end(board, parent, JobState.FAILED)
    assert isinstance(withdraw, Withdraw)
    board.not_submitted("c")
    assert finished(decide(board, 1.0))["c"][0] == "SKIPPED"


def test_one_that_its_queue_refuses_waits_here(spec: Spec) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    board = board_of(parent, child)
    decide(board, 0.0)
    take(board, parent)
    board.not_submitted("c", End(JobState.FAILED, "dependency problem", None))
    assert decide(board, 1.0) == []
    assert held_for(end(board, parent, JobState.SUCCEEDED)) == {"c": []}
    board.not_submitted("c", End(JobState.FAILED, "no such partition", None))
    assert finished(decide(board, 2.0)) == {"c": ("FAILED", "no such partition")}


def test_one_that_its_queue_refuses_as_the_last_it_waits_for_ends_is_submitted_without_that(
    spec: Spec,
) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    board = board_of(parent, child)
    decide(board, 0.0)
    assert list(held_for(take(board, parent))) == ["c"]
    end(board, parent, JobState.SUCCEEDED)
    board.not_submitted("c", End(JobState.FAILED, "dependency problem", None))
    (again,) = decide(board, 1.0)
    assert isinstance(again, Retry)
    assert (again.end.reason, again.delay_s) == (TOO_SOON, 0.0)
    following = replace(child, attempt=2, folder="c/2")
    board.next_attempt(following)
    board.recorded(record_of(following), 1.0)
    assert held_for(decide(board, 1.0)) == {"c": []}
    board.not_submitted("c", End(JobState.FAILED, "no such partition", None))
    assert finished(decide(board, 1.0)) == {"c": ("FAILED", "no such partition")}


def test_the_time_to_its_start_is_counted_from_the_end_of_its_last_parent(spec: Spec) -> None:
    parent = spec("p")
    child = replace(child_of(spec, "c", "p"), timeouts=Timeouts(queue_s=5))
    board = board_of(parent, child)
    decide(board, 0.0)
    take(board, parent, child)
    for now, is_late in ((100.0, False), (104.9, False), (105.0, True)):
        if now == 100.0:
            board.saw("c", QUEUED, (), 99.0)
            assert decide(board, 99.0) == []
            board.recorded(record_of(parent, state=JobState.SUCCEEDED), now)
        board.saw("c", QUEUED, (), now)
        told = decide(board, now)
        assert any(isinstance(one, NoteOverdue) for one in told) == is_late


def test_while_one_parent_is_left_no_time_to_its_start_is_counted(spec: Spec) -> None:
    p, q = spec("p"), spec("q")
    child = replace(child_of(spec, "c", "p", "q"), timeouts=Timeouts(queue_s=5))
    board = board_of(p, q, child)
    decide(board, 0.0)
    take(board, p, q, child)
    late = {}
    for now, over in ((100.0, p), (106.0, None), (107.0, q), (111.9, None), (112.0, None)):
        if over is not None:
            board.recorded(record_of(over, state=JobState.SUCCEEDED), now)
        board.saw("c", QUEUED, (), now)
        late[now] = any(isinstance(one, NoteOverdue) for one in decide(board, now))

    assert [now for now, is_late in late.items() if is_late] == [112.0]


def test_one_that_is_on_its_way_to_the_queue_may_take_so_long_from_the_end_of_its_last_parent(
    spec: Spec,
) -> None:
    parent = spec("p")
    child = replace(child_of(spec, "c", "p"), timeouts=Timeouts(queue_s=5))
    board = board_of(parent, child)
    decide(board, 0.0)
    assert submitted(take(board, parent)) == ["c"]
    assert decide(board, 90.0) == []
    board.recorded(record_of(parent, state=JobState.SUCCEEDED), 100.0)

    assert decide(board, 100.0) == []
    assert board.next_due == 105.0
    assert decide(board, 104.9) == []
    assert [type(one) for one in decide(board, 105.0)] == [Withdraw]


def test_who_takes_over_counts_the_time_to_the_start_of_what_no_longer_waits(spec: Spec) -> None:
    parent = spec("p")
    child = replace(child_of(spec, "c", "p"), timeouts=Timeouts(queue_s=5))
    ended, waits = (
        record_of(parent, state=JobState.SUCCEEDED),
        record_of(child, state=JobState.QUEUED, handle="h"),
    )
    board = Board()
    board.set_seats(10, {})
    board.set_queues({"a": "q"})
    board.add(parent, ended, 100.0)
    board.add(child, waits, 100.0, waited_s=3.0, parents={"p": ended})
    assert decide(board, 100.0) == [Follow(child, "h")]

    late = []
    for now in (101.9, 102.0):
        board.saw("c", QUEUED, (), now)
        late.append(any(isinstance(one, NoteOverdue) for one in decide(board, now)))

    assert late == [False, True]


def test_who_takes_over_continues_with_what_is_held_back(spec: Spec) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    for jobs in ((parent, child), (child, parent)):
        board = board_of(*jobs, p="h", c="h")
        assert {type(one) for one in decide(board, 0.0)} == {Follow}
        assert over(board, child, NOT_BEGUN) == []
        told = drained(board, end(board, parent, JobState.FAILED))
        assert finished(told)["c"][0] == "SKIPPED"


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
def test_who_takes_over_looks_for_what_may_be_held_back_already(
    spec: Spec, state: JobState
) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    board = board_of(child, parent, p="h")
    assert Find(child) in decide(board, 0.0)
    told = end(board, parent, state)
    assert told == []
    board.not_found("c")
    told = decide(board, 1.0)
    assert submitted(told) == (["c"] if state == "SUCCEEDED" else [])
    assert list(finished(told)) == ([] if state == "SUCCEEDED" else ["c"])


def test_who_takes_over_skips_nothing_that_a_queue_may_have(spec: Spec) -> None:
    parent = replace(spec("p"), retry=RetryPolicy(retries=1))
    child = child_of(spec, "c", "p", when="afternotok")
    board = board_of(child, parent, p="h")
    decide(board, 0.0)
    assert end(board, parent, JobState.SUCCEEDED) == [Find(child)]
    assert not board.is_wanted("c")
    (cancel,) = take(board, child)
    assert isinstance(cancel, Cancel)


def test_another_attempt_of_a_parent_is_not_known_to_the_queue_before_it_is_there(
    spec: Spec,
) -> None:
    p, q, r = spec("p"), child_of(spec, "q", "p"), child_of(spec, "r", "q")
    board = board_of(p, q, r, p="h", q="h")
    assert Find(r) in decide(board, 0.0)
    assert over(board, q, NOT_BEGUN) == []
    (again,) = drained(board, end(board, p, JobState.SUCCEEDED))
    assert isinstance(again, Retry)
    second = replace(q, attempt=2, folder="q/2")
    board.next_attempt(second)
    board.recorded(record_of(second, requeued=1), 1.0)
    board.not_found("r")
    assert decide(board, 1.0) == [Find(second)]
    board.not_found("q")
    assert held_for(decide(board, 1.0)) == {"q": []}
    board.recorded(record_of(second, state=JobState.QUEUED, handle="h", requeued=1), 1.0)
    assert held_for(decide(board, 1.0)) == {"r": [("q", "q/2", "afterok")]}


def test_one_for_which_there_was_no_seat_goes_ahead_once_there_is(spec: Spec) -> None:
    p, other = spec("p"), spec("o")
    children = [child_of(spec, name, "p") for name in ("a", "b")]
    board = board_of(p, *children, other, seats=3)
    decide(board, 0.0)
    assert submitted(take(board, p, other)) == ["a"]
    assert submitted(end(board, other, JobState.SUCCEEDED)) == ["b"]


def test_who_takes_over_gives_no_seat_to_what_only_waits(spec: Spec) -> None:
    p, c = spec("p"), child_of(spec, "c", "p")
    board = Board()
    board.set_seats(2, {})
    board.set_queues({"a": "q"})
    for job in (p, c):
        board.add(job, record_of(job, handle="h", state=JobState.QUEUED), 0.0)
    for job in map(spec, "ox"):
        board.add(job, record_of(job), 0.0)
    assert submitted(decide(board, 0.0)) == ["o"]
    assert end(board, p, JobState.SUCCEEDED) == []
    assert submitted(end(board, c, JobState.SUCCEEDED)) == ["x"]


def test_one_that_its_queue_refuses_after_it_was_not_to_begin_is_skipped(spec: Spec) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    board = board_of(parent, child)
    decide(board, 0.0)
    take(board, parent)
    end(board, parent, JobState.FAILED)
    board.not_submitted("c", End(JobState.FAILED, "no such partition", None))
    assert finished(decide(board, 1.0))["c"][0] == "SKIPPED"


def test_a_job_that_is_added_later_goes_ahead_too(spec: Spec) -> None:
    parent, child = spec("p"), child_of(spec, "c", "p")
    board = board_of(parent)
    board.set_queues({"later": "other"})
    decide(board, 0.0)
    take(board, parent)
    board.add(child, record_of(child), 1.0, parents={"p": record_of(parent)})
    assert held_for(decide(board, 1.0)) == {"c": [("p", parent.folder, "afterok")]}
