"""What is told of a job that Slurm may begin anew, while it makes up its mind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from runbus.abc import JobRef, Observation
from runbus.executors._placement import Placement, read_placement
from runbus.executors._slurm.commands import Commands
from runbus.executors._slurm.listing import Fact
from runbus.executors._slurm.requeued import RequeuingHost
from runbus.executors._slurm.verdict import Accounts
from runbus.testing._waiting import until
from runbus.transports import LocalTunnel

PID = {"pid": 1, "start": 0, "boot": "b", "ns": "", "host": "elsewhere", "uptime": 1.0}
KILLED = {
    "status": 143, "signal": 15, "reason": "", "uptime": 2.0, "user": "0m0s", "sys": "0m0s",
}  # fmt: skip


class Told(Commands):
    """Says of the only job what it is given to say."""

    state = "RUNNING"

    async def queue(self, ids: Sequence[str] = ()) -> dict[str, Fact]:
        return {"a": Fact("5", "a", self.state)}

    async def accounts(self, ids: Sequence[str], names: Sequence[str]) -> Accounts:
        return Accounts({}, answered=True)


class Cluster:
    """A host with one job, whose attempts lie in a folder `far`, and are copied to `here`."""

    def __init__(self, folder: Path) -> None:
        self.far, self.here = folder / "far" / "1-a", folder / "here" / "1-a"
        for above in (self.far, self.here):
            (above / "1").mkdir(parents=True)
        tunnel = LocalTunnel(str(folder / "far"))
        self.slurm = Told(tunnel)
        self.host = RequeuingHost(tunnel, self.slurm, 0.01, lambda: None)
        placement = Placement(
            host=self.host.name, folder=str(self.far / "1"), run_folder=str(folder / "far" / "run"),
            local_run_folder="../run", known_as="a",
        )  # fmt: skip
        self.host.follow(self.ref(1), placement)

    def ref(self, attempt: int) -> JobRef:
        return JobRef(name="a", folder=str(self.here / str(attempt)), handle=f"h:{self.far}/1")

    def leave(self, name: str, record: dict[str, object], attempt: int = 1) -> None:
        path = self.far / str(attempt) / name
        path.with_suffix(".part").write_text(json.dumps(record) + "\n")
        path.with_suffix(".part").rename(path)

    def seen(self, attempt: int = 1) -> Observation | None:
        return self.host.jobs[self.ref(attempt).folder].observation

    async def phase(self, *wanted: str, attempt: int = 1) -> Observation:
        await until(lambda: (seen := self.seen(attempt)) is not None and seen.phase in wanted)
        seen = self.seen(attempt)
        assert seen is not None
        return seen

    async def looked(self) -> None:
        """Wait until what is there now has been taken in: the second line comes a look later."""
        for line in (b"one\n", b"two\n"):
            with (self.far / "1" / "stdout.log").open("ab") as log:
                log.write(line)
            await until(partial(self._has_copied, line))

    def _has_copied(self, line: bytes) -> bool:
        copy = self.here / "1" / "stdout.log"
        return copy.exists() and line in copy.read_bytes()


@asynccontextmanager
async def followed(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Follow the job of a cluster within the block."""
    cluster = Cluster(tmp_path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cluster.host.run)
        yield cluster
        tasks.cancel_scope.cancel()
    await cluster.host.tunnel.close()


async def test_what_is_put_back_goes_on_once_all_that_it_wrote_is_here(tmp_path: Path) -> None:
    async with followed(tmp_path) as cluster:
        cluster.leave("pid.json", dict(PID))
        await cluster.phase("running")
        (cluster.far / "1" / "stdout.log").write_bytes(b"line\n" * 5_000_000)
        cluster.slurm.state = "PENDING"
        seen = await cluster.phase("queued")
        following = read_placement(cluster.ref(2).folder)

        assert (seen.requeues, seen.native_state) == (1, "PENDING")
        assert (cluster.here / "1" / "stdout.log").stat().st_size == 25_000_000
        assert following is not None
        assert (following.folder, following.known_as) == (str(cluster.far / "2"), "a")


async def test_an_end_by_a_signal_is_no_end_until_slurm_says_so(tmp_path: Path) -> None:
    async with followed(tmp_path) as cluster:
        cluster.leave("pid.json", dict(PID))
        await cluster.phase("running")
        cluster.slurm.state = "COMPLETING"
        cluster.leave("exit.json", dict(KILLED))
        await cluster.looked()
        record = cluster.here / "1" / "exit.json"
        before = (cluster.seen(), record.exists())
        cluster.slurm.state = "TIMEOUT"
        after = await cluster.phase("ended")

        assert (before[0] and before[0].phase, before[1]) == ("running", False)
        assert (after.requeues, after.reason, record.exists()) == (0, "time limit", True)
        assert not (cluster.here / "1" / "undecided").exists()


async def test_what_was_begun_anew_while_nobody_looked_is_told_one_by_one(tmp_path: Path) -> None:
    async with followed(tmp_path) as cluster:
        for attempt in (1, 2, 3):
            (cluster.far / str(attempt)).mkdir(exist_ok=True)
            cluster.leave("pid.json", dict(PID), attempt)
        cluster.leave("exit.json", dict(KILLED))
        journals = cluster.far.parent / "run" / "metrics"
        journals.mkdir(parents=True)
        (journals / "w.journal").write_bytes(b"x" * 64)
        assert (await cluster.phase("queued")).requeues == 1
        assert not (cluster.here / "run").exists()

        for attempt, phase in ((2, "queued"), (3, "running")):
            placement = read_placement(cluster.ref(attempt).folder)
            assert placement is not None
            cluster.host.follow(cluster.ref(attempt), placement)
            seen = await cluster.phase(phase, attempt=attempt)
            assert seen.requeues == 2

        assert list(cluster.host.jobs) == [cluster.ref(3).folder]
        assert (cluster.here / "1" / "exit.json").exists()


async def test_what_is_left_of_a_job_that_is_over_holds_no_secret(tmp_path: Path) -> None:
    async with followed(tmp_path) as cluster:
        (cluster.far / "1" / "kept").touch()
        (cluster.far / "2").mkdir()
        await cluster.phase("queued")
        placement = read_placement(cluster.ref(2).folder)
        assert placement is not None
        cluster.host.follow(cluster.ref(2), placement)
        cluster.leave("exit.json", {**KILLED, "status": 3, "signal": None}, 2)
        seen = await cluster.phase("ended", attempt=2)
        await until(lambda: not (cluster.far / "1" / "kept").exists())

        assert (seen.exit_code, seen.requeues) == (3, 1)
