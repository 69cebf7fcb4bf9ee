"""What may be told of a job from its records and from what Slurm says: pure decisions.

Its own record is the truth about its end. What Slurm says explains it, and stands in for it where a
job ended without one. That Slurm does not list a job says nothing by itself.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec.structs import replace

from runbus.abc import Observation
from runbus.attempt import OUT_OF_MEMORY, TIME_LIMIT
from runbus.executors._slurm.listing import Fact
from runbus.executors._slurm.numbers import array_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORGOTTEN_S",
    "RECORD_S",
    "Accounts",
    "Standing",
    "fact_of",
    "is_forgotten",
    "is_over",
    "judged",
    "needs_word",
    "noted",
    "put_back",
    "waits",
    "withdrawn",
]

RECORD_S = 10.0
"""How long after its end for Slurm a job's own record is waited for: files take time to be seen on
other machines."""

_WRAPPER_TOLD = "its wrapper was told to end"
"""How the wrapper's reason begins when TERM reached it, too: as Slurm sends it."""

WORD_S = 30.0
"""How long the end of a job waits for Slurm to say whose signal it was that ended it; or, of one
that left no record, with which exit code it failed."""

FORGOTTEN_S = 600.0
"""How long a job may live for the accounts alone, and write nothing, before it is gone: they may
wait for what the controller has to say, or for ever where it has lost what it knew."""

EXPECTED_S = 600.0
"""How long an expected start is told before another one is."""

ABSENCES = 3
"""In how many looks at both sources, one after another, a job must have been missing."""

_HELD = "JobHeld"
"""How the reason begins of a job that does not begin before it is released, whatever time is told
for it."""

_QUEUED = {
    "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT",
    "REVOKED",
}  # fmt: skip
_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED", "UPDATE_DB"}
_ENDED = {
    "COMPLETED", "FAILED", "BOOT_FAIL", "LAUNCH_FAILED", "OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED",
    "TIMEOUT", "DEADLINE", "PREEMPTED", "RECONFIG_FAIL",
}  # fmt: skip


class Accounts(NamedTuple):
    """What sacct answered.

    Attributes:
        facts: What it says, by our names.
        answered: Whether it did: a failure says nothing.
        kept: Whether this cluster keeps accounts at all.
    """

    facts: Mapping[str, Fact]
    answered: bool
    kept: bool = True


class Standing(NamedTuple):
    """What Slurm has said about a job so far.

    Attributes:
        fact: The last that it said; None if nothing.
        absences: In how many looks, one after another, it was missing from both sources.
        ended_at: When it was first said to have ended, by a clock that is not set; None if never.
        has_accounts: Whether the cluster kept accounts, from which it was missing as well.
        is_out: Whether it is missing as an element is that was cancelled before its start.
        expected_at: When its expected start was taken in, by that clock.
        forgotten_at: Since when the controller answers and does not know it, while it lives for the
            accounts, by that clock; None if that is not so.
    """

    fact: Fact | None = None
    absences: int = 0
    ended_at: float | None = None
    has_accounts: bool = True
    is_out: bool = False
    expected_at: float = float("-inf")
    forgotten_at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more, as far as Slurm knows."""
        return self.ended_at is not None or self.absences >= ABSENCES


def fact_of(facts: Mapping[str, Fact], name: str) -> Fact | None:
    """Return what was said of a job; None if nothing.

    Elements of an array that ended before they began may be told of by the array's own name alone,
    and some of those that wait, where there are too many to be listed.
    """
    if (fact := facts.get(name)) is not None:
        return fact
    array = array_of(name)
    rest = facts.get(array) if array != name else None
    if rest is None or rest.state in _ENDED:
        return rest
    index = name.removeprefix(array).strip("[]")
    return rest._replace(id=f"{rest.id}_{index}", name=name)


def is_over(fact: Fact) -> bool:
    """Whether a job has ended for Slurm."""
    return fact.state in _ENDED


def waits(fact: Fact) -> bool:
    """Whether a job has not begun."""
    return fact.state in _QUEUED


def withdrawn(standing: Standing, name: str, now: float) -> Standing:
    """Return what is known of a job that waited, once Slurm was told to begin it never."""
    number = standing.fact.id if standing.fact is not None else ""
    fact = Fact(number, name, "CANCELLED", "before its start", source="scancel")
    return Standing(fact, 0, now)


def noted(
    standing: Standing, name: str, queue: Mapping[str, Fact] | None, accounts: Accounts, now: float
) -> Standing:
    """Return what is known of a job after a look at both sources.

    Args:
        standing: What was known before.
        name: What it is called.
        queue: What squeue says; None if it failed.
        accounts: What sacct says.
        now: This moment, by a clock that is not set.
    """
    said = fact_of(queue, name) if queue is not None else None
    told = fact_of(accounts.facts, name)
    # The controller knows better what lives, as far as it lists it; the accounts, how it ended.
    lives = said is not None and said.state not in _ENDED
    if lives and told is not None and told.state in _ENDED and queue is not None:
        lives = name in queue
    fact = said if lives or told is None else told if told.state in _ENDED or said is None else said
    if fact is None:
        missing = queue is not None and (accounts.answered or not accounts.kept)
        if not missing:
            return standing
        # An element that has not begun, and of which the accounts have no row, was taken out of its
        # array: of that nothing stays. Where none are kept, it must have been seen to wait.
        before = standing.fact
        has_waited = accounts.answered if before is None else waits(before)
        is_out = array_of(name) != name and has_waited
        absences = standing.absences + 1
        return standing._replace(absences=absences, has_accounts=accounts.kept, is_out=is_out)
    if fact.state not in _ENDED:
        alive = _expecting(standing, fact, now)
        since = standing.forgotten_at
        if since is None and queue is not None:
            since = now
        return alive._replace(forgotten_at=since) if fact is told else alive
    if fact is told and said is not None and not (told.exit_code or told.signal):
        fact = told._replace(exit_code=said.exit_code or told.exit_code, signal=said.signal)
    return Standing(fact, 0, now if standing.ended_at is None else standing.ended_at)


def _expecting(standing: Standing, fact: Fact, now: float) -> Standing:
    """Return what is known of a job that lives, with its expected start if it waits.

    The controller thinks of another one every few seconds, of each job that waits.
    """
    before = standing.fact
    is_fresh = now - standing.expected_at < EXPECTED_S
    if before is not None and is_fresh and waits(before) and waits(fact):
        return Standing(fact._replace(start_s=before.start_s), expected_at=standing.expected_at)
    return Standing(fact, expected_at=now) if fact.start_s and waits(fact) else Standing(fact)


def is_forgotten(standing: Standing, written_at: float, now: float) -> bool:
    """Whether a job that lives for the accounts alone is gone all the same.

    Args:
        standing: What Slurm has said.
        written_at: When something was last seen that it wrote, by the clock of the standing.
        now: This moment, by that clock.
    """
    since = standing.forgotten_at
    return since is not None and now - max(since, written_at) >= FORGOTTEN_S


def needs_word(seen: Observation) -> bool:
    """Whether a job's own record leaves open who ended it."""
    if seen.phase != "ended":
        return False
    killed = not seen.reason and seen.signal in (signal.SIGTERM, signal.SIGKILL)
    return killed or seen.reason.startswith(_WRAPPER_TOLD)


def put_back(seen: Observation | None, standing: Standing) -> bool:
    """Whether a job that has begun waits in the queue: Slurm, asked since, is to begin it anew."""
    fact = standing.fact
    if seen is None or fact is None or not waits(fact):
        return False
    return seen.phase != "ended" or needs_word(seen)


def judged(
    seen: Observation | None, standing: Standing, host: str, now: float,
    ended_for_s: float = 0.0, notice: int = 0, is_fresh: bool = False,
    written_at: float = float("-inf"), requeue: bool = False,
) -> Observation | None:  # fmt: skip
    """Return what may be told of a job.

    Args:
        seen: What its own records say; None if nothing.
        standing: What Slurm has said.
        host: The login node.
        now: This moment, by the clock of the standing.
        ended_for_s: Since how many seconds its own record of its end has been known.
        notice: The signal that announces the end of its time; 0 if none does.
        is_fresh: Whether Slurm was asked after its own record of its end was known.
        written_at: When something was last seen that it wrote, by the clock of the standing.
        requeue: Whether Slurm may begin it anew by itself, and nothing says so yet.

    Returns:
        None as long as nothing new may be told.
    """
    if seen is not None and seen.phase == "ended":
        if not needs_word(seen):
            return _announced(seen) if notice and seen.signal == notice else seen
        if requeue and not (standing.is_over or is_forgotten(standing, written_at, now)):
            return None
        return _by_signal(seen, standing, ended_for_s, notice, is_fresh=is_fresh)
    fact = standing.fact
    if standing.ended_at is not None and fact is not None:
        # One that never had a machine leaves no record that could still be on its way.
        has_run = seen is not None or fact.nodes or fact.state != "CANCELLED"
        # The queue has no exit codes; accounts that have begun anew call a failure 0:0 for a while.
        is_told = fact.state != "FAILED" or fact.exit_code or fact.signal
        wait_s = RECORD_S if is_told else WORD_S
        is_late = not has_run or now - standing.ended_at >= wait_s
        return _unrecorded(seen, fact, host) if is_late else None
    if standing.absences >= ABSENCES and standing.is_out and seen is None:
        return _unrecorded(None, Fact("", "", "CANCELLED", "before its start"), host)
    if standing.absences >= ABSENCES:
        gone = seen or Observation(phase="gone", host=host)
        evidence = "squeue, sacct" if standing.has_accounts else "squeue"
        return replace(gone, phase="gone", evidence=evidence)
    if fact is None:
        return seen or Observation(phase="queued", host=host)
    if is_forgotten(standing, written_at, now):
        gone = seen or Observation(phase="gone", host=fact.nodes or host)
        return replace(gone, phase="gone", reason=_FORGOTTEN, evidence="squeue")
    return _alive(seen, fact, host)


def _by_signal(
    seen: Observation, standing: Standing, ended_for_s: float, notice: int, *, is_fresh: bool
) -> Observation | None:
    """Return what may be told of an end by a signal: whose that was Slurm knows."""
    if is_fresh and standing.fact is not None and waits(standing.fact):
        reason = "put back into Slurm's queue by somebody"
        native = standing.fact.state
        return replace(seen, phase="preempted", reason=reason, native_state=native)
    if standing.ended_at is not None and standing.fact is not None:
        told = _explained(seen, standing.fact)
        is_announced = notice and told.signal == notice and not told.reason
        return _announced(told) if is_announced else told
    return seen if ended_for_s > WORD_S or standing.absences >= ABSENCES else None


def _alive(seen: Observation | None, fact: Fact, host: str) -> Observation | None:
    phase = _phase(fact)
    if seen is not None and seen.phase == "running" and phase != "suspended":
        return replace(seen, native_state=fact.state)
    if phase is None:
        # A word that nobody here knows: it stands where it stood.
        return seen
    began = seen or Observation(phase="queued", host=fact.nodes or host)
    if phase == "running":
        # It has its machines, and its wrapper has not begun, or is not seen yet.
        phase = "provisioning"
    # As Slurm's users see it. Both change seldom.
    is_held = fact.reason.startswith(_HELD)
    beside = [fact.reason, "" if is_held else _start(fact)] if phase == "queued" else []
    words = "; ".join(filter(None, beside))
    return replace(
        began, phase=phase, native_state=f"{fact.state} ({words})" if words else fact.state,
        reason=fact.reason, evidence=fact.source,
    )  # fmt: skip


_FORGOTTEN = (
    f"Slurm's controller has not known it for {FORGOTTEN_S / 60:.0f} minutes, in which it has "
    "written nothing, and the accounts have no end of it"
)


def _start(fact: Fact) -> str:
    """Return when a job that waits is expected to begin, in words; empty if nobody knows."""
    try:
        told = time.strftime("%Y-%m-%d %H:%M", time.localtime(fact.start_s))
    except (OverflowError, OSError, ValueError):  # Slurm has said no time of this world
        return ""
    return f"starts {told}" if fact.start_s else ""


def _phase(fact: Fact) -> Literal["queued", "provisioning", "running", "suspended"] | None:
    if fact.state in _QUEUED:
        return "queued"
    if fact.state in {"CONFIGURING", "POWER_UP_NODE"}:
        return "provisioning"
    if fact.state == "SUSPENDED":
        return "suspended"
    return "running" if fact.state in _RUNNING else None


def _announced(seen: Observation) -> Observation:
    """Return the end of a job that was told that its time is nearly over, and ended by that."""
    return replace(seen, phase="preempted", reason="its time was nearly over, as it was told")


def _explained(seen: Observation, fact: Fact) -> Observation:
    """Return a recorded end with what Slurm says about whose doing it was."""
    if fact.state == "PREEMPTED":
        return replace(
            seen, phase="preempted", reason="preempted by Slurm", native_state=fact.state
        )
    return replace(seen, reason=_reason(fact) or seen.reason, native_state=fact.state)


def _unrecorded(seen: Observation | None, fact: Fact, host: str) -> Observation:
    """Return the end of a job that has left no record of it, as Slurm tells it."""
    base = seen or Observation(phase="ended", host=fact.nodes or host)
    if fact.state == "PREEMPTED":
        return replace(
            base, phase="preempted", reason="preempted by Slurm", native_state=fact.state,
            evidence=fact.source,
        )  # fmt: skip
    if fact.state in {"COMPLETED", "NODE_FAIL", "BOOT_FAIL"}:
        # That its script ended well, or its machine did not, tells nothing of the job itself.
        reason = f"{fact.state} for Slurm, and left no record of its end"
        return replace(
            base, phase="gone", reason=reason, native_state=fact.state, evidence=fact.source
        )
    number = fact.signal or None
    # Of a job that failed, 0 is no code: the accounts have none, or none yet.
    return replace(
        base, phase="ended", exit_code=None if number else fact.exit_code or None, signal=number,
        reason=_reason(fact) or f"{fact.state} for Slurm", native_state=fact.state,
        evidence=fact.source,
    )  # fmt: skip


def _reason(fact: Fact) -> str:
    """Return why Slurm ended a job, in words; empty if it did not."""
    if fact.state in {"TIMEOUT", "DEADLINE"}:
        return TIME_LIMIT
    if fact.state == "OUT_OF_MEMORY":
        return OUT_OF_MEMORY
    if fact.state == "CANCELLED":
        return f"cancelled in Slurm {fact.detail}".rstrip()
    if fact.exit_code == _NO_FOLDER:
        return "its folder cannot be reached from the machine where it was to run"
    if fact.exit_code == _READ_ONLY:
        return f"its folder cannot be written on {fact.nodes or 'the machine where it was to run'}"
    if fact.exit_code == _NO_GPUS:
        return f"it asked for GPUs, and sees none on {fact.nodes or 'its machine'}"
    return "" if fact.state in {"FAILED", "COMPLETED"} else f"{fact.state} for Slurm"


_NO_FOLDER, _NO_GPUS, _READ_ONLY = 73, 76, 77
"""What the batch script exits with where the attempt's folder is not there, no GPU is, or the
folder cannot be written."""
