"""The decision of the supervisor, against backends, crashes and people that do what they like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from runbus.abc import UNMET, After, JobSpec, Observation, RetryPolicy, Timeouts
from runbus.events import (
    CONDITIONS,
    Dependency,
    JobCancelRequested,
    JobEnded,
    JobFact,
    JobIntended,
    JobRequeued,
    JobRetrying,
    JobStarted,
)
from runbus.jobs import End, Facts, JobRecord, JobState, fold
from runbus.supervisor._board import Board, decide
from runbus.supervisor._decisions import (
    Cancel,
    Decision,
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
from runbus.testing import FakeClock

QUEUED = Observation(phase="queued")
RUNNING = Observation(phase="running", host="h", pid=1, started_ns=1)
ALIVE = ("queued", "provisioning", "running", "suspended")
ENDS = {
    "succeed": replace(RUNNING, phase="ended", exit_code=0),
    "fail": replace(RUNNING, phase="ended", exit_code=1),
    "killed": replace(RUNNING, phase="ended", signal=9),
}
SHOWN: dict[str, tuple[tuple[str, ...], Observation, int]] = {
    "make": (("queued",), replace(QUEUED, phase="provisioning"), 0),
    "run": (("queued", "provisioning", "suspended"), RUNNING, 0),
    "suspend": (("running",), replace(RUNNING, phase="suspended"), 0),
    "vanish": (("running",), replace(RUNNING, phase="gone"), 0),
    "preempt": (ALIVE, replace(RUNNING, phase="preempted"), 0),
    "requeue": ((*ALIVE, "preempted"), QUEUED, 1),
}
"""What a backend may show of a job in some phases, and whether that is a new attempt."""

NOT_BEGUN = {
    "unmet": replace(QUEUED, phase="ended", exit_code=78, reason=UNMET),
    "cancelled": replace(QUEUED, phase="ended", signal=15),
}
"""The ends of jobs that a queue has held back."""

LIMIT = 2
"""How many jobs the executor "small" takes."""

SEATS = 3


MEETS: dict[str, Any] = {
    "afterok": lambda state: state == "SUCCEEDED",
    "afterany": lambda state: True,
    "afternotok": lambda state: state not in ("SUCCEEDED", "SKIPPED"),
}
"""Which ends of a job let one run that depends on it."""


def lets(after: After, seen: Observation) -> bool:
    """Whether the record that an attempt has left lets one begin that was held back for it."""
    if seen.phase != "ended" or seen.reason == UNMET or seen == NOT_BEGUN["cancelled"]:
        return False
    return bool(MEETS[after.when]("SUCCEEDED" if seen.exit_code == 0 else "FAILED"))


OTHERS = ("p3", "p4")
"""Jobs of another experiment."""


def spec_of(
    number: int,
    retries: int,
    queue_s: int | None,
    waits: dict[int, Any] | None = None,
    group: str = "",
) -> JobSpec:
    return JobSpec(
        experiment_id="e", name=f"j{number}", run_id=f"e-{number}",
        executor="small" if number % 2 else "large", argv=("true",), cwd="/", env={},
        folder=f"jobs/{number}/1", run_folder=f"runs/{number}",
        retry=RetryPolicy(retries=0 if group else retries), timeouts=Timeouts(queue_s=queue_s),
        group=group,
        depends_on=tuple(
            Dependency(job=f"p{other}", when=when, experiment="x")
            if other > 2
            else Dependency(job=f"j{other}", when=when)
            for other, when in (waits or {}).items()
            # What may wait for each other in a circle is refused before: only for those before it,
            # and nothing within a group but for other experiments.
            if other > 2 or (other < number and not group)
        ),
    )  # fmt: skip


class World:
    """The journal, the backends, and one leader after another."""

    def __init__(
        self,
        specs: Sequence[JobSpec],
        *,
        seats: int = SEATS,
        holds_back: bool = False,
        apart: Sequence[str] = (),
    ) -> None:
        self.seats = seats
        self.apart = apart
        self.holds_back = holds_back
        self.held: dict[tuple[str, int], tuple[After, ...]] = {}
        self.went_ahead: set[str] = set()
        self.revived: set[str] = set()
        self.specs = {spec.name: spec for spec in specs}
        self.journal: list[JobFact] = []
        self.records: dict[str, JobRecord] = {}
        self.backend: dict[tuple[str, int], Observation] = {}
        self.submits: list[tuple[str, int]] = []
        self.facts = Facts(FakeClock())
        self.now = 0.0
        self.asked: set[str] = set()
        self.others: dict[str, JobState] = {}
        self.hands: list[Decision] = []
        for spec in specs:
            intended = JobIntended(
                experiment_id="e", job=spec.name, run_id=spec.run_id, attempt=1, time_ns=1,
                executor=spec.executor, folder=spec.folder,
            )  # fmt: skip
            self.record(intended)
        self.lead(is_first=True)

    def lead(self, *, is_first: bool = False) -> None:
        """A leader takes over; what the one before had in its hands is gone."""
        self.hands = []
        self.board = Board()
        self.board.set_seats(self.seats, {"small": LIMIT, "large": None})
        self.board.set_apart(self.apart)
        if self.holds_back:
            self.board.set_queues({"small": None, "large": "q"})
        for spec in self.specs.values():
            record = self.records[spec.name]
            self.board.add(
                replace(spec, attempt=record.attempt, folder=record.folder),
                record,
                self.now,
                is_inherited=not is_first,
                parents=self.records,
            )
        for name, state in self.others.items():
            self.board.parent_ended("x", name, state)

    def end_elsewhere(self, name: str, state: JobState) -> None:
        """A job of another experiment ends."""
        if name not in self.others:
            self.others[name] = state
            self.board.parent_ended("x", name, state)

    def record(self, fact: JobFact) -> None:
        self.journal.append(fact)
        before = self.records.get(fact.job)
        record = fold(before, fact)
        assert record is not None
        if before is not None and before.state.is_terminal and not record.state.is_terminal:
            self.revived.add(fact.job)
        self.records[fact.job] = record
        if hasattr(self, "board"):
            self.board.recorded(record, self.now)

    def decide(self) -> None:
        """Let the leader decide; facts are recorded at once, the rest stays in its hands."""
        for decision in decide(self.board, self.now):
            match decision:
                case NoteCancel():
                    self.record(self.facts.cancel_requested(decision.job, decision.reason))
                case NoteOverdue():
                    self.record(self.facts.overdue(decision.job, decision.reason))
                case NoteSeen():
                    self.record(self.facts.observed(decision.job, decision.seen))
                case NoteStart():
                    self.record(self.facts.started(decision.job, decision.seen))
                case Cancel():
                    self.end(decision.job, ENDS["killed"])
                case _:
                    self.hands.append(decision)

    def carry_out(self, at: int, fate: str) -> None:
        """A hand comes to what it was given."""
        if not self.hands:
            return
        decision = self.hands.pop(at % len(self.hands))
        job = decision.job
        match decision:
            case Find():
                if self.submission(job.name) in self.backend:
                    self.record(self.facts.submitted(job, "h"))
                else:
                    self.board.not_found(job.name)
            case Submit():
                self.submit(job, fate)
            case Drain():
                self.board.drained(job.name)
            case Requeue():
                following = replace(job, attempt=decision.attempt, folder=f"{job.folder}+")
                self.board.next_attempt(following)
                self.record(
                    self.facts.requeued(
                        job, decision.end, attempt=following.attempt, folder=following.folder
                    )
                )
            case Retry():
                following = replace(job, attempt=job.attempt + 1, folder=f"{job.folder}+")
                self.board.next_attempt(following)
                self.record(
                    self.facts.retrying(
                        job, decision.end, folder=following.folder, delay_s=decision.delay_s
                    )
                )
            case Finish():
                self.record(self.facts.ended(job, decision.end))
            case Follow() | Withdraw() | LookOn():
                pass
        self.check_seats()

    def carry_out_all(self, fate: str) -> None:
        """Everything is done that was decided, and what follows from it, and looked at."""
        while self.hands:
            self.carry_out(0, fate)
            self.decide()
        self.look()

    def submit(self, job: JobSpec, fate: str) -> None:
        key = job.name, job.attempt
        assert key not in self.submits, "submitted twice"
        assert self.records[job.name].state is JobState.PENDING
        self.check_after(job)
        for other in self.specs.values():
            if job.group and other.group == job.group and not self.ends(Dependency(job=other.name)):
                for one in other.depends_on:
                    assert any(map(MEETS[one.when], self.ends(one))), "before its group can"
        if any(isinstance(one, Withdraw) and one.job.name == job.name for one in self.hands):
            self.board.not_submitted(job.name)
        elif fate == "fail":
            self.board.not_submitted(job.name, End(JobState.FAILED, "no such machine", None))
        else:
            self.submits.append(key)
            self.backend[key] = QUEUED
            if job.after:
                self.held[key] = job.after
                self.went_ahead.add(job.name)
            if fate == "lost":  # its leader dies before it has recorded that
                self.lead()
            else:
                self.record(self.facts.submitted(job, "h"))

    def check_after(self, job: JobSpec) -> None:
        """What a job depends on has ended, or is known to the queue that holds the job back."""
        for after in job.after:
            parent, attempt = self.records[after.job], self.submitted_in(after)
            assert (self.holds_back, job.group) == (True, "")
            assert (after.job, attempt) in self.backend, "after one that is not there"
            # One that was not to begin is no obstacle: its record lets nothing else begin.
            assert attempt <= parent.attempt
            # A failure that is tried again does not let begin what needs the success of the job.
            is_last = parent.attempt - parent.requeued > self.specs[after.job].retry.retries
            assert is_last or after.when == "afterok", "after one that is tried again"
        ahead = {one.job for one in job.after}
        for one in job.depends_on:
            if one.experiment or one.job not in ahead:
                assert any(map(MEETS[one.when], self.ends(one))), "before its parent's end"

    def submitted_in(self, after: After) -> int:
        """Return which attempt of another a job is held back for."""
        return 1 + after.folder.count("+")

    def wake(self, key: tuple[str, int], *, too_soon: bool = False) -> None:
        """What a job is held back for is over, or its queue has forgotten that: its turn comes."""
        ends = [(one, self.backend[one.job, self.submitted_in(one)]) for one in self.held[key]]
        if too_soon or not any(seen.phase in ALIVE for _, seen in ends):
            del self.held[key]
            if not all(lets(*end) for end in ends):
                self.backend[key] = NOT_BEGUN["unmet"]

    def ends(self, one: Dependency) -> list[str]:
        """Return the states in which a job ended: one, unless its backend took that back."""
        if one.experiment:
            return [self.others[one.job]] if one.job in self.others else []
        return [
            fact.state
            for fact in self.journal
            if isinstance(fact, JobEnded) and fact.job == one.job
        ]

    def submission(self, name: str) -> tuple[str, int]:
        """Return what the backend knows the latest attempt by: it begins jobs anew under a name."""
        record = self.records[name]
        return name, record.attempt - record.requeues

    def wake_early(self, number: int) -> None:
        """The queue forgets what it holds a job back for."""
        if f"j{number}" in self.records and (key := self.submission(f"j{number}")) in self.held:
            self.wake(key, too_soon=True)

    def show(self, number: int, before: tuple[str, ...], seen: Observation, again: int = 0) -> None:
        """Something happens to the latest attempt of a job, if it is in a phase `before`."""
        if f"j{number}" in self.records:
            key = self.submission(f"j{number}")
            if key in self.held:
                self.wake(key)
            if key in self.held:
                return
            if (now := self.backend.get(key)) is not None and now.phase in before:
                self.backend[key] = replace(seen, requeues=now.requeues + again)

    def ask(self, name: str | None) -> None:
        """Somebody wants the end of a job, or of all."""
        self.board.ask_to_end("not needed", 1, name)
        self.asked |= self.specs.keys() if name is None else {name}

    def happen(self, what: str, number: int, how: str) -> None:
        """One thing happens."""
        match what:
            case "hand":
                self.carry_out(number, how)
            case "hands":
                self.carry_out_all(how)
            case _ if what in SHOWN:
                before, seen, again = SHOWN[what]
                self.show(number, before, seen, again)
            case "end":
                self.show(number, ("running",), ENDS[how])
            case "cancel" if f"j{number}" in self.specs:
                self.ask(f"j{number}")
            case "cancel all":
                self.ask(None)
            case "elsewhere":
                self.end_elsewhere(f"p{number + 2}", JobState(how))
            case "wait":
                self.now += number
            case "look" | "crash" | "too soon":
                early: Callable[[], None] = partial(self.wake_early, number)
                {"look": self.look, "crash": self.lead, "too soon": early}[what]()

    def end(self, job: JobSpec, seen: Observation) -> None:
        key = self.submission(job.name)
        if self.held.pop(key, None):
            seen = NOT_BEGUN["cancelled"]
        if (now := self.backend.get(key)) is not None and now.phase in ALIVE:
            self.backend[key] = replace(seen, requeues=now.requeues)

    def look(self) -> None:
        for name in self.specs:
            record = self.records[name]
            # A job whose machine was taken away may be begun anew after its end.
            if record.handle and (not record.state.is_terminal or record.state == "PREEMPTED"):
                seen = self.backend.get(self.submission(name))
                self.board.saw(name, seen, (), self.now)

    def check_seats(self) -> None:
        busy = [
            self.specs[name].executor
            for name, record in self.records.items()
            # One that is ended needs no seat, and waits for none to be found.
            if record.handle
            and not record.state.is_terminal
            and not record.cancelling
            # One that its backend has begun anew after its end asks nobody.
            and name not in self.revived
            # One that a queue holds back gets the seat that others leave to it.
            and not (self.board._jobs[name].refused or self.board._jobs[name].waits_for)
        ]
        assert sum(executor not in self.apart for executor in busy) <= self.seats
        assert busy.count("small") <= LIMIT

    def finish(self) -> None:
        """Nothing more goes wrong: every job that runs ends by itself, elsewhere, too."""
        for name in OTHERS:
            self.end_elsewhere(name, JobState.SUCCEEDED)
        for _ in range(1000):
            self.look()
            self.decide()
            if self.board.is_over:
                return
            self.carry_out_all("taken")
            for key, seen in list(self.backend.items()):
                if key in self.held:
                    self.wake(key)
                elif seen.phase in ALIVE:
                    self.backend[key] = replace(ENDS["succeed"], requeues=seen.requeues)
            self.look()
            self.now += 30.0
        raise AssertionError("it never ends")


FATES = ["taken", "taken", "fail", "lost"]
HOWS = {
    "elsewhere": ["SUCCEEDED", "FAILED", "SKIPPED"],
    "hand": FATES,
    "hands": ["taken", "taken", "taken", "fail"],
    "end": sorted(ENDS),
}
HAPPENINGS = [
    *["hand"] * 4, *["hands"] * 4, *["run"] * 3, *["look"] * 2, *["end"] * 2, *["preempt"] * 2,
    *["requeue"] * 2, "make", "suspend", "vanish", "cancel", "crash", "wait", "elsewhere",
]  # fmt: skip
"""What happens, as often as it is written here."""


def steps(happenings: Sequence[str]) -> st.SearchStrategy[tuple[str, int, str]]:
    return st.sampled_from(happenings).flatmap(
        lambda what: st.tuples(
            st.just(what),
            st.integers(0, 20 if what == "wait" else 3),
            st.sampled_from(HOWS.get(what, [""])),
        )
    )


LISTS = st.one_of(
    st.lists(steps(HAPPENINGS), min_size=10, max_size=40),
    st.lists(steps([*HAPPENINGS, "cancel all"]), max_size=40),
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([None, 5]),
            st.dictionaries(st.integers(0, 4), st.sampled_from(CONDITIONS), max_size=2),
            st.sampled_from(["", "", "g"]),
        ),
        min_size=1,
        max_size=4,
    ),
    LISTS,
    st.sampled_from([None, "look", "crash"]),
    st.sampled_from([(), (), ("large",), ("small",)]),
)
def test_every_job_ends_exactly_once_whatever_happens(
    jobs: list[tuple[int, int | None, dict[int, Any], str]],
    steps: list[tuple[str, int, str]],
    late: str | None,
    apart: Sequence[str],
) -> None:
    # There are seats for a group of three.
    specs = [
        spec_of(number, retries, queue_s, waits, group if number < SEATS else "")
        for number, (retries, queue_s, waits, group) in enumerate(jobs)
    ]
    check(World(specs, apart=apart), steps, late)


WAITS = st.tuples(
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([None, 5]),
    st.dictionaries(st.integers(0, 1), st.sampled_from(CONDITIONS), min_size=1),
)


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 3),
    st.tuples(WAITS, WAITS, WAITS),
    st.lists(
        steps([*["hands"] * 4, *["hand"] * 4, *["run"] * 3, *["end"] * 3, *["crash"] * 2, "look",
               "preempt", "vanish", "cancel", "wait", "too soon", "too soon"]), max_size=40,
    ),
    st.sampled_from([(), ("large",)]),
)  # fmt: skip
def test_a_graph_that_a_queue_holds_back_ends_as_one_that_is_held_back_here(
    seats: int,
    jobs: Sequence[tuple[int, int | None, dict[int, Any]]],
    steps: list[tuple[str, int, str]],
    apart: Sequence[str],
) -> None:
    specs = [replace(spec_of(number, *job), executor="large") for number, job in enumerate(jobs)]
    check(World(specs, seats=seats, holds_back=True, apart=apart), steps, None)


def check(world: World, steps: list[tuple[str, int, str]], late: str | None) -> None:
    """Let things happen, and see that every job has ended as it must have."""
    for what, number, how in steps:
        world.decide()
        world.happen(what, number, how)
        world.check_seats()
    world.finish()
    if late is not None:
        # Backends take back what they said of machines that were gone.
        for number in range(len(world.specs)):
            world.happen("requeue", number, "")
        world.happen(late, 0, "")
        world.finish()
    told, asked = len(world.journal), set(world.asked)
    world.hands.clear()
    # What is over stays so, however often that is asked or reported.
    world.ask(None)
    world.look()
    for record in world.records.values():
        world.board.recorded(record, world.now)
    world.decide()
    assert (len(world.journal), world.hands, world.board.is_over) == (told, [], True)

    for name in world.specs:
        facts = [fact for fact in world.journal if fact.job == name]
        check_attempts(world, name, facts)
        check_end(world, name, facts, asked)
    assert len(set(world.submits)) == len(world.submits)


def check_attempts(world: World, name: str, facts: Sequence[JobFact]) -> None:
    ends = [at for at, fact in enumerate(facts) if isinstance(fact, JobEnded)]
    # It ends once, and once more each time its backend takes back that its machine is gone.
    assert ends[-1] == len(facts) - 1
    for end in ends[:-1]:
        assert getattr(facts[end], "state", "") == "PREEMPTED"
        assert isinstance(facts[end + 1], JobRequeued)
    if world.records[name].state is JobState.PREEMPTED:
        assert world.backend[world.submission(name)].requeues == world.records[name].requeues
    retried = [fact.state for fact in facts if isinstance(fact, JobRetrying)]
    assert len(retried) - retried.count("SKIPPED") <= world.specs[name].retry.retries
    begun = [one for one in facts if isinstance(one, JobRetrying | JobRequeued)]
    attempts = [1, *(one.next_attempt for one in begun)]
    assert attempts == sorted(set(attempts))
    assert [one.attempt for one in begun] == attempts[:-1]
    assert facts[-1].attempt == world.records[name].attempt == attempts[-1]
    assert sum(isinstance(fact, JobCancelRequested) for fact in facts) <= 1


def check_end(world: World, name: str, facts: Sequence[JobFact], asked: set[str]) -> None:
    spec, record = world.specs[name], world.records[name]
    if any(isinstance(fact, JobStarted) for fact in facts):
        assert record.state is not JobState.SKIPPED
        for one in spec.depends_on:
            # Held back, it has begun by what the other left, which is how that ended, unless that
            # was to end in the same moment.
            parent = None if one.experiment else world.records[one.job]
            is_clear = parent is None or not (parent.overdue or parent.cancelling)
            assert not is_clear or any(map(MEETS[one.when], world.ends(one)))
    group = [one.name for one in world.specs.values() if spec.group and one.group == spec.group]
    # One that was preempted has ended the others, whatever became of it later.
    failed = {
        fact.job
        for fact in world.journal
        if isinstance(fact, JobEnded) and fact.job in group and fact.state != "SUCCEEDED"
    }
    if record.state is JobState.CANCELLED:
        was_refused = name in world.went_ahead and "job 'j" in record.reason
        assert name in asked or len(failed) > 1 or was_refused
    if record.state is JobState.SKIPPED:
        if name not in world.went_ahead:
            told = [type(fact) for fact in facts if not isinstance(fact, JobCancelRequested)]
            assert told == [JobIntended, JobEnded]
        assert any(
            not MEETS[one.when](state)
            for other in group or [name]
            for one in world.specs[other].depends_on
            for state in world.ends(one)
        )


def test_a_step_costs_the_same_with_ten_thousand_jobs() -> None:
    """What nothing happened to is not looked at: decisions come of the one job alone."""
    specs = [spec_of(number, 0, None) for number in range(10_000)]
    world = World(specs)
    world.decide()
    assert len(world.hands) == SEATS

    first = world.hands[0].job
    world.carry_out(0, "taken")
    world.backend[first.name, 1] = ENDS["succeed"]
    world.board.saw(first.name, ENDS["succeed"], (), 1.0)
    jobs = world.board._jobs
    world.board._jobs = counting = Counting(jobs)
    world.decide()

    assert len(counting.looked) < 10


class Counting(dict[str, Any]):
    """Notes which jobs are looked at."""

    def __init__(self, jobs: dict[str, Any]) -> None:
        super().__init__(jobs)
        self.looked: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.looked.append(name)
        return super().__getitem__(name)
