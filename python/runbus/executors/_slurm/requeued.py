"""Jobs that Slurm begins anew by itself: each start is an attempt, in a folder of its own.

Slurm calls all of them by one number and one name. Which attempt lives, their folders tell: the
script of the job makes the next one as soon as it begins once more.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus._files import make_folders
from runbus.abc import Observation
from runbus.codec import encode_json
from runbus.executors._host import FollowedJob
from runbus.executors._look import decoded
from runbus.executors._placement import write_placement
from runbus.executors._slurm.asked import leave_script
from runbus.executors._slurm.host import SlurmHost
from runbus.executors._slurm.verdict import Standing, needs_word, put_back, waits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import JobRef
    from runbus.executors._host import Round
    from runbus.executors._look import Answer, Look
    from runbus.executors._placement import Placement

__all__ = ["RequeuingHost"]

ANEW = "Slurm begins it anew"


@dataclass(slots=True)
class _Start:
    """An attempt at a job that Slurm may begin anew.

    Attributes:
        undecided: Its end by its own record, as long as nobody knows whether it is the job's.
        seen_at: When it was first seen in a phase, by a clock that is not set.
        over_at: When it was first known to be over.
        last: The last look at it.
        has_next: Whether there is another attempt after it.
        is_passed_on: Whether that was told.
    """

    undecided: Observation | None = None
    seen_at: dict[str, float] = field(default_factory=dict)
    over_at: float | None = None
    last: tuple[Look, Round] | None = None
    has_next: bool = False
    is_passed_on: bool = False


class RequeuingHost(SlurmHost):
    """Follows jobs of which Slurm may make further attempts.

    An attempt is told to be over, for another one, once all that it wrote is here. Where the other
    lies is noted before in its folder here, for those who follow it.
    """

    requeue = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._starts: defaultdict[str, _Start] = defaultdict(_Start)
        self._left: set[str] = set()

    def follow(self, ref: JobRef, placement: Placement) -> FollowedJob:
        """Look at an attempt from now on; one that has gone on as this one is forgotten."""
        folder = _later(ref.folder, -1)
        before = self.jobs.get(folder)
        if before is not None and (start := self._starts[folder]).is_passed_on:
            if start.last is not None:
                super()._keep(before, *start.last)
            del self.jobs[folder], self._starts[folder]
            self.standings.pop(folder, None)
            self.numbers.pop(folder, None)
            self._ended_since.pop(folder, None)
        return super().follow(ref, placement)

    def _unfinished(self) -> list[FollowedJob]:
        jobs = super()._unfinished()
        return [job for job in jobs if not self._starts[job.ref.folder].is_passed_on]

    async def _round(self) -> bool:
        changed = await super()._round()
        if self._left:
            await self.tunnel.call(leave_script(sorted(self._left)))
            self._left.clear()
        return changed

    async def _look(self, jobs: Sequence[FollowedJob]) -> Answer:
        """Ask about the folders of attempts and about those after them, all in one request."""
        placements = [job.placement for job in jobs]
        answer = await self.machine.look([*placements, *map(_next_place, placements)])
        own, following = answer.looks[: len(jobs)], answer.looks[len(jobs) :]
        for job, look, after in zip(jobs, own, following, strict=True):
            if after.there:
                self._starts[job.ref.folder].has_next = True
                # What the run records goes on: it is copied with the next attempt.
                look.files = {name: size for name, size in look.files.items() if "/" not in name}
        answer.looks = own
        return answer

    def _judge(self, job: FollowedJob, look: Look, round_: Round) -> Observation | None:
        seen = self._keep(job, look, round_)
        is_over = self._note_phase(job, seen)
        told = self._passed(job, look, seen) if is_over else self._judged(job, seen)
        if told is not None and told.phase == "ended":
            super()._keep(job, look, round_)
        elif is_over:
            self._starts[job.ref.folder].last = look, round_
        return told

    def _keep(self, job: FollowedJob, look: Look, round_: Round) -> Observation | None:
        """Keep records here, but for that of an end which is none if Slurm begins the job anew.

        A reader takes it for the end of the job: it is kept once it is known what it is.
        """
        if decoded(look.exit) is None or "exit.json" in job.records:
            return super()._keep(job, look, round_)
        start = self._starts[job.ref.folder]
        if start.undecided is None:
            place = os.path.join(job.ref.folder, "undecided")
            make_folders(place)
            copy = FollowedJob(replace(job.ref, folder=place), job.placement)
            start.undecided = super()._keep(copy, look, round_)
            shutil.rmtree(place, ignore_errors=True)
        if start.undecided is None or not needs_word(start.undecided):
            return super()._keep(job, look, round_)
        super()._keep(job, replace(look, exit=b""), round_)
        return start.undecided

    def _passed(self, job: FollowedJob, look: Look, seen: Observation | None) -> Observation | None:
        """Return what is told of an attempt that is over, once all that it wrote is here."""
        start, now = self._starts[job.ref.folder], time.monotonic()
        if not start.over_at:
            # It may have written more after this look: the next one sees all of it.
            start.over_at = now
            return job.observation
        is_late = now - start.over_at > self.copy_patience_s
        is_whole = all(
            job.logs[name].offset >= size for name, size in look.files.items() if name in job.logs
        )
        return self._pass_on(job, seen) if is_whole or is_late else job.observation

    def _note_phase(self, job: FollowedJob, seen: Observation | None) -> bool:
        """Note since when a job is seen so; return whether Slurm makes another attempt at it."""
        start = self._starts[job.ref.folder]
        if start.has_next or seen is None:
            return start.has_next
        since = start.seen_at.setdefault(seen.phase, time.monotonic())
        standing = self.standings.get(job.ref.folder, Standing())
        return put_back(seen, standing) and self._asked_since(since)

    def _pass_on(self, job: FollowedJob, seen: Observation | None) -> Observation | None:
        """Tell that there is another attempt, once it is noted here where that lies."""
        folder, fact = job.ref.folder, self.standings.get(job.ref.folder, Standing()).fact
        if not self._starts[folder].is_passed_on:
            following = _later(folder, 1)
            try:
                make_folders(following)
                write_placement(following, encode_json(_next_place(job.placement)), durable=False)
            except OSError:  # the disk here is full, perhaps: it is tried again
                return job.observation
            if fact is not None and waits(fact):
                self.standings[following] = Standing(fact)
            self._starts[folder].is_passed_on = True
        return replace(
            seen or Observation(phase="queued", host=self.name),
            phase="queued", reason=ANEW, native_state=fact.state if fact is not None else "",
            requeues=_starts_before(job.ref) + 1,
        )  # fmt: skip

    def _told(self, job: FollowedJob, told: Observation) -> Observation:
        told = replace(told, requeues=_starts_before(job.ref))
        if told.phase in {"ended", "gone"} and told != job.observation:
            self._left.add(_later(job.placement.folder, -told.requeues))
        if told.phase == "ended":
            self._starts.pop(job.ref.folder, None)
        return told


def _later(folder: str, count: int) -> str:
    """Return the folder of the attempt so many after that of a folder."""
    above, number = os.path.split(folder)
    return os.path.join(above, str(int(number) + count))


def _next_place(placement: Placement) -> Placement:
    return replace(placement, folder=_later(placement.folder, 1))


def _starts_before(ref: JobRef) -> int:
    """Return how many attempts Slurm has made of a job before this one: the first was submitted."""
    _, _, first = ref.handle.rpartition("/")
    return int(os.path.basename(ref.folder)) - int(first)
