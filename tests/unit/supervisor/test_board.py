"""What is decided about one job, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from runbus.abc import GRACE_S, JobSpec, Observation, RetryPolicy, Timeouts
from runbus.jobs import End, JobRecord, JobState, late_start
from runbus.supervisor._board import Board, decide
from runbus.supervisor._decisions import (
    Cancel,
    Drain,
    Find,
    Finish,
    Follow,
    LookOn,
    NoteCancel,
    NoteOverdue,
    NoteSeen,
    NoteStart,
    Requeue,
    Retry,
    Submit,
    Withdraw,
)
from runbus.supervisor._standing import GONE_LOOKS, GONE_S, REQUEUED, WORD_MAX, bounded

from .backend import DONE, QUEUED, RUNNING

Spec = Callable[..., JobSpec]
GONE = replace(RUNNING, phase="gone")


def record_of(spec: JobSpec, **known: object) -> JobRecord:
    return JobRecord(
        name=spec.name, run_id=spec.run_id, executor=spec.executor, folder=spec.folder,
        intended_ns=1, **{"state": JobState.PENDING, "attempt": spec.attempt, **known},  # type: ignore[arg-type]
    )  # fmt: skip


def watched(spec: JobSpec) -> Board:
    """Return a board with a job that runs."""
    board = Board()
    board.set_seats(1, {})
    board.add(spec, record_of(spec, state=JobState.RUNNING, handle="h", started_ns=1), 0.0)
    assert decide(board, 0.0) == [Follow(spec, "h")]
    return board


def kinds(board: Board, now: float = 0.0) -> list[str]:
    return [type(decision).__name__ for decision in decide(board, now)]


@pytest.mark.parametrize(
    ("times", "is_lost"),
    [
        ([GONE_S * at / GONE_LOOKS for at in range(GONE_LOOKS)], False),
        ([0.0, GONE_S * 50], False),
        ([0.0, GONE_S / 2, GONE_S], True),
    ],
)
def test_a_job_is_lost_only_after_many_looks_over_a_while(
    spec: Spec, times: list[float], is_lost: bool
) -> None:
    job = spec("j")
    board = watched(job)

    for now in times:
        board.saw("j", GONE, (), 100.0 + now)

    assert (Drain(job) in decide(board, 100.0 + times[-1])) == is_lost


def test_looks_at_which_a_job_was_gone_do_not_count_once_it_is_seen_again(spec: Spec) -> None:
    job = spec("j")
    board = watched(job)
    for seen in (GONE, GONE, RUNNING, GONE, GONE):
        board.saw("j", seen, (), 1.0)
    board.saw("j", GONE, (), 0.9 + GONE_S)
    assert Drain(job) not in decide(board, 0.9 + GONE_S)

    board.saw("j", GONE, (), 1.0 + GONE_S)
    assert Drain(job) in decide(board, 1.0 + GONE_S)


LATE = "it had not started after 10 s, its queue timeout"
KILLED = replace(DONE, exit_code=None, signal=15)
TAKEN = replace(KILLED, phase="preempted")


@pytest.mark.parametrize(
    ("known", "seen", "state", "reason"),
    [
        ({}, DONE, JobState.SUCCEEDED, ""),
        ({}, KILLED, JobState.FAILED, "killed by SIGTERM"),
        ({}, TAKEN, JobState.PREEMPTED, "its machine was taken away"),
        ({"overdue": LATE}, KILLED, JobState.TIMEOUT, LATE),
        ({"cancelling": True}, KILLED, JobState.CANCELLED, "it was cancelled"),
    ],
    ids=["done", "killed", "taken away", "late", "cancelled"],
)
def test_what_was_seen_of_the_end_goes_with_it(
    spec: Spec, known: dict[str, object], seen: Observation, state: JobState, reason: str
) -> None:
    job = spec("j")
    board = Board()
    board.set_seats(1, {})
    record = record_of(job, state=JobState.RUNNING, handle="h", started_ns=1, **known)
    board.add(job, record, 0.0)
    # What one leader noted the next does not note again, but has done.
    assert decide(board, 0.0) == [Follow(job, "h"), *([Cancel(job, GRACE_S)] if known else [])]

    board.saw("j", seen, (), 1.0)
    assert decide(board, 1.0) == [Drain(job)]
    board.drained("j")

    assert decide(board, 1.0) == [Finish(job, End(state, reason, seen))]


def test_a_start_is_told_once_and_that_it_stands_still_with_it(spec: Spec) -> None:
    for seen in (RUNNING, replace(RUNNING, phase="suspended")):
        job = spec(f"j{seen.phase}")
        board = Board()
        board.set_seats(1, {})
        board.add(job, record_of(job, state=JobState.QUEUED, handle="h"), 0.0)
        decide(board, 0.0)

        board.saw(job.name, seen, (), 1.0)
        stands_still = [NoteSeen(job, seen)] if seen.phase == "suspended" else []
        assert decide(board, 1.0) == [NoteStart(job, seen), *stands_still]
        record = record_of(job, state=JobState.RUNNING, handle="h", started_ns=1)
        board.recorded(replace(record, is_suspended=bool(stands_still)), 1.0)
        board.ask_to_end("not needed", 1)

        assert kinds(board, 2.0) == ["NoteCancel", "Cancel"]


def test_a_job_that_was_not_seen_is_not_gone(spec: Spec) -> None:
    board = watched(spec("j"))

    for now in range(100):
        board.saw("j", None, (), float(now))

    assert decide(board, 100.0) == []


def test_a_shorter_grace_is_sent_on_and_a_longer_one_is_not(spec: Spec) -> None:
    job = spec("j")
    board = watched(job)
    sent = []

    for grace_s in (10.0, 10.0, 3.0, 20.0, 0.0):
        board.ask_to_end("not needed", grace_s, "j")
        sent += [one.grace_s for one in decide(board, 1.0) if isinstance(one, Cancel)]

    assert sent == [10.0, 3.0, 0.0]


def test_of_two_who_ask_for_the_end_at_the_same_time_the_more_urgent_counts(spec: Spec) -> None:
    for graces in ((3.0, 20.0), (20.0, 3.0)):
        job = spec(f"j{graces[0]}")
        board = watched(job)
        for grace_s in graces:
            board.ask_to_end("not needed", grace_s, job.name)

        assert Cancel(job, 3.0) in decide(board, 1.0)


def test_the_end_of_a_job_that_is_not_led_here_is_asked_for_in_vain(spec: Spec) -> None:
    board = watched(spec("j"))
    board.ask_to_end("not needed", 1, "k")
    board.recorded(record_of(spec("k"), state=JobState.RUNNING), 1.0)

    assert decide(board, 1.0) == []


def test_what_is_recorded_of_a_job_that_runs_ends_it_no_second_time(spec: Spec) -> None:
    job = spec("j")
    board = watched(job)
    board.ask_to_end("not needed", 1)
    assert kinds(board) == ["NoteCancel", "Cancel"]

    record = record_of(job, state=JobState.RUNNING, handle="h", started_ns=1, cancelling=True)
    board.recorded(record, 1.0)

    assert decide(board, 1.0) == []


def test_all_is_over_when_the_last_has_ended(spec: Spec) -> None:
    jobs = [spec(name) for name in "abc"]
    board = Board()
    board.set_seats(3, {})
    for job in jobs:
        board.add(job, record_of(job), 0.0)
    decide(board, 0.0)

    over = []
    for job in jobs:
        board.recorded(record_of(job, state=JobState.SUCCEEDED), 1.0)
        board.recorded(record_of(job, state=JobState.SUCCEEDED), 1.0)
        over.append(board.is_over)

    assert over == [False, False, True]


def test_the_end_is_asked_for_once(spec: Spec) -> None:
    job = spec("j")
    board = watched(job)
    board.ask_to_end("not needed", 1)

    noted = [decide(board, 1.0), decide(board, 2.0)]
    board.ask_to_end("twice", 0)

    assert [one for one in noted[0] if isinstance(one, NoteCancel)] == [
        NoteCancel(job, "not needed")
    ]
    assert noted[1] == []
    assert kinds(board) == ["Cancel"]


def test_an_end_that_is_asked_for_before_there_are_jobs_is_the_end_of_all(spec: Spec) -> None:
    board = Board()
    board.ask_to_end("not needed", 1)
    board.set_seats(5, {})
    job = spec("j")
    board.add(job, record_of(job), 0.0)

    decisions = decide(board, 0.0)

    assert [type(one) for one in decisions] == [NoteCancel, Finish]
    assert decisions[-1].end.state is JobState.CANCELLED  # type: ignore[union-attr]


def test_a_submission_that_takes_too_long_is_given_up_once(spec: Spec) -> None:
    job = spec("j", timeouts=Timeouts(queue_s=10))
    board = Board()
    board.set_seats(1, {})
    board.add(job, record_of(job), 0.0)

    assert decide(board, 0.0) == [Submit(job)]
    assert board.next_due == 10.0
    assert decide(board, 9.9) == []
    assert [type(one) for one in decide(board, 10.0)] == [Withdraw]
    board.not_submitted("j")
    (finish,) = decide(board, 10.0)
    assert isinstance(finish, Finish)
    assert finish.end == End(JobState.TIMEOUT, late_start(10), None)


def test_a_job_that_writes_is_not_silent_and_one_whose_end_was_asked_for_is_not_late(
    spec: Spec,
) -> None:
    for is_asked, writes, is_late in (
        (False, True, False),
        (False, False, True),
        (True, False, False),
    ):
        job = spec(f"j{is_asked}{writes}", timeouts=Timeouts(idle_s=10))
        board = watched(job)
        if is_asked:
            board.ask_to_end("not needed", 1)
            assert kinds(board) == ["NoteCancel", "Cancel"]
        for now in (0.0, 9.0, 18.0):
            board.saw(job.name, RUNNING, ((0, int(now) if writes else 0),), now)
            told = kinds(board, now)

        assert told == (["NoteOverdue", "Cancel"] if is_late else [])


def test_a_job_that_was_taken_while_it_was_given_up_is_ended(spec: Spec) -> None:
    job = spec("j")
    board = Board()
    board.set_seats(1, {})
    board.add(job, record_of(job), 0.0)
    decide(board, 0.0)
    board.ask_to_end("not needed", 1, "j")
    assert kinds(board) == ["NoteCancel", "Withdraw"]

    board.recorded(record_of(job, state=JobState.QUEUED, handle="h"), 0.0)

    assert decide(board, 0.0) == [Cancel(job, 1)]


def test_a_submission_that_was_given_up_because_its_end_was_asked_for_is_cancelled(
    spec: Spec,
) -> None:
    job = spec("j", timeouts=Timeouts(queue_s=10))
    board = Board()
    board.set_seats(1, {})
    board.add(job, record_of(job), 0.0)
    decide(board, 0.0)
    board.ask_to_end("not needed", 2.5, "j")
    assert decide(board, 9.0) == [NoteCancel(job, "not needed"), Withdraw(job, 2.5)]
    assert decide(board, 10.0) == []

    board.not_submitted("j")

    assert decide(board, 10.0) == [Finish(job, End(JobState.CANCELLED, "not needed", None))]


def test_a_job_that_waited_before_its_leader_came_is_given_up_that_much_sooner(spec: Spec) -> None:
    job = spec("j", timeouts=Timeouts(queue_s=10))
    board = Board()
    board.set_seats(1, {})
    board.add(job, record_of(job, state=JobState.QUEUED, handle="h"), 0.0, waited_s=4.0)
    decide(board, 0.0)

    for now in (1.0, 5.9):
        board.saw("j", QUEUED, (), now)
        assert decide(board, now) == []
    board.saw("j", QUEUED, (), 6.0)

    assert decide(board, 6.0) == [NoteOverdue(job, late_start(10)), Cancel(job, GRACE_S)]


def test_an_inherited_job_that_was_never_submitted_keeps_its_seat(spec: Spec) -> None:
    first, second = spec("first"), spec("second")
    board = Board()
    board.set_seats(1, {})
    board.add(first, record_of(first), 0.0, is_inherited=True)
    board.add(second, record_of(second), 0.0)
    assert decide(board, 0.0) == [Find(first)]

    board.not_found("first")

    assert decide(board, 0.0) == [Submit(first)]


def test_an_inherited_job_without_a_seat_is_looked_for_to_be_ended_and_then_ends(
    spec: Spec,
) -> None:
    first, second = spec("first"), spec("second")
    board = Board()
    board.set_seats(1, {})
    board.add(first, record_of(first), 0.0)
    board.add(second, record_of(second), 0.0, is_inherited=True)
    assert decide(board, 0.0) == [Submit(first)]
    board.ask_to_end("not needed", 1, "second")
    assert decide(board, 0.0) == [NoteCancel(second, "not needed"), Find(second)]

    board.not_found("second")

    assert decide(board, 0.0) == [Finish(second, End(JobState.CANCELLED, "not needed", None))]


@pytest.mark.parametrize(
    ("state", "seen", "is_news"),
    [
        (JobState.QUEUED, QUEUED, False),
        (JobState.QUEUED, replace(QUEUED, native_state="PENDING"), True),
        (JobState.QUEUED, replace(QUEUED, phase="provisioning"), True),
        (JobState.PROVISIONING, replace(QUEUED, phase="provisioning"), False),
        (JobState.RUNNING, replace(RUNNING, phase="suspended"), True),
        (JobState.RUNNING, RUNNING, False),
    ],
)
def test_what_is_not_recorded_of_a_backend_s_words_is_news(
    state: JobState, seen: Observation, is_news: bool, spec: Spec
) -> None:
    job = spec("j")
    board = Board()
    board.set_seats(1, {})
    board.add(job, record_of(job, state=state, handle="h", started_ns=1), 0.0)
    decide(board, 0.0)

    board.saw("j", seen, (), 1.0)

    assert decide(board, 1.0) == ([NoteSeen(job, seen)] if is_news else [])


def test_a_seat_is_free_again_once_its_job_has_ended(spec: Spec) -> None:
    first, second = spec("first"), spec("second")
    board = Board()
    board.set_seats(2, {"a": 1})
    for job in (first, second):
        board.add(job, record_of(job), 0.0)
    assert decide(board, 0.0) == [Submit(first)]

    board.recorded(record_of(first, state=JobState.SUCCEEDED), 1.0)

    assert decide(board, 1.0) == [Submit(second)]


def test_what_is_seen_of_an_attempt_that_is_over_changes_nothing(spec: Spec) -> None:
    job = spec("j")
    board = watched(job)
    board.saw("j", Observation(phase="ended", exit_code=0), (), 1.0)
    decide(board, 1.0)

    board.saw("j", RUNNING, (), 2.0)
    assert decide(board, 2.0) == []


def test_a_job_begun_anew_after_its_end_ends_again_if_all_jobs_were_asked_to(spec: Spec) -> None:
    job = spec("j")
    board = Board()
    board.set_seats(1, {})
    record = record_of(job, state=JobState.PREEMPTED, handle="h", started_ns=1)
    board.add(job, record, 0.0)
    assert decide(board, 0.0) == [LookOn(job, "h")]

    board.ask_to_end("not needed", 3.0)
    board.saw("j", RUNNING, (), 1.0)
    assert board.is_over
    board.saw("j", replace(RUNNING, requeues=1), (), 2.0)
    (requeue,) = decide(board, 2.0)
    assert isinstance(requeue, Requeue)
    assert requeue.end == End(JobState.PREEMPTED, REQUEUED, replace(RUNNING, requeues=1))
    second = replace(job, attempt=2)
    board.next_attempt(second)
    again = record_of(second, state=JobState.QUEUED, handle="h", requeues=1, requeued=1)
    board.recorded(again, 2.0)

    assert decide(board, 2.0) == [
        NoteCancel(second, "not needed"), Follow(second, "h"), Cancel(second, 3.0),
    ]  # fmt: skip


def test_a_job_that_was_preempted_while_others_run_is_looked_at_and_may_be_begun_anew(
    spec: Spec,
) -> None:
    job, other = spec("j"), spec("other")
    board = Board()
    board.set_seats(2, {})
    for one in (job, other):
        board.add(one, record_of(one, state=JobState.RUNNING, handle="h", started_ns=1), 0.0)
    decide(board, 0.0)

    board.recorded(record_of(job, state=JobState.PREEMPTED, handle="h", started_ns=1), 1.0)
    assert decide(board, 1.0) == [LookOn(job, "h")]
    board.saw("j", replace(RUNNING, requeues=1), (), 2.0)
    assert kinds(board, 2.0) == ["Requeue"]

    over = []
    for one in (other, job):
        board.recorded(record_of(one, state=JobState.SUCCEEDED, handle="h", started_ns=1), 3.0)
        over.append(board.is_over)
    assert over == [False, True]


def test_an_attempt_that_the_backend_begins_anew_waits_for_its_start_from_then_on(
    spec: Spec,
) -> None:
    job = spec("j", timeouts=Timeouts(queue_s=10))
    board = watched(job)
    board.saw("j", replace(QUEUED, requeues=1), (), 100.0)
    assert decide(board, 100.0) == [Drain(job)]
    board.drained("j")
    assert kinds(board, 100.0) == ["Requeue"]
    second = replace(job, attempt=2)
    board.next_attempt(second)
    again = record_of(second, state=JobState.QUEUED, handle="h", requeues=1, requeued=1)
    board.recorded(again, 100.0)
    assert decide(board, 100.0) == [Follow(second, "h")]

    late = []
    for now in (109.9, 110.0):
        board.saw("j", replace(QUEUED, requeues=1), (), now)
        late.append(kinds(board, now))

    assert late == [[], ["NoteOverdue", "Cancel"]]


def test_what_is_seen_of_an_attempt_begun_anew_is_not_told_of_the_one_before(spec: Spec) -> None:
    job = spec("j")
    board = Board()
    board.set_seats(1, {})
    board.add(job, record_of(job, state=JobState.QUEUED, handle="h"), 0.0)
    decide(board, 0.0)

    board.saw("j", replace(RUNNING, requeues=1, native_state="RUNNING"), (), 1.0)

    assert decide(board, 1.0) == [Drain(job)]


def test_a_job_that_has_ended_otherwise_is_not_begun_anew(spec: Spec) -> None:
    board = Board()
    board.add(spec("j"), record_of(spec("k"), state=JobState.FAILED, handle="h"), 0.0)

    assert decide(board, 0.0) == []
    board.saw("j", replace(RUNNING, requeues=1), (), 1.0)
    assert decide(board, 1.0) == []
    assert board.is_over


def test_an_attempt_that_the_backend_begins_anew_was_preempted_and_the_next_one_is_watched(
    spec: Spec,
) -> None:
    job = spec("j")
    board = watched(job)
    again = replace(RUNNING, requeues=2)

    board.saw("j", RUNNING, (), 1.0)
    assert decide(board, 1.0) == []
    board.saw("j", again, (), 3.0)
    assert decide(board, 3.0) == [Drain(job)]
    board.saw("j", DONE, (), 4.0)
    board.drained("j")

    assert decide(board, 4.0) == [Requeue(job, End(JobState.PREEMPTED, REQUEUED, again), 3)]


def test_an_attempt_that_the_backend_began_anew_uses_up_no_retry_and_no_pause(spec: Spec) -> None:
    second = spec("j", attempt=2, retry=RetryPolicy(retries=1, backoff_s=1.0))
    board = Board()
    board.set_seats(1, {})
    record = record_of(second, state=JobState.RUNNING, handle="h", started_ns=1, requeued=1)
    board.add(second, record, 0.0)
    decide(board, 0.0)
    board.saw("j", replace(DONE, exit_code=1), (), 1.0)
    decide(board, 1.0)
    board.drained("j")

    (retry,) = decide(board, 1.0)
    assert isinstance(retry, Retry)
    assert (retry.end.reason, retry.delay_s) == ("exit code 1", 1.0)


def test_the_words_of_a_backend_are_bounded(spec: Spec) -> None:
    longest, longer = "w" * WORD_MAX, "w" * (WORD_MAX + 1)

    for state, evidence in itertools.product([longest, longer], repeat=2):
        seen = replace(RUNNING, native_state=state, evidence=evidence)
        assert bounded(seen) == replace(RUNNING, native_state=longest, evidence=longest)


def test_a_job_that_begins_once_more_goes_before_those_that_never_began(spec: Spec) -> None:
    first = spec("first", retry=RetryPolicy(retries=1, backoff_s=1.0))
    board = Board()
    board.set_seats(1, {})
    for job in (first, spec("b"), spec("c")):
        board.add(job, record_of(job), 0.0)
    assert decide(board, 0.0) == [Submit(first)]

    end = End(JobState.FAILED, "it could not be started", None)
    board.not_submitted("first", end)
    assert decide(board, 0.0) == [Retry(first, end, 1.0)]
    board.next_attempt(again := replace(first, attempt=2))
    board.recorded(record_of(again), 0.0)

    assert [one.job.name for one in decide(board, 0.5) if isinstance(one, Submit)] == ["b"]
    assert decide(board, 1.0) == []  # its pause is over, and the only seat is taken
    board.ask_to_end("not needed", 0, "b")
    decide(board, 1.0)
    board.not_submitted("b")
    (finish,) = decide(board, 1.0)
    assert isinstance(finish, Finish)
    board.recorded(record_of(finish.job, state=JobState.CANCELLED), 1.0)
    assert decide(board, 1.0) == [Submit(again)]
