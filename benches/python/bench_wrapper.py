"""What the wrapper itself costs, beside the bare job and the shell script."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage, struct_rusage

from benches.row import Row
from benches.scratch import scratch
from runbus.abc import JobSpec
from runbus.attempt import WRAPPER, render_request, render_script, wrapper_program
from runbus.executors._launcher import Launcher

JOBS, ROUNDS = 100, 9


def main() -> list[Row]:
    with scratch() as folder:
        program = wrapper_program(folder)
        assert program is not None
        script = ("/bin/sh", WRAPPER)
        bare, with_launcher, with_program, with_script = zip(
            *(
                (
                    cpu_of([("/bin/true",)] * JOBS),
                    launched(program, folder),
                    wrapped((program,), folder),
                    wrapped(script, folder),
                )
                for _ in range(ROUNDS)
            ),
            strict=True,
        )
        fork_exec_wait = statistics.median(bare)
        memory = {words[0]: resident(words, folder) for words in ((program,), script)}
        return [
            Row(
                "the wrapper's own processor time a job",
                statistics.median(with_launcher) - fork_exec_wait,
                "ms",
                0.8,
                {
                    "loaded anew for each job, as under Slurm": statistics.median(with_program)
                    - fork_exec_wait,
                    "the shell script": statistics.median(with_script) - fork_exec_wait,
                    "fork, exec and wait of the job": fork_exec_wait,
                },
            ),
            Row(
                "a wrapper beside a sleeping job, resident",
                memory[program],
                "KiB",
                600,
                {"the shell script": memory[script[0]]},
            ),
        ]


def attempt(folder: str, *words: str) -> str:
    """Make the folder of an attempt at a job and return it."""
    path = os.path.join(folder, f"attempt-{time.monotonic_ns()}")
    os.mkdir(path)
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=words,
        cwd="/", env={}, folder=path, run_folder=path,
    )  # fmt: skip
    Path(path, "request").write_bytes(render_request(job))
    Path(path, "request.sh").write_text(render_script(job))
    return path


def wrapped(words: tuple[str, ...], folder: str) -> float:
    folders = [attempt(folder, "/bin/true") for _ in range(JOBS)]
    return cpu_of([(*words, "run", path) for path in folders])


def launched(program: str, folder: str) -> float:
    """Return what `wrapped` does, of wrappers that are started as local jobs' are."""
    folders = [attempt(folder, "/bin/true") for _ in range(JOBS)]
    before = getrusage(RUSAGE_CHILDREN)
    asyncio.run(launch_all(program, folders))
    return spent_since(before) / JOBS


async def launch_all(program: str, folders: list[str]) -> None:
    ends: asyncio.Queue[int] = asyncio.Queue()
    launcher = Launcher(program, lambda pid, _status: ends.put_nowait(pid), lambda _pids: None)
    for path in folders:
        await launcher.start(path, {}, os.environb)
        await ends.get()
    launcher.close()


def cpu_of(commands: list[tuple[str, ...]]) -> float:
    """Return the processor time of one command, with all that it starts, in milliseconds."""
    before = getrusage(RUSAGE_CHILDREN)
    for words in commands:
        os.waitpid(os.posix_spawn(words[0], words, os.environ), 0)
    return spent_since(before) / len(commands)


def spent_since(before: struct_rusage) -> float:
    """Return the processor time of children since then, in milliseconds."""
    after = getrusage(RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def resident(words: tuple[str, ...], folder: str) -> float:
    """Return what a wrapper that has nothing to do keeps in memory, in KiB."""
    path = attempt(folder, "/bin/sleep", "60")
    with subprocess.Popen([*words, "run", path], start_new_session=True) as wrapper:
        while not os.path.exists(os.path.join(path, "pid.json")):
            time.sleep(0.01)
        # It gives back what waiting does not need after a second, and whenever it has looked
        # around, which is every five.
        time.sleep(7)
        status = Path(f"/proc/{wrapper.pid}/status").read_text()
        subprocess.run([*words, "cancel", path, "0"], check=True)
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
