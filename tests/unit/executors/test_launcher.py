"""The process that starts wrappers: what it is asked for, what it tells, and its end."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runbus import Command, Job, Kernel, LocalExecutor, Plugin
from runbus.abc import JobSpec
from runbus.attempt import render_request, wrapper_program
from runbus.events import JobStarted
from runbus.executors._launcher import Launcher, LauncherLost
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState
from runbus.testing._waiting import wait_until

ENVIRONMENT = {b"PATH": os.environb[b"PATH"]}


def files_of(folder: Path, *argv: str) -> dict[str, bytes]:
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=argv, cwd="/", env={},
        folder=str(folder), run_folder=str(folder),
    )  # fmt: skip
    return {"request": render_request(job)}


class Told:
    """What a launcher has said."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self.lost: asyncio.Queue[list[int]] = asyncio.Queue()

    @asynccontextmanager
    async def launcher(
        self, patience_s: float = 20.0, program: str | None = None
    ) -> AsyncIterator[Launcher]:
        program = program or wrapper_program()
        assert program is not None
        launcher = Launcher(
            program,
            lambda pid, status: self.ended.put_nowait((pid, status)),
            self.lost.put_nowait,
            patience_s=patience_s,
        )
        try:
            async with asyncio.timeout(120):
                yield launcher
        finally:
            launcher.close()


async def test_a_wrapper_is_started_with_its_files_and_variables_and_its_end_is_told(
    tmp_path: Path,
) -> None:
    told = Told()
    environment = {**ENVIRONMENT, b"GREETING": b"hello there"}
    async with told.launcher() as launcher:
        files = files_of(tmp_path, "sh", "-c", "env; exit 3")
        pid = await launcher.start(str(tmp_path), files, environment)
        ended = await told.ended.get()

    assert ended == (pid, 0)
    assert json.loads((tmp_path / "exit.json").read_text())["status"] == 3
    assert json.loads((tmp_path / "pid.json").read_text())["wrapper"] == pid
    shown = set((tmp_path / "stdout.log").read_text().splitlines())
    assert {line.partition("=")[0] for line in shown} <= {
        "PATH", "GREETING", "RUNBUS_ATTEMPT", "PWD", "SHLVL", "_", "OLDPWD",
    }  # fmt: skip
    assert {"GREETING=hello there", f"RUNBUS_ATTEMPT={tmp_path}"} <= shown


async def test_many_wrappers_at_once_are_told_apart(tmp_path: Path) -> None:
    told = Told()
    folders = [tmp_path / str(number) for number in range(40)]
    async with told.launcher() as launcher, asyncio.TaskGroup() as tasks:

        async def start(folder: Path) -> int:
            os.mkdir(folder)
            files = files_of(folder, "sh", "-c", f"exit {folder.name}")
            # More than a socket holds.
            files["padding"] = b"x" * 100_000
            return await launcher.start(str(folder), files, ENVIRONMENT)

        started = [tasks.create_task(start(folder)) for folder in folders]
        ended = {(await told.ended.get())[0] for _ in folders}

    assert ended == {task.result() for task in started}
    for folder in folders:
        assert json.loads((folder / "exit.json").read_text())["status"] == int(folder.name)


async def test_a_file_that_cannot_be_written_is_told_of_its_job_only(tmp_path: Path) -> None:
    told = Told()
    async with told.launcher() as launcher:
        with pytest.raises(OSError, match="No such file") as refused:
            await launcher.start(str(tmp_path / "gone"), {"request": b""}, ENVIRONMENT)
        await launcher.start(str(tmp_path), files_of(tmp_path, "true"), ENVIRONMENT)
        await told.ended.get()

    assert refused.value.errno == errno.ENOENT


async def test_a_request_that_is_there_already_is_replaced_as_a_whole(tmp_path: Path) -> None:
    told = Told()
    (tmp_path / "request").write_text("a part of o")
    async with told.launcher() as launcher:
        files = files_of(tmp_path, "sh", "-c", "exit 4")
        await launcher.start(str(tmp_path), files, ENVIRONMENT)
        await told.ended.get()

    assert json.loads((tmp_path / "exit.json").read_text())["status"] == 4
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


async def test_what_a_launcher_leaves_behind_when_it_is_killed_is_named(tmp_path: Path) -> None:
    told = Told()
    async with told.launcher() as launcher:
        files = files_of(tmp_path, "sleep", "600")
        pid = await launcher.start(str(tmp_path), files, ENVIRONMENT)
        os.kill(launcher.pid, signal.SIGKILL)
        left = await told.lost.get()
        with pytest.raises(LauncherLost):
            await launcher.start(str(tmp_path / "b"), {}, ENVIRONMENT)

    assert left == [pid]
    os.kill(pid, signal.SIGTERM)


async def test_a_launcher_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    told = Told()
    async with told.launcher(patience_s=0.2) as launcher:
        os.kill(launcher.pid, signal.SIGSTOP)
        with pytest.raises(LauncherLost):
            await launcher.start(str(tmp_path), files_of(tmp_path, "true"), ENVIRONMENT)

    assert launcher.is_lost
    assert not (tmp_path / "exit.json").exists()


async def test_those_who_still_write_to_a_launcher_hear_that_it_is_gone(tmp_path: Path) -> None:
    told = Told()
    async with told.launcher() as launcher:
        os.kill(launcher.pid, signal.SIGSTOP)
        files = {"padding": b"x" * 2_000_000}
        asked = [asyncio.create_task(launcher.start(name, files, {})) for name in "abc"]
        await asyncio.sleep(0)
        os.kill(launcher.pid, signal.SIGKILL)
        ended = await asyncio.gather(*asked, return_exceptions=True)
        # No file of ours is in its place while somebody may still write.
        launcher.close()

    assert [type(one) for one in ended] == [LauncherLost] * 3


async def test_a_launcher_that_could_not_be_run_is_lost_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    async with told.launcher(program=str(tmp_path / "none")) as launcher:
        with pytest.raises(LauncherLost):
            await launcher.start(str(tmp_path), files_of(tmp_path, "true"), ENVIRONMENT)

    assert launcher.is_lost
    assert not launcher.has_begun
    assert not [one for one in caplog.records if one.name.startswith("runbus")]


SLOW = """#!{python}
import os, struct

with open({turns!r}) as turns:
    for pid, _ in enumerate(turns, 1):
        (length,) = struct.unpack("<I", os.read(0, 4))
        asked = b""
        while len(asked) < length:
            asked += os.read(0, length - len(asked))
        os.write(0, struct.pack("<IIi", int.from_bytes(asked[:4], "little"), 0, pid))
"""


@pytest.mark.parametrize("padding", [0, 2_000_000], ids=["they wait for answers", "for the socket"])
async def test_a_launcher_has_its_time_for_each_wrapper_however_many_wait(
    padding: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_s = 0.0
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + later_s)
    program, turns = tmp_path / "slow", tmp_path / "turns"
    program.write_text(SLOW.format(python=sys.executable, turns=str(turns)))
    program.chmod(0o700)
    os.mkfifo(turns)

    async with Told().launcher(patience_s=1000, program=str(program)) as launcher:
        later_s = -10_000.0  # the deadline of this test is far away
        files = {"padding": b"x" * padding}
        asked = [asyncio.create_task(launcher.start(name, files, {})) for name in "abc"]
        turn = os.open(turns, os.O_RDWR)
        for one in asked:
            await asyncio.sleep(0)
            later_s += 900
            os.write(turn, b"its turn\n")
            await one
        os.close(turn)

    assert [one.result() for one in asked] == [1, 2, 3]


async def test_jobs_go_on_and_others_start_when_the_launcher_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = LocalExecutor()
    # The first waits for the second, which starts when the launcher is dead.
    jobs = [
        Job(name="first", task=Command(("sh", "-c", f"until [ -e {tmp_path}/go ]; do :; done"))),
        Job(name="second", task=Command(("touch", str(tmp_path / "go")))),
    ]

    async def kill(started: JobStarted) -> None:
        if started.job == "first":
            assert executor._launcher is not None
            os.kill(executor._launcher.pid, signal.SIGKILL)
            killed.set()

    killed = asyncio.Event()
    plugin = Plugin("kills").on(JobStarted, kill)
    async with Kernel(plugins=[executor, plugin]) as kernel:
        first = ExperimentDraft("p", jobs[:1], home=tmp_path)
        second = ExperimentDraft("p", jobs[1:], home=tmp_path)
        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            one = tasks.create_task(first.run(kernel.bus))
            await killed.wait()
            two = tasks.create_task(second.run(kernel.bus))

    assert [task.result()[0].state for task in (one, two)] == [JobState.SUCCEEDED] * 2
    assert "the process that starts wrappers is gone" in caplog.text


LEADER = """
import asyncio, sys
from runbus import Command, Job, Kernel, LocalExecutor, Plugin
from runbus.experiment import ExperimentDraft
from runbus.events import JobStarted

async def main():
    executor = LocalExecutor()
    started = lambda event: print(executor._launcher.pid, flush=True)
    async with Kernel(plugins=[executor, Plugin("tells").on(JobStarted, started)]) as kernel:
        jobs = [Job(name="a", task=Command(("sh", "-c", "read -r _ <go; exit 5")), cwd=sys.argv[1])]
        await ExperimentDraft("p", jobs, home=sys.argv[1]).run(kernel.bus)

asyncio.run(main())
"""


def test_the_launcher_ends_with_its_kernel_and_the_job_goes_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    words = [sys.executable, "-c", LEADER, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as leader:
        assert leader.stdout is not None
        pid = int(leader.stdout.readline())
        launcher = os.pidfd_open(pid)
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        leader.kill()
    with open(launcher, closefd=True) as ended:
        assert select.select([ended], [], [], 120)[0]
    (tmp_path / "go").write_text("\n")
    (record,) = tmp_path.glob("experiments/p/*/jobs/*/1/exit.json")
    wait_until(lambda: record.read_bytes().startswith(b"{"))

    assert json.loads(record.read_text())["status"] == 5
    assert environment == b""


@pytest.mark.parametrize(("given", "wrapper"), [("", ""), ("text", ""), ("", "script")])
async def test_a_request_is_written_as_a_script_only_where_a_script_is_read(
    given: str, wrapper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_WRAPPER", wrapper)
    folder = tmp_path / "a" / "1"
    folder.mkdir(parents=True)
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=("true",), cwd="/",
        env={}, given=given, folder=str(folder), run_folder=str(tmp_path),
    )  # fmt: skip
    executor = LocalExecutor()
    async with Kernel(plugins=[executor]):
        await executor.submit(executor.plan(job))
        wait_until((folder / "exit.json").exists)

    assert (folder / "request").exists()
    assert (folder / "request.sh").exists() == bool(given or wrapper)
