"""What starts wrappers behind a tunnel: one process for all jobs of a connection."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from runbus.executors import SSHExecutor
from runbus.testing._waiting import until
from runbus.testing.conformance.executor import Harness
from runbus.transports import LocalTunnel


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "it's there"


@pytest.fixture
async def harness(tmp_path: Path, there: Path) -> AsyncIterator[Harness]:
    def make() -> SSHExecutor:
        return SSHExecutor([LocalTunnel(str(there))], slots=16)

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


def words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def starters(there: Path) -> list[int]:
    """Return the processes that start wrappers for those who reach this folder."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if is_starter(pid, there)]


def is_starter(pid: int, there: Path) -> bool:
    words = words_of(pid)
    if words[1:] != ["submit"] or not words[0].startswith(str(there)):
        return False
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1]
    except OSError:
        return False
    # Wrappers, and jobs that are not begun, are forks of one; it is started by a shell.
    return words_of(int(parent))[1:] == ["-s"]


async def test_jobs_of_one_connection_are_started_by_one_process(
    harness: Harness, there: Path
) -> None:
    pid_of_parent = "cut -d' ' -f4 /proc/$PPID/stat"
    ended = [await harness.run(harness.shell(pid_of_parent)) for _ in range(3)]

    (pid,) = starters(there)
    assert [int(one.stdout) for one in ended] == [pid] * 3
    # What it is reached by has no name any more.
    assert [name for name in os.listdir(there) if ".part-" in name] == []


async def test_when_it_is_killed_jobs_continue_and_the_next_begin(
    harness: Harness, there: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "go")
    first = await harness.submit(harness.shell(f"echo up; cat '{tmp_path / 'go'}'; exit 7"))
    await harness.output(first, b"up")
    (pid,) = starters(there)
    os.kill(pid, signal.SIGKILL)

    second = await harness.run(harness.shell("exit 3"))

    assert (second.seen.exit_code, second.seen.reason) == (3, "")
    (tmp_path / "go").write_text("on")
    assert (await harness.end(first)).seen.exit_code == 7
    assert len(starters(there)) == 1


async def test_jobs_run_once_however_often_it_is_killed(
    harness: Harness, there: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    async def kill() -> None:
        while len(killed) < 8:
            for pid in await until(lambda: starters(there)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    ends: list[int | None] = []
    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        while len(killed) < 8:
            job = harness.shell(f"echo {len(ends)} >>'{tmp_path / 'ran'}'; exit {len(ends)}")
            ends.append((await harness.run(job)).seen.exit_code)

    assert ends == [*range(len(ends))]
    assert (tmp_path / "ran").read_text().split() == [str(number) for number in ends]


async def test_it_ends_with_its_connection_and_jobs_continue(harness: Harness, there: Path) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 600"))
    await harness.output(ref, b"up")
    (pid,) = starters(there)

    await harness.restart()

    await until(lambda: not words_of(pid))
    assert (await harness.phase(ref, "running")).phase == "running"
    await harness.executor.cancel([ref], 0)
    await harness.end(ref)


async def test_what_one_job_was_given_the_next_has_not(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    shows = "env | grep -c 's3cret'"
    first = await harness.run(harness.shell(shows, secrets={"A": f"file:{tmp_path}/secret"}))
    second = await harness.run(harness.shell(shows))
    assert (first.stdout, second.stdout) == (b"1\n", b"0\n")
