"""A login node of Slurm as what jobs are handed to: one by one, or several as one of Slurm's."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import anyio

from runbus._secrets import redacted_text
from runbus.abc import GRACE_S, JobRef
from runbus.attempt import secret_environment
from runbus.errors import (
    HostError,
    JobNotStarted,
    PartitionMissing,
    RunbusError,
    SecretMissing,
    SubmitUnknown,
)
from runbus.executors._shell import quote
from runbus.executors._slurm.asked import keep_script, stage_script, unstage_script
from runbus.executors._slurm.body import SlurmBody
from runbus.executors._slurm.choosing import AUTO
from runbus.executors._slurm.login import LoginNode
from runbus.executors._slurm.numbers import array_of
from runbus.executors._slurm.open_partition import OpenPartition
from runbus.executors._slurm.scheduler import Sent
from runbus.executors._slurm.script import DEPENDENCY, SECRETS, beside
from runbus.executors._slurm.together import group_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.abc import After, JobSpec, Request, Tunnel
    from runbus.executors._placement import Placement
    from runbus.executors._slurm.scheduler import Scheduler
    from runbus.executors._slurm.script import Batch

__all__ = ["Member", "SlurmMachine"]

_SUBMITS = 4
"""How many jobs are handed over at a time: a controller serves its other users, too."""

_UNREACHED_S = 120.0
"""How long a job waits for a controller that does not answer, if nothing else is said for it."""

_LONGEST_PAUSE_S = 10.0

_STAGED, _STAGED_BYTES = 40, 1 << 20
"""How many attempts are written in one go, and how much."""


class Member(NamedTuple):
    """An attempt that is handed over, alone or as an element of an array.

    Attributes:
        ref: The job.
        placement: Where everything of it lies there, and what Slurm will call it.
        request: What is to run.
        fields: The same for the wrapper program; empty where only a shell can tell a path.
        run_json: The description of its run.
        element: Its index in the array; None if it goes alone, or with others as a component.
    """

    ref: JobRef
    placement: Placement
    request: Request
    fields: bytes
    run_json: bytes
    element: int | None = None


def is_group(members: Sequence[Member]) -> bool:
    """Whether several attempts go as components of one job: all of them or none."""
    return len(members) > 1 and members[0].element is None


class SlurmMachine(LoginNode):
    """A machine from which jobs are submitted, and whose file system the cluster shares."""

    def __init__(self, tunnel: Tunnel, scheduler: Scheduler) -> None:
        super().__init__(tunnel, scheduler)
        self._open_partition = OpenPartition(tunnel.name, scheduler.partitions)

    async def submit(
        self,
        ref: JobRef,
        placement: Placement,
        request: Request,
        fields: bytes,
        run_json: bytes,
    ) -> bool:
        """Hand a job to Slurm, once; see `submit_all`.

        Returns:
            Whether Slurm has it; not if this user has as many jobs there as it may have.

        Raises:
            JobNotStarted: Slurm refused it, or could not be reached; nothing runs.
            SubmitUnknown: What became of it cannot be told.
            SecretMissing: A secret cannot be read; nothing runs.
        """
        (outcome,) = await self.submit_all([Member(ref, placement, request, fields, run_json)])
        if isinstance(outcome, RunbusError):
            raise outcome
        return outcome is not None

    async def submit_all(self, members: Sequence[Member]) -> list[JobRef | RunbusError | None]:
        """Hand a job to Slurm, or several as one: elements of an array, or components of a group.

        One whose answer was lost is looked up by its name. Should Slurm get it twice all the same,
        only one of the two runs it: the wrapper's claim sees to that.

        Returns:
            What became of each: its reference, JobNotStarted, SubmitUnknown or SecretMissing, or
            None if this user has as many jobs there as it may have.
        """
        sending = _Sending()
        try:
            await self._stage(members, sending)
        except HostError as error:
            sending.fail_rest(members, str(error))
        rest = sending.rest(members)
        if rest:
            await self._hand_over(rest, sending)
        return [sending.outcomes.get(one.ref) for one in members]

    async def _stage(self, members: Sequence[Member], sending: _Sending) -> None:
        """Write what the wrappers of attempts read; take in those that Slurm has already.

        Raises:
            HostError: The machine does not answer.
        """
        scripts: list[tuple[Member, bytes]] = []
        for one in members:
            try:
                files = self._files(one.request, one.fields)
            except SecretMissing as error:
                sending.outcomes[one.ref] = error
                continue
            sending.files[one.ref] = list(files)
            scripts.append((one, stage_script(one.placement, files, one.run_json, self._wrapper)))
        again: list[Member] = []
        for chunk in _in_pieces(scripts):
            answer = await self._answer(b"".join(script for _, script in chunk))
            answers = (answer or b"").split(b"\0")
            for (one, _), said in zip(chunk, [*answers, *[b""] * len(chunk)], strict=False):
                if answer is None:
                    sending.unknown(one, f"{self.name} does not answer")
                elif self._is_staged(one, said, sending):
                    again.append(one)
        if again:
            await self._adopt(again, sending)

    def _is_staged(self, one: Member, said: bytes, sending: _Sending) -> bool:
        """Take in what came of writing an attempt; return whether some of it was there before."""
        told, _, verdict = said.rstrip(b"\n").rpartition(b"\n")
        if verdict == b"exists":
            sending.outcomes[one.ref] = one.ref
        elif verdict not in {b"staged", b"again"}:
            reason = told.decode("utf-8", "replace").strip() or "the machine refused it"
            sending.refused(one, f"{self.name}: {redacted_text(reason)}")
        return verdict == b"again"

    def _files(self, request: Request, fields: bytes) -> dict[str, bytes]:
        """Return what the wrapper and its script read.

        Raises:
            SecretMissing: A secret cannot be read.
        """
        job = request.job
        script = request.of(SlurmBody).script.encode("utf-8", "surrogateescape")
        files = {"request.sh": script}
        if fields and self._wrapper.is_program:
            files["request"] = fields
        if (time_s := job.timeouts.run_s) is not None:
            files["limit"] = f"{time_s:.3f} {GRACE_S}\n".encode()
        if secrets := secret_environment(job):
            files[SECRETS] = b"".join(
                b"export %s=%s\n" % (name.encode(), quote(value)) for name, value in secrets.items()
            )
        return files

    async def _hand_over(self, members: Sequence[Member], sending: _Sending) -> bool:
        """Hand attempts to Slurm, until it is known what became of them.

        Returns:
            Whether there may be room for more.
        """
        job = members[0].request.job
        limits = [one.request.job.timeouts.queue_s for one in members]
        shortest_s = min((limit_s for limit_s in limits if limit_s is not None), default=None)
        deadline = time.monotonic() + (_UNREACHED_S if shortest_s is None else shortest_s)
        pause = 0.5
        while True:
            try:
                sent = await self._try(members, job)
            except PartitionMissing as error:
                await self._unstage(members, sending)
                sending.outcomes |= {one.ref: error.of(one.ref.name) for one in members}
                return True
            if sent.number:
                await self._keep(sent.number, members, sending)
                return True
            said, kind = sent.said, sent.refusal
            is_late = time.monotonic() > deadline
            if kind == "unknown":
                members = await self._taken_all_the_same(members, said, sending, is_late=is_late)
                if not members:
                    return True
            elif kind in {"quota", "large"} and len(members) > 1 and not is_group(members):
                return await self._in_halves(members, sending)
            elif kind != "later" or is_late:
                await self._unstage(members, sending)
                reason = _told(self.name, said, self._batch(members).asks)
                for one in members if kind != "quota" else ():
                    sending.refused(one, reason, _ADVICE)
                return kind != "quota"
            await anyio.sleep(random.uniform(0.5, 1.0) * pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _taken_all_the_same(
        self, members: Sequence[Member], said: str, sending: _Sending, *, is_late: bool
    ) -> Sequence[Member]:
        """Look for attempts of which Slurm has not told; return those that Slurm does not have."""
        try:
            await self._adopt(members, sending)
        except HostError as error:
            sending.fail_rest(members, str(error))
        if is_late:
            sending.fail_rest(members, f"{self.name}: {said}")
        return sending.rest(members)

    async def _in_halves(self, members: Sequence[Member], sending: _Sending) -> bool:
        """Hand over an array as two, the second if there was room for the first.

        One that Slurm is to bound is not two, or it would bound each of them.
        """
        half = len(members) // 2
        is_bounded = members[0].request.of(SlurmBody).is_bounded
        if await self._hand_over(members[:half], sending) and not is_bounded:
            return await self._hand_over(members[half:], sending)
        await self._unstage(members[half:], sending)
        return False

    async def _try(self, members: Sequence[Member], job: JobSpec) -> Sent:
        """Hand attempts over, once.

        Raises:
            PartitionMissing: They leave open where they queue, and no partition takes them.
        """
        batch = self._batch(members)
        try:
            if job.after:
                held_by = await self._numbers_beside(members[0].placement, job.after)
                if not all(held_by):
                    return Sent("", "it is not known what Slurm calls the jobs that it waits for")
                # Those of a group have one number.
                numbers = ":".join(dict.fromkeys(held_by))
                batch = batch.with_option(DEPENDENCY, f"afterany:{numbers}")
            batch = batch._replace(
                components=[await self._placed(job, asked) for asked in batch.components]
            )
        except HostError as error:
            return Sent("", error.reason, "later")
        async with self._submits:
            return await self.scheduler.submit(batch, self._umask, job.withheld)

    async def _placed(
        self, job: JobSpec, asked: Sequence[tuple[str, str]]
    ) -> Sequence[tuple[str, str]]:
        """Return the options of a component, with the partition that it goes to."""
        if ("partition", AUTO) not in asked:
            return asked
        chosen = await self._open_partition.of(job.name, dict(asked))
        return [(name, chosen if name == "partition" else value) for name, value in asked]

    async def _numbers_beside(self, placement: Placement, after: Sequence[After]) -> list[str]:
        """Return what Slurm calls other attempts; empty where nobody knows.

        Raises:
            HostError: The machine does not answer.
        """
        return await self.numbers([f"{placement.folder}/{beside(one)}" for one in after])

    def _batch(self, members: Sequence[Member]) -> Batch:
        first, run = members[0], self._wrapper.words
        body = first.request.of(SlurmBody)
        if is_group(members):
            parts = [one.request.of(SlurmBody).part(one.placement.folder) for one in members]
            return group_script(parts, run)
        if first.element is None:
            return body.batch(first.placement.folder, run)
        folders = {one.element: one.placement.folder for one in members if one.element is not None}
        return body.batch_of(array_of(first.placement.known_as), folders, run)

    async def _keep(self, number: str, members: Sequence[Member], sending: _Sending) -> None:
        """Keep the numbers of attempts in their folders; they are found by their names as well."""
        numbers = {
            one.placement.folder: number if one.element is None else f"{number}_{one.element}"
            for one in members
        }
        with suppress(HostError):
            await self.tunnel.call(keep_script(numbers))
        for one in members:
            sending.outcomes[one.ref] = one.ref

    async def _adopt(self, members: Sequence[Member], sending: _Sending) -> None:
        """Take in those attempts that Slurm has already, by their names; keep their numbers.

        Raises:
            HostError: It does not answer.
        """
        facts = await self.lookups([one.placement.known_as for one in members])
        found = [one for one in members if one.placement.known_as in facts]
        if found:
            await self.tunnel.call(
                keep_script(
                    {one.placement.folder: facts[one.placement.known_as].id for one in found}
                )
            )
        for one in found:
            sending.outcomes[one.ref] = one.ref

    async def _unstage(self, members: Sequence[Member], sending: _Sending) -> None:
        for piece in _in_pieces(
            [(one, unstage_script(one.placement.folder, sending.files[one.ref])) for one in members]
        ):
            with suppress(HostError):
                await self.tunnel.call(b"".join(script for _, script in piece))

    @property
    def _submits(self) -> anyio.CapacityLimiter:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_SUBMITS)
        return self._limiter

    _limiter: anyio.CapacityLimiter | None = None


class _Sending:
    """What has become of attempts that are handed over.

    Attributes:
        outcomes: What became of each of which that is known.
        files: The names of the files that were written for each.
    """

    def __init__(self) -> None:
        self.outcomes: dict[JobRef, JobRef | RunbusError] = {}
        self.files: dict[JobRef, Sequence[str]] = {}

    def rest(self, members: Sequence[Member]) -> list[Member]:
        """Return those of which it is not known."""
        return [one for one in members if one.ref not in self.outcomes]

    def fail_rest(self, members: Sequence[Member], reason: str) -> None:
        """Of those it cannot be known."""
        for one in self.rest(members):
            self.unknown(one, reason)

    def unknown(self, one: Member, reason: str) -> None:
        """It cannot be known."""
        self.outcomes[one.ref] = SubmitUnknown(one.ref.name, reason)

    def refused(self, one: Member, reason: str, advice: str | None = None) -> None:
        """Nothing runs."""
        self.outcomes[one.ref] = JobNotStarted(one.ref.name, reason, advice)


_ADVICE = "runbus doctor shows the partitions and their limits"


def _told(host: str, said: str, asks: str) -> str:
    reason = said.replace("Batch job submission failed: ", "") or "sbatch refused it"
    asked = f"; it asks for {asks}" if asks else ""
    return redacted_text(f"{host}: {reason}{asked}")


def _in_pieces(scripts: Sequence[tuple[Member, bytes]]) -> Iterator[list[tuple[Member, bytes]]]:
    """Yield scripts so that a piece is neither too many nor too much."""
    piece: list[tuple[Member, bytes]] = []
    size = 0
    for one in scripts:
        if piece and (len(piece) == _STAGED or size + len(one[1]) > _STAGED_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += len(one[1])
    if piece:
        yield piece
