"""A whole experiment on other machines: what a local one tells, a remote one tells."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from tests.processes import is_alive

from runbus import Command, Job, Kernel, LocalExecutor, Plugin, SSHExecutor, Timeouts, runs
from runbus.attempt import read_log
from runbus.events import (
    ArtifactLogged,
    JobEnded,
    JobStarted,
    LogLines,
    MetricBatch,
    RunRecorded,
    TextLogged,
)
from runbus.experiment import ExperimentDraft
from runbus.packaging import GitArchivePackager
from runbus.testing._waiting import wait_until
from runbus.testing.sshd import Sshd

from .conftest import UNTIL_IT_IS_SAMPLED, tunnel_to

pytestmark = pytest.mark.services

TRAINER = """
import runbus, sys
run = runbus.init()
for step in range(50):
    run.log("loss", 1.0 / (step + 1), step=step)
print("trained")
run.finish()
"""


async def test_a_job_that_knows_nothing_of_runbus_is_sampled_where_it_runs(
    hosts: list[Sshd], tmp_path: Path
) -> None:
    job = Job(
        name="a",
        task=Command(("sh", "-c", UNTIL_IT_IS_SAMPLED)),
        env={"RUNBUS_SYSTEM": "every_s=0.05,slow_every_s=0.05"},
        timeouts=Timeouts(run_s=60),
    )
    executor = SSHExecutor([tunnel_to(hosts[0], tmp_path / "remote")], workdir="/")
    async with Kernel(plugins=[executor]) as kernel:
        (record,) = await ExperimentDraft("far", [job], executor="ssh").run(kernel.bus)

    assert record.state == "SUCCEEDED"
    (run,) = runs(project="far")
    assert min(run.metrics("sys/job/processes").values) >= 1
    assert len(glob.glob(f"{tmp_path}/remote/sampler-*")) == 1


async def test_an_experiment_on_three_hosts_tells_everything(
    hosts: list[Sshd], tmp_path: Path
) -> None:
    started: list[str] = []
    ended: list[str] = []
    written: list[tuple[str, str, bytes]] = []
    points: list[float] = []

    async def lines(event: LogLines) -> None:
        written.append((event.job, event.source, event.data))

    async def batches(batch: MetricBatch) -> None:
        points.extend(value for _, _, _, value in batch.points())

    watch = (
        Plugin("watch")
        .on(JobStarted, lambda event: started.append(event.job))
        .on(JobEnded, lambda event: ended.append(event.job))
        .stream(LogLines, lines)
        .stream(MetricBatch, batches)
    )
    jobs = [Job(name=f"j{n}", task=Command((sys.executable, "-c", TRAINER))) for n in range(6)]
    jobs.append(Job(name="fails", task=Command(("sh", "-c", "echo no >&2; exit 5"))))
    executor = SSHExecutor([tunnel_to(host, tmp_path / "remote") for host in hosts], workdir="/")

    async with Kernel(plugins=[executor, watch]) as kernel:
        experiment = ExperimentDraft("far", jobs, executor="ssh", max_parallel=7)
        records = await experiment.run(kernel.bus)

    assert [str(record.state) for record in records] == ["SUCCEEDED"] * 6 + ["FAILED"]
    assert records[-1].exit_code == 5
    assert sorted(started) == sorted(ended) == sorted(job.name for job in jobs)
    assert ("fails", "stderr", b"no\n") in written
    assert len([data for _, _, data in written if data == b"trained\n"]) == 6
    assert len(points) == 300
    found = [run for run in runs(project="far") if run.name != "fails"]
    assert [len(run.metrics("loss").to_numpy()[1]) for run in found] == [50] * 6


async def test_a_cancelled_experiment_ends_its_jobs_there(host: Sshd, tmp_path: Path) -> None:
    job = Job(name="long", task=Command(("sh", "-c", "echo $$; exec sleep 600")))
    executor = SSHExecutor([tunnel_to(host, tmp_path / "remote")], workdir="/")
    pids: list[int] = []

    async with Kernel(plugins=[executor]) as kernel, anyio.create_task_group() as group:
        group.start_soon(ExperimentDraft("far", [job], executor="ssh").run, kernel.bus)
        seen = await kernel.bus.wait_for(JobStarted, timeout=120)
        pids.append(seen.pid)
        group.cancel_scope.cancel()

    assert not is_alive(pids[0])


async def test_hosts_that_let_in_little_and_break_often_run_every_job_once(
    hosts: list[Sshd], tmp_path: Path
) -> None:
    narrow, guarded, breaking = hosts
    for host, option in ((narrow, {"MaxSessions": "1"}), (guarded, {"MaxStartups": "1:100:1"})):
        host.stop()
        host.start(**option)
    broken: list[int] = []
    output: dict[str, bytes] = {}

    def started(event: JobStarted) -> None:
        # A host that broke is avoided for a while, and has nothing to break: then it is another.
        if event.attempt == 1 and sum(broken) < 3:
            killed = (host.kill_sessions() for host in (breaking, narrow, guarded))
            broken.append(next(filter(None, killed), 0))

    async def lines(event: LogLines) -> None:
        output[event.job] = output.get(event.job, b"") + event.data

    runs = tmp_path / "runs"
    jobs = [
        Job(name=f"j{n}", task=Command(("sh", "-c", f"echo {n} >>{runs}; echo {n}; sleep 0.2")))
        for n in range(60)
    ]
    executor = SSHExecutor(
        [tunnel_to(host, tmp_path / "remote") for host in hosts], slots=4, workdir="/"
    )
    watch = Plugin("watch").on(JobStarted, started).stream(LogLines, lines)
    async with Kernel(plugins=[executor, watch]) as kernel:
        records = await ExperimentDraft("far", jobs, executor="ssh", max_parallel=12).run(
            kernel.bus
        )

    assert [str(record.state) for record in records] == ["SUCCEEDED"] * 60
    assert sorted(map(int, runs.read_text().split())) == list(range(60))
    assert output == {f"j{n}": b"%d\n" % n for n in range(60)}
    assert sum(broken) >= 3


async def test_what_a_job_writes_arrives_within_a_second(host: Sshd, tmp_path: Path) -> None:
    script = "import time\nfor _ in range(40): print(time.time(), flush=True); time.sleep(0.03)"
    task = Command((sys.executable, "-c", script))
    jobs = [Job(name=name, task=task, executor=executor, cwd="/")
            for name, executor in (("far", "ssh"), ("near", "local"))]  # fmt: skip
    late: dict[str, list[float]] = {}

    async def lines(event: LogLines) -> None:
        late[event.job].extend(time.time() - float(line) for line in event.data.split())

    # What a job here writes at the same time is as late as the machine is busy. It may be so with
    # one of the two only: then they are tried once more.
    for _ in range(5):
        late |= {"far": [], "near": []}
        far = SSHExecutor([tunnel_to(host, tmp_path / "remote")])
        watch = Plugin("watch").stream(LogLines, lines)
        async with Kernel(plugins=[far, LocalExecutor(), watch]) as kernel:
            await ExperimentDraft("far", jobs).run(kernel.bus)
        assert [len(one) for one in late.values()] == [40, 40]
        if sorted(late["far"])[37] < 1.0 + sorted(late["near"])[37]:
            return
    raise AssertionError(late)


KEEPER = """
import os, runbus
run = runbus.init()
run.log("loss", 1.0, step=0)
run.params(lr=0.1)
run.tag("best")
os.makedirs("model/sub")
for name, size in (("weights", 3_000_000), ("model/sub/a b", 2_000_000), ("model/none", 0)):
    with open(name, "wb") as file:
        file.write(os.urandom(size))
run.log_artifact("weights")
run.log_artifact("model", step=1)
run.log_text("said", "x" * 100_000)
run.log_artifact("weights", name="again")
run.note("done")
"""


def cut(host: Sshd, home: Path, sizes: dict[str, int]) -> None:
    """Kill the connection, once for each file, if some of it has come and not all."""
    for name, size in list(sizes.items()):
        for part in found(home, f"**/artifacts/.new-*/**/{name}"):
            try:
                came = part.stat().st_size
            except FileNotFoundError:
                continue  # it is whole, and has its name
            if 0 < came < size:
                del sizes[name]
                assert host.kill_sessions()


async def keep_cutting(host: Sshd, home: Path, sizes: dict[str, int]) -> None:
    while sizes:
        cut(host, home, sizes)
        await anyio.lowlevel.checkpoint()


def found(folder: Path, pattern: str) -> list[Path]:
    """Return what matches, whatever comes and goes meanwhile: pathlib's glob would raise."""
    names = glob.glob(pattern, root_dir=folder, recursive=True, include_hidden=True)
    return [folder / name for name in names]


async def test_what_a_job_records_arrives_once_across_lost_connections(
    host: Sshd, tmp_path: Path, home: Path
) -> None:
    facts: list[RunRecorded] = []
    order: list[str] = []
    there: list[bool] = []

    def note(event: RunRecorded) -> None:
        facts.append(event)
        order.append(type(event).__name__)
        if isinstance(event, ArtifactLogged):
            there.append(os.path.exists(event.path))

    watch = Plugin("watch").on(RunRecorded, note)
    watch = watch.on(JobEnded, lambda event: order.append("ended"))
    (tmp_path / "work").mkdir()
    job = Job(name="keeps", task=Command((sys.executable, "-c", KEEPER)))
    executor = SSHExecutor([tunnel_to(host, tmp_path / "remote")], workdir=str(tmp_path / "work"))
    sizes = {"weights": 3_000_000, "a b": 2_000_000}
    async with Kernel(plugins=[executor, watch]) as kernel, anyio.create_task_group() as group:
        group.start_soon(keep_cutting, host, home, sizes)
        (record,) = await ExperimentDraft("far", [job], executor="ssh").run(kernel.bus)
        group.cancel_scope.cancel()

    assert str(record.state) == "SUCCEEDED"
    assert sizes == {}, "both were cut"
    kinds = ["ParamsLogged", "TagsChanged", "ArtifactLogged", "ArtifactLogged", "TextLogged"]
    assert order == [*kinds, "ArtifactLogged", "NoteAdded", "ended"]
    assert there == [True] * 3
    (said,) = [fact for fact in facts if isinstance(fact, TextLogged)]
    assert said.text == "x" * 100_000
    (run,) = runs(project="far")
    assert (run.params["lr"], run.tags) == (0.1, ["best"])
    kept = run.artifacts()
    assert [one.name for one in kept] == ["weights", "model", "again"]
    assert [one.is_whole() for one in kept] == [True] * 3
    assert found(home, "**/artifacts/.new-*") == []
    assert len(found(home, "**/artifacts/*")) == 3
    (journal,) = found(home, "**/records/*.journal")
    (original,) = found(tmp_path / "remote", "**/records/*.journal")
    assert original.read_bytes() == journal.read_bytes()


async def test_a_file_that_is_damaged_there_is_missing_here_and_fails_nothing(
    host: Sshd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = """
import hashlib, os, runbus
run = runbus.init()
run.log("loss", 1.0)
shelf = os.path.join(run.folder, "artifacts", hashlib.sha256(b"first").hexdigest())
os.makedirs(shelf)
with open(os.path.join(shelf, "file"), "w") as file:
    file.write("wrong")
for text in ("first", "second"):
    with open("file", "w") as file:
        file.write(text)
    run.log_artifact("file")
"""
    job = Job(name="keeps", task=Command((sys.executable, "-c", script)))
    executor = SSHExecutor([tunnel_to(host, tmp_path / "remote")], workdir=str(tmp_path))
    async with Kernel(plugins=[executor]) as kernel:
        (record,) = await ExperimentDraft("far", [job], executor="ssh").run(kernel.bus)

    assert str(record.state) == "SUCCEEDED"
    (run,) = runs(project="far")
    first, second = run.artifacts()
    with pytest.raises(FileNotFoundError):
        first.is_whole()
    assert second.is_whole()
    told = [line for line in caplog.messages if "cannot copy artifacts/" in line]
    assert len(told) == 1
    assert first.sha256 in told[0]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a repository with a commit, and a change since."""
    tree = tmp_path / "my tree"
    tree.mkdir()
    (tree / "main.sh").write_text("cat data; pwd\n")
    (tree / "data").write_text("committed\n")
    git = ("git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    (tree / "data").write_text("changed\n")
    return tree


async def test_code_of_a_commit_travels_once_and_is_on_record(
    host: Sshd, tmp_path: Path, tree: Path
) -> None:
    remote = tmp_path / "remote"
    executor = SSHExecutor([tunnel_to(host, remote)], slots=2, packager=GitArchivePackager())
    task = Command(("sh", str(tree / "main.sh")))
    jobs = [Job(name=name, task=task, cwd=str(tree)) for name in ("one", "two")]

    async with Kernel(plugins=[executor]) as kernel:
        experiment = ExperimentDraft("far", jobs, executor="ssh", root=str(tree))
        records = await experiment.run(kernel.bus)

    assert [str(record.state) for record in records] == ["SUCCEEDED", "SUCCEEDED"]
    for record in records:
        folder = f"{experiment.folder}/{record.folder}"
        written = read_log(folder, "stdout", 0)
        assert written.startswith(b"committed\n" + bytes(remote))
    assert len(list((remote / "packages").iterdir())) == 1
    package = Path(experiment.folder, records[0].package)
    manifest = json.loads(package.with_name(package.name.replace(".tar.gz", ".json")).read_bytes())
    (origin,) = manifest["origins"]
    assert origin["changed"] == ["data"]
    assert len(origin["commit"]) == 40
    assert not origin["included"]


def test_logs_are_read_where_the_job_runs_when_nobody_leads_it(
    host: Sshd, tmp_path: Path, home: Path
) -> None:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "config").write_text(
        f"Host far\n  HostName {host.address}\n  Port {host.port}\n  User root\n"
        f"  IdentityFile {host.identity}\n  UserKnownHostsFile {host.known_hosts}\n"
    )
    batch = tmp_path / "batch.json"
    go = tmp_path / "go"
    waits = f"until [ -e {go} ]; do sleep 0.05; done"
    command = ["sh", "-c", f"echo up; {waits}; echo behind; exec sleep 600"]
    box = {"type": "ssh", "hosts": ["far"], "job_dir": str(tmp_path / "remote"), "workdir": "/"}
    jobs = [{"name": "talks", "command": command}]
    batch.write_text(json.dumps({"project": "far", "executor": box, "jobs": jobs}))
    env = {**os.environ, "HOME": str(tmp_path)}
    runbus = os.path.join(os.path.dirname(sys.executable), "runbus")

    leader = subprocess.Popen([runbus, "submit", str(batch)], env=env, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(log.read_bytes() for log in found(home, "**/stdout.log")))
    finally:
        leader.kill()
        leader.wait()
    (copy,) = home.glob("**/stdout.log")
    assert copy.read_bytes() == b"up\n"
    go.touch()
    words = [runbus, "logs", "talks"]
    wait_until(lambda: subprocess.check_output(words, env=env) == b"up\nbehind\n")

    assert copy.read_bytes() == b"up\n"
    subprocess.run([runbus, "cancel", "far"], env=env, check=True)
