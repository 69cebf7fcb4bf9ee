"""The executor for another scheduler that the docs write keeps the contract, with a `qsub` of ours.

Not PBS: programs of its names that run each job at once, and remember it.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import Executor
from runbus.errors import HostError, JobNotStarted
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory, Harness

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "schedulers.md"

PROGRAMS = {
    "qsub": """\
n=1; until mkdir "$JOBS/$n" 2>/dev/null; do n=$((n + 1)); done
[ ! -e "$JOBS/full" ] || { echo 'qsub: Maximum number of jobs already in queue' >&2; exit 38; }
sed -n 's/^#PBS -N //p' "$1" >"$JOBS/$n/name"
if [ ! -e "$JOBS/hold" ]; then
    setsid env --default-signal bash "$1" <&- >&- 2>&- &
    echo $! >"$JOBS/$n/pid"
fi
echo "$n.fake"
""",
    "qstat": """\
[ ! -e "$JOBS/down" ] || { echo 'qstat: cannot connect to server' >&2; exit 255; }
comma=; printf '{"Jobs": {'
for job in "$JOBS"/[0-9]*; do
    state=Q extra=
    if [ -e "$job/deleted" ]; then state=F
    elif [ -e "$job/pid" ]; then
        state=R
        kill -0 "$(cat "$job/pid")" 2>/dev/null || { state=F extra=', "Exit_status": 0'; }
    fi
    printf '%s"%s.fake": {"Job_Name": "%s", "job_state": "%s"%s}' \\
        "$comma" "${job##*/}" "$(cat "$job/name")" "$state" "$extra"
    comma=,
done
printf '}}'
""",
    "qdel": 'touch "$JOBS/${1%.fake}/deleted"\n',
    "qsig": 'kill -s "${2#SIG}" "$(cat "$JOBS/${3%.fake}/pid")"\n',
}


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scheduler: where it keeps its jobs."""
    for name, script in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{script}")
        path.chmod(0o755)
    (folder := tmp_path / "queue").mkdir()
    monkeypatch.setenv("JOBS", str(folder))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return folder


@pytest.fixture
def make(jobs: Path) -> ExecutorFactory:
    code, *_ = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "scheduler_of_the_docs"}
    exec(compile(code, str(PAGE), "exec"), names)

    @asynccontextmanager
    async def made() -> AsyncIterator[Executor]:
        yield names["PBSExecutor"](poll_s=0.02)

    return made


class TestPBSExecutor(ExecutorContract):
    @pytest.fixture
    def executors(self, make: ExecutorFactory) -> ExecutorFactory:
        return make


@pytest.fixture
async def harness(make: ExecutorFactory, tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


async def test_a_job_that_waits_is_removed_from_the_queue(harness: Harness, jobs: Path) -> None:
    (jobs / "hold").touch()
    ref = await harness.submit(harness.shell("echo ran"))
    assert (await harness.phase(ref, "queued")).native_state == "Q"
    await harness.executor.cancel([ref], 60)
    ended = await harness.end(ref)
    assert (ended.seen.signal, ended.stdout) == (15, b"")


async def test_what_the_scheduler_refuses_is_told_in_its_words(
    harness: Harness, jobs: Path
) -> None:
    (jobs / "full").touch()
    with pytest.raises(JobNotStarted, match="Maximum number of jobs"):
        await harness.submit(harness.shell("true"))


async def test_a_scheduler_that_is_away_changes_no_state(harness: Harness, jobs: Path) -> None:
    job = harness.shell("echo up; exec sleep 600")
    ref = await harness.submit(job)
    await harness.output(ref, b"up")
    (jobs / "down").touch()
    seen = (await harness.executor.observe([ref])).get(ref)
    assert seen is not None
    assert seen.phase == "running"
    os.unlink(f"{job.folder}/pbs.id")
    os.rename(f"{job.folder}/exit.json", f"{job.folder}/hidden")
    with pytest.raises(HostError, match="cannot connect"):
        await harness.executor.find(job)
    (jobs / "down").unlink()
    assert await harness.executor.find(job) == ref
    os.rename(f"{job.folder}/hidden", f"{job.folder}/exit.json")
