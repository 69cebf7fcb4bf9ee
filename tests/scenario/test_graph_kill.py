"""Random graphs, led by processes that are killed at any fact, or by a job in the midst of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runbus import Command, Dependency, Job
from runbus.events import CONDITIONS, JobEnded
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import FactReader

LEADERS = """
import os, signal, sys
import anyio
from runbus import Kernel, LocalExecutor, Plugin
from runbus.events import JobFact
from runbus.experiment import StoredExperiment

async def lead(folder, facts):
    def count(event):
        nonlocal facts
        facts -= 1
        if facts == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async with Kernel(plugins=[LocalExecutor(), Plugin("killer").on(JobFact, count)]) as kernel:
        await StoredExperiment.open(folder).run(kernel.bus)

for line in sys.stdin:
    folder, pid, facts = line.split()
    if (child := os.fork()) == 0:
        with open(pid, "w") as file:
            file.write(str(os.getpid()))
        anyio.run(lead, folder, int(facts))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""Has experiments led, each by a process that dies when it has told so many facts; 0 for never."""

SCRIPT = """
echo "begin {name}" >> {log}
{kills}
echo "end {name}" >> {log}
exit {status}
"""

KILLS = "test -e {once} || { touch {once}; kill -9 $(cat {pid}); }"

Graph = Sequence[tuple[bool, Mapping[int, Any]]]
"""For each job, whether it fails, and what it waits for: the numbers of some before it."""


def expected(graph: Graph) -> dict[str, str]:
    """Return how the jobs must end, however often their leader dies."""
    ends: list[str] = []
    for number, (fails, waits) in enumerate(graph):
        meets = {
            "afterok": lambda state: state == "SUCCEEDED",
            "afterany": lambda state: True,
            "afternotok": lambda state: state == "FAILED",
        }
        runs = all(meets[when](ends[one]) for one, when in waits.items() if one < number)
        ends.append("SKIPPED" if not runs else "FAILED" if fails else "SUCCEEDED")
    return {f"j{number}": state for number, state in enumerate(ends)}


def prepared(graph: Graph, folder: Path, killer: int) -> StoredExperiment:
    jobs = []
    for number, (fails, waits) in enumerate(graph):
        name = f"j{number}"
        kills = KILLS.replace("{once}", f"{folder}/once").replace("{pid}", f"{folder}/pid")
        script = SCRIPT.format(
            name=name, log=folder / "log", status=int(fails),
            kills=kills if number == killer else "",
        )  # fmt: skip
        parents = [Dependency(job=f"j{at}", when=how) for at, how in waits.items() if at < number]
        jobs.append(Job(name=name, task=Command(("sh", "-c", script)), depends_on=parents))
    return ExperimentDraft("graph", jobs, home=folder / "home", max_parallel=3).prepare()


@pytest.fixture(scope="module")
def leaders() -> Iterator[subprocess.Popen[str]]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", LEADERS], **pipes) as found:
        yield found


def led(leaders: subprocess.Popen[str], folder: str, pid: Path, facts: int) -> int:
    """Have an experiment led by a new process, and return how that ended."""
    assert leaders.stdin is not None
    assert leaders.stdout is not None
    leaders.stdin.write(f"{folder} {pid} {facts}\n")
    leaders.stdin.flush()
    return int(leaders.stdout.readline())


@settings(
    deadline=None,
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],  # to make it smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([False, False, True]),
            st.dictionaries(st.integers(0, 3), st.sampled_from(CONDITIONS), max_size=2),
        ),
        min_size=2,
        max_size=5,
    ),
    st.lists(st.integers(1, 12), max_size=2),
    st.integers(0, 5),
)
def test_a_graph_ends_as_it_must_however_often_its_leader_is_killed(
    leaders: subprocess.Popen[str], graph: Graph, kills: list[int], killer: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored = prepared(graph, folder, killer)
        # A job may kill one more, and the last one is killed by nobody.
        deaths = [*kills, 0, 0]
        while (status := led(leaders, stored.folder, folder / "pid", deaths.pop(0))) != 0:
            assert (status, bool(deaths)) == (-signal.SIGKILL, True)

        facts = list(FactReader(stored.folder).poll())
        ends = [fact for fact in facts if isinstance(fact, JobEnded)]
        assert {fact.job: fact.state for fact in ends} == expected(graph)
        assert len(ends) == len(graph)
        told = (folder / "log").read_text().splitlines()
        assert [line for line, times in Counter(told).items() if times > 1] == []
        ran = {name for name, state in expected(graph).items() if state != "SKIPPED"}
        assert {*told} == {f"{word} {name}" for word in ("begin", "end") for name in ran}
        for number, (_, waits) in enumerate(graph):
            for parent in waits:
                if parent < number and {f"j{number}", f"j{parent}"} <= ran:
                    assert told.index(f"end j{parent}") < told.index(f"begin j{number}")
