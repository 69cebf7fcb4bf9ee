"""What may be told of a job of Slurm: its own record first, and absence is no evidence."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.abc import Observation
from runbus.attempt import TIME_LIMIT
from runbus.executors._slurm.listing import Fact
from runbus.executors._slurm.verdict import (
    ABSENCES,
    EXPECTED_S,
    FORGOTTEN_S,
    RECORD_S,
    WORD_S,
    Accounts,
    Standing,
    judged,
    noted,
    put_back,
)
from runbus.jobs import JobState, verdict

SILENT = Accounts({}, answered=False)
EMPTY = Accounts({}, answered=True)
NONE_KEPT = Accounts({}, answered=False, kept=False)


def fact(state: str, **more: object) -> Fact:
    return Fact(id="7", name="a", state=state)._replace(**more)  # type: ignore[arg-type]


Looked = tuple[dict[str, Fact] | None, Accounts]


def after(*looks: Looked, begin: Standing | None = None) -> Standing:
    standing = begin or Standing()
    for number, (queue, accounts) in enumerate(looks):
        standing = noted(standing, "a", queue, accounts, float(number))
    return standing


RUNNING = Observation(phase="running", host="n1", pid=5, started_ns=1, evidence="pid.json")


def ended(**how: object) -> Observation:
    return Observation(phase="ended", host="n1", pid=5, evidence="exit.json", **how)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from([(None, SILENT), ({}, SILENT), (None, EMPTY)]), max_size=30))
def test_what_one_source_does_not_list_stays_as_it_is(
    looks: list[Looked],
) -> None:
    begin = Standing(fact("RUNNING"))

    assert after(*looks, begin=begin) == begin


def test_what_both_sources_lack_again_and_again_is_gone() -> None:
    almost = after(*[({}, EMPTY)] * (ABSENCES - 1), begin=Standing(fact("RUNNING")))
    gone = after(*[({}, EMPTY)] * ABSENCES, begin=Standing(fact("RUNNING")))

    still = judged(RUNNING, almost, "login", 99.0)
    assert still is not None
    assert still.phase == "running"
    told = judged(RUNNING, gone, "login", 99.0)
    assert told is not None
    assert (told.phase, told.evidence) == ("gone", "squeue, sacct")


def test_a_cluster_without_accounts_is_not_said_to_have_been_asked_for_them() -> None:
    gone = after(*[({}, NONE_KEPT)] * ABSENCES, begin=Standing(fact("RUNNING")))

    told = judged(RUNNING, gone, "login", 99.0)
    assert told is not None
    assert (told.phase, told.evidence) == ("gone", "squeue")


def test_what_lives_for_the_accounts_alone_and_writes_nothing_is_gone_in_the_end() -> None:
    running = Accounts({"a": fact("RUNNING")}, answered=True)
    lost = after(({"a": fact("RUNNING")}, SILENT), *[({}, running)] * 3)
    assert lost.forgotten_at == 1.0

    def told(seen: Observation | None, now: float, written_at: float = 0.0) -> tuple[str, str]:
        found = judged(seen, lost, "login", now, written_at=written_at)
        assert found is not None
        return found.phase, verdict(found, None)[1] if found.phase == "gone" else ""

    why = "Slurm's controller has not known it for 10 minutes, in which it has written nothing"
    for seen in (RUNNING, None):
        assert told(seen, FORGOTTEN_S + 0.9)[0] in ("running", "provisioning")
        assert told(seen, FORGOTTEN_S + 5, written_at=6.0)[0] in ("running", "provisioning")
        assert told(seen, FORGOTTEN_S + 1) == ("gone", f"{why}, and the accounts have no end of it")
    assert told(ended(exit_code=0), FORGOTTEN_S + 1)[0] == "ended"


def test_what_the_controller_knows_again_or_does_not_answer_about_was_not_forgotten() -> None:
    running = Accounts({"a": fact("RUNNING")}, answered=True)
    assert after(({}, running), ({"a": fact("RUNNING")}, running)).forgotten_at is None
    assert after((None, running)).forgotten_at is None
    assert after(({}, running), (None, running), ({}, running)).forgotten_at == 0.0


def test_where_no_accounts_are_kept_the_queue_must_lack_it_as_often() -> None:
    assert after(*[({}, NONE_KEPT)] * ABSENCES).is_over
    assert not after(*[({}, NONE_KEPT)] * (ABSENCES - 1)).is_over


def test_a_job_that_is_listed_again_was_never_missing() -> None:
    looks = [*[({}, EMPTY)] * (ABSENCES - 1), ({"a": fact("RUNNING")}, EMPTY), ({}, EMPTY)]

    assert not after(*looks).is_over


def test_accounts_that_lag_do_not_revive_a_job_and_do_not_end_one() -> None:
    lagging = Accounts({"a": fact("RUNNING", source="sacct")}, answered=True)

    assert after(({"a": fact("COMPLETED")}, lagging)).is_over
    assert not after(*[({}, lagging)] * 10).is_over


@given(st.from_regex(r"[A-Z_]{1,20}", fullmatch=True))
def test_a_record_of_an_exit_is_the_truth_whatever_slurm_says(state: str) -> None:
    record = ended(exit_code=3)

    assert judged(record, Standing(fact(state), 0, 0.0), "login", 1.0) == record


@pytest.mark.parametrize(
    ("state", "phase", "reason"),
    [
        ("TIMEOUT", "ended", TIME_LIMIT),
        ("PREEMPTED", "preempted", "preempted by Slurm"),
        ("CANCELLED", "ended", "cancelled in Slurm by 0"),
        ("FAILED", "ended", ""),
    ],
)
def test_slurm_says_whose_signal_ended_a_job(state: str, phase: str, reason: str) -> None:
    standing = Standing(fact(state, detail="by 0" if state == "CANCELLED" else ""), 0, 0.0)

    told = judged(ended(signal=15), standing, "login", 1.0)

    assert told is not None
    assert (told.phase, told.reason, told.signal) == (phase, reason, 15)


def test_a_signal_waits_for_that_word_but_not_for_ever() -> None:
    record, standing = ended(signal=15), Standing(fact("RUNNING"))

    assert judged(record, standing, "login", 1.0, ended_for_s=1.0) is None
    assert judged(record, standing, "login", 1.0, ended_for_s=WORD_S + 1) == record


def test_a_job_that_waits_anew_was_put_back_only_if_slurm_says_so_after_its_end() -> None:
    record, behind = ended(signal=15), Standing(fact("PENDING"))

    assert judged(record, behind, "login", 1.0, ended_for_s=1.0) is None
    told = judged(record, behind, "login", 1.0, ended_for_s=1.0, is_fresh=True)
    assert told is not None
    assert (told.phase, told.reason) == ("preempted", "put back into Slurm's queue by somebody")
    own = ended(exit_code=3)
    assert judged(own, behind, "login", 1.0, is_fresh=True) == own


def test_an_end_for_slurm_waits_for_the_jobs_own_record() -> None:
    standing = Standing(fact("FAILED", exit_code=5, source="sacct"), 0, 100.0)

    assert judged(RUNNING, standing, "login", 100.0 + RECORD_S / 2) is None
    told = judged(RUNNING, standing, "login", 100.0 + RECORD_S)
    assert told is not None
    assert (told.phase, told.exit_code, told.evidence) == ("ended", 5, "sacct")


@pytest.mark.parametrize("code", [None, 0])
def test_a_failure_without_its_exit_code_is_told_when_the_accounts_have_it(
    code: int | None,
) -> None:
    """The queue has none, and accounts that have just begun anew say 0."""
    first = Standing(fact("FAILED", exit_code=code), 0, 100.0)
    row = fact("FAILED", exit_code=code, source="sacct")
    behind: Looked = ({}, Accounts({"a": row}, answered=True))
    then: Looked = ({}, Accounts({"a": row._replace(exit_code=73)}, answered=True))

    assert judged(None, after(behind, begin=first), "login", 100.0 + RECORD_S) is None
    told = judged(None, after(behind, then, begin=first), "login", 100.0 + RECORD_S)
    assert told is not None
    assert told.reason.startswith("its folder cannot be reached")
    assert judged(None, first, "login", 100.0 + WORD_S) is not None


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY"])
@pytest.mark.parametrize("code", [None, 0])
def test_no_signal_and_no_code_is_told_that_slurm_does_not_tell(
    state: str, code: int | None
) -> None:
    told = judged(RUNNING, Standing(fact(state, exit_code=code), 0, 0.0), "login", WORD_S)

    assert told is not None
    assert (told.phase, told.exit_code, told.signal) == ("ended", None, None)
    assert told.reason != ""
    assert verdict(told, None)[0] is (JobState.TIMEOUT if state == "TIMEOUT" else JobState.FAILED)


def test_an_end_that_slurm_calls_good_is_no_success_without_a_record() -> None:
    told = judged(RUNNING, Standing(fact("COMPLETED", exit_code=0), 0, 0.0), "login", 60.0)

    assert told is not None
    assert told.phase == "gone"


@pytest.mark.parametrize(
    ("state", "phase"),
    [("PENDING", "queued"), ("CONFIGURING", "provisioning"), ("RUNNING", "provisioning"),
     ("SUSPENDED", "suspended")],
)  # fmt: skip
def test_a_job_without_records_stands_where_slurm_says(state: str, phase: str) -> None:
    told = judged(None, Standing(fact(state, reason="Priority")), "login", 1.0)

    assert told is not None
    assert (told.phase, told.native_state.split(" ")[0], told.reason) == (phase, state, "Priority")


def test_a_job_that_waits_says_why_beside_its_state() -> None:
    told = judged(None, Standing(fact("PENDING", reason="Resources")), "login", 1.0)

    assert told is not None
    assert told.native_state == "PENDING (Resources)"


@pytest.mark.parametrize("reason", ["JobHeldUser", "JobHeldAdmin"])
def test_a_job_that_is_held_is_not_expected_to_begin(reason: str) -> None:
    """Slurm tells the time before which it would not begin in any case."""
    standing = Standing(fact("PENDING", reason=reason, start_s=1_700_000_000))

    told = judged(None, standing, "login", 1.0)

    assert told is not None
    assert told.native_state == f"PENDING ({reason})"


@pytest.mark.parametrize("accounts", [EMPTY, NONE_KEPT], ids=["no row", "none kept"])
def test_an_element_that_waited_and_is_missing_was_cancelled_before_its_start(
    accounts: Accounts,
) -> None:
    def after_all(begin: Fact | None) -> Standing:
        standing = Standing(begin)
        for number in range(ABSENCES):
            standing = noted(standing, "a[1]", {}, accounts, float(number))
        return standing

    waited, ran = after_all(fact("PENDING")), after_all(fact("RUNNING"))

    told = judged(None, waited, "login", 1.0)
    assert told is not None
    assert (told.phase, told.reason) == ("ended", "cancelled in Slurm before its start")
    gone = judged(None, ran, "login", 1.0)
    assert gone is not None
    assert gone.phase == "gone"
    assert after_all(None).is_out is (accounts is EMPTY)


def test_a_job_that_waits_says_when_it_is_expected_to_begin_and_seldom_another_time() -> None:
    def waits(hour: int) -> Looked:
        at = time.mktime((2030, 1, 31, hour, 5, 0, 0, 0, -1))
        return {"a": fact("PENDING", reason="Priority", start_s=int(at))}, SILENT

    def told(standing: Standing) -> str:
        seen = judged(None, standing, "login", 1.0)
        assert seen is not None
        return seen.native_state

    first = after(({"a": fact("PENDING", reason="Priority")}, SILENT), waits(14), waits(15))
    later = noted(first, "a", *waits(16), EXPECTED_S + 2)
    begun = noted(later, "a", {"a": fact("RUNNING", start_s=1)}, SILENT, EXPECTED_S + 3)

    assert told(first) == "PENDING (Priority; starts 2030-01-31 14:05)"
    assert told(later) == "PENDING (Priority; starts 2030-01-31 16:05)"
    assert told(begun) == "RUNNING"
    assert told(Standing(fact("PENDING", start_s=1 << 62))) == "PENDING"


def test_a_word_that_nobody_knows_changes_nothing() -> None:
    strange = Standing(fact("TELEPORTING"))

    assert judged(None, strange, "login", 1.0) is None
    told = judged(RUNNING, strange, "login", 1.0)
    assert told is not None
    assert (told.phase, told.native_state) == ("running", "TELEPORTING")


TOLD = "its wrapper was told to end (SIGTERM)"


@pytest.mark.parametrize(
    ("seen", "state", "is_back"),
    [
        (RUNNING, "PENDING", True),
        (RUNNING, "REQUEUED", True),
        (RUNNING, "RUNNING", False),
        (None, "PENDING", False),
        (ended(signal=15), "PENDING", True),
        (ended(exit_code=0, reason=TOLD), "PENDING", True),
        (ended(signal=15), "COMPLETING", False),
        (ended(exit_code=0), "PENDING", False),
        (ended(signal=15, reason="cancelled"), "PENDING", False),
    ],
)
def test_a_job_is_put_back_that_has_begun_and_waits_and_has_not_ended_by_itself(
    seen: Observation | None, state: str, is_back: bool
) -> None:
    assert put_back(seen, Standing(fact(state))) == is_back
    assert not put_back(seen, Standing())


@pytest.mark.parametrize(
    ("standing", "is_told"),
    [
        (Standing(), False),
        (Standing(fact("COMPLETING")), False),
        (Standing(fact("RUNNING"), absences=ABSENCES - 1), False),
        (Standing(fact("RUNNING"), absences=ABSENCES), True),
        (Standing(fact("TIMEOUT"), ended_at=0.0), True),
    ],
)
def test_an_end_by_a_signal_is_told_once_slurm_does_not_begin_the_job_anew(
    standing: Standing, is_told: bool
) -> None:
    late = WORD_S * 10
    told = judged(ended(signal=15), standing, "h", late, late, requeue=True)

    assert (told is not None) == is_told
    assert judged(ended(exit_code=3), standing, "h", late, late, requeue=True) is not None
