"""What happened to a job is reported below what it had written by then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runbus import Kernel
from runbus.api import InTurn
from runbus.catalog import find_experiment
from runbus.events import LogLines
from runbus.jobs import leader_of
from runbus.testing._waiting import wait_until

from .terminal import watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def lines(job: str, data: bytes) -> LogLines:
    return LogLines(experiment_id="e", job=job, attempt=1, source="stdout", offset=0, data=data)


async def test_what_is_told_waits_for_the_lines_that_were_emitted_before() -> None:
    async with Kernel() as kernel:
        bus = kernel.bus
        stream = bus.stream(LogLines, maxsize=4, overflow="block")
        told: list[str] = []
        turn = InTurn(stream, lambda job, text: told.append(f"{job} {text}"))
        async with stream:
            turn.tell("a", "started")
            assert told == ["a started"]
            await bus.emit(lines("a", b"1\n"))
            await bus.emit(lines("a", b"2\n"))
            turn.tell("a", "failed")
            await bus.emit(lines("b", b"3\n"))
            turn.tell("b", "ended")
            assert told == ["a started"]
            seen = []
            async for event in turn.events():
                seen.append((event.data, list(told)))
                if event.data == b"3\n":
                    break
            assert seen == [
                (b"1\n", ["a started"]),
                (b"2\n", ["a started"]),
                (b"3\n", ["a started", "a failed"]),
            ]


async def test_what_was_to_be_told_is_told_also_if_nobody_reads_the_lines_to_the_end() -> None:
    async with Kernel() as kernel:
        bus = kernel.bus
        stream = bus.stream(LogLines, maxsize=4, overflow="block")
        told: list[str] = []
        turn = InTurn(stream, lambda job, text: told.append(text))
        async with stream:
            await bus.emit(lines("a", b"1\n"))
            turn.tell("a", "failed")
            stream.close()
            assert [event async for event in turn.events()] == []
        assert told == ["failed"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_last_lines_of_a_job_stand_above_its_failure(is_terminal: bool, tmp_path: Path) -> None:
    words = "for at in $(seq 300); do echo line $at; done; echo last words; exit 3"
    jobs = [{"name": f"job-{at}", "command": ["sh", "-c", words]} for at in range(4)]
    batch = tmp_path / "b.json"
    batch.write_text(json.dumps({"project": "p", "jobs": jobs}))

    command = [RUNBUS, "submit", str(batch)]
    if not is_terminal:
        command = ["sh", "-c", f"{RUNBUS} submit {batch} 2>&1 | cat"]
    _, screen, _ = watch(command, 80, 24)

    for at in range(4):
        told = [line for line in screen.splitlines() if line.startswith(f"job-{at} ")]
        failed = next(number for number, line in enumerate(told) if "FAILED" in line)
        assert any("last words" in line for line in told[:failed])
        assert not any("line" in line for line in told[failed:])


def test_ctrl_c_where_one_only_follows_says_that_the_jobs_go_on_and_nothing_else(
    tmp_path: Path,
) -> None:
    line = "while ! [ -e over ]; do echo tick; sleep 0.05; done"
    job = {"name": "ticks", "command": ["sh", "-c", line], "timeout": "5m"}
    batch = tmp_path / "b.json"
    batch.write_text(json.dumps({"project": "p", "jobs": [job]}))
    submit = [RUNBUS, "submit", "--detach", str(batch)]
    done = subprocess.run(submit, capture_output=True, text=True, check=True)
    batch_id = done.stdout.strip()
    # Who attaches leads itself where its supervisor takes too long to start.
    wait_until(lambda: leader_of(find_experiment(batch_id)))
    pipe = subprocess.PIPE
    with (
        subprocess.Popen([RUNBUS, "logs", "-f", "ticks"], stdout=pipe, stderr=pipe) as follower,
        subprocess.Popen([RUNBUS, "attach", batch_id], stdout=pipe, stderr=pipe) as attached,
    ):
        for process, ticks in ((follower, follower.stdout), (attached, attached.stderr)):
            assert ticks is not None
            while read := ticks.readline():
                if read == b"tick\n":
                    break
            process.send_signal(signal.SIGINT)
        _, silence = follower.communicate(timeout=120)
        assert attached.stderr is not None
        said = attached.stderr.read()  # and what had come with the line before

    told = [one for one in said.decode().splitlines() if one not in {"tick", ""}]
    assert told == [f"the jobs continue: runbus cancel {batch_id} ends them"]
    assert silence.strip() == b""
    (tmp_path / "over").touch()
    subprocess.run([RUNBUS, "attach", batch_id], check=True, capture_output=True, timeout=120)
