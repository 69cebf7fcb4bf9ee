"""Which machine a job goes to: one with room that can be reached, or the one that has it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import anyio

from runbus.errors import HostError, JobNotStarted, RemoteFailed, SubmitUnknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runbus.abc import JobSpec
    from runbus.executors._host import Host
    from runbus.executors._placement import Placement

__all__ = ["Hosts"]

AVOID_S = 15.0
"""How long a machine that could not be reached gets no new jobs, as long as there are others."""

PATIENCE_S = 30.0
"""How long a job waits for a machine that can be reached, if nothing else is said for it."""

_LONGEST_PAUSE_S = 5.0


class Hosts:
    """The machines of an executor, and who has room.

    Args:
        hosts: The machines, by their names.
    """

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = dict(hosts)
        self._room = anyio.Event()

    def __len__(self) -> int:
        return len(self._hosts)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def of(self, placement: Placement | None) -> Host | None:
        """Return the machine where a job was sent; None if to none of these."""
        return self._hosts.get(placement.host) if placement else None

    def make_room(self) -> None:
        """Let everybody who waits for room look again."""
        # Who comes later waits for the next time.
        self._room.set()
        self._room = anyio.Event()

    async def reserve(self, job: JobSpec, placement: Placement | None) -> Host:
        """Take a slot of the machine where a job was sent, or of one that can be reached.

        While none can be reached it continues trying, for as long as the job may wait for its
        start, or `PATIENCE_S`.

        Raises:
            JobNotStarted: There is none that can be reached or used.
            SubmitUnknown: It was sent to one before that cannot be reached now.
        """
        queue_s = job.timeouts.queue_s
        patience_s = PATIENCE_S if queue_s is None else queue_s
        deadline = time.monotonic() + patience_s
        pause = 0.25
        refused: dict[str, HostError] = {}
        while True:
            host = self._choose(placement, refused)
            if host is None and len(refused) < len(self._hosts):
                await self._room.wait()
                continue
            if host is None:
                _give_up_or_wait(job, refused, time.monotonic() > deadline)
                await anyio.sleep(random.uniform(0.5, 1.0) * pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            host.reserved.add(job.folder)
            try:
                await self._ready(host, job)
                return host
            except HostError as error:
                host.reserved.discard(job.folder)
                if placement is not None:
                    # It was sent there before: that nothing runs, nobody can say.
                    kind = JobNotStarted if host.machine.lacks(job) else SubmitUnknown
                    raise kind(job.name, str(error)) from error
                refused[host.name] = error
                self._avoid(host, job, error)
            except BaseException:
                host.reserved.discard(job.folder)
                raise

    async def _ready(self, host: Host, job: JobSpec) -> None:
        """Make a machine ready for a job.

        Raises:
            HostError: It cannot be reached or used, or it has too few GPUs.
        """
        await host.machine.prepare()
        if host.machine.lacks(job):
            raise RemoteFailed(host.name, f"it has no {job.resources.gpus} GPUs")
        if job.package is not None:
            await host.machine.provide(job.package)

    def _avoid(self, host: Host, job: JobSpec, error: HostError) -> None:
        """Send no new jobs to a machine for a while, if there are others, and say so."""
        if host.machine.lacks(job):
            return
        host.down_until = time.monotonic() + AVOID_S
        others = len(self._hosts) > 1
        host.say(error, f"jobs go to other hosts for {AVOID_S:g} s" if others else "trying again")

    def _choose(self, placement: Placement | None, refused: dict[str, HostError]) -> Host | None:
        """Return the machine for a job; None while there is no room."""
        if placement is not None:
            return self._hosts[placement.host]
        now = time.monotonic()
        free = [host for host in self._hosts.values() if host.free > 0 and host.name not in refused]
        return max(
            free,
            key=lambda host: (host.down_until < now, host.busy_until < now, host.free),
            default=None,
        )


def _give_up_or_wait(job: JobSpec, refused: dict[str, HostError], is_late: bool) -> None:
    """Raise if no machine will take a job; forget those that may take it later.

    Raises:
        JobNotStarted: No machine will, or none has in time.
    """
    later = [name for name, error in refused.items() if error.retryable]
    if is_late or not later:
        error = next(iter(refused.values()))
        advice = error.hint or "runbus doctor looks at the machines"
        reasons = "; ".join(dict.fromkeys(str(one) for one in refused.values()))
        raise JobNotStarted(job.name, reasons, advice) from error
    for name in later:
        del refused[name]
