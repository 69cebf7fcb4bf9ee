"""What jobs leave where they worked becomes artifacts of their runs, however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Command, Job, Kernel, LocalExecutor, Plugin, SSHExecutor
from runbus._clock import SYSTEM_CLOCK
from runbus.abc import JobSpec, RetryPolicy, Timeouts
from runbus.attempt import FolderFiles
from runbus.cli._app import run_command
from runbus.config import load_batch
from runbus.errors import ConnectionLost
from runbus.events import ArtifactLogged, JobEnded, RunFinished, RunRecorded
from runbus.experiment import ExperimentDraft, jobs_of_batch
from runbus.jobs import JobState
from runbus.packaging import PatternPackager
from runbus.supervisor._collect import Collector
from runbus.transports import LocalTunnel


def shell(script: str, folder: Path, *artifacts: str, **options: Any) -> Job:
    task = Command(("sh", "-c", script))
    return Job(name="j", task=task, cwd=str(folder), artifacts=artifacts, **options)


async def run(job: Job, executor: LocalExecutor | None = None) -> tuple[JobState, Any]:
    async with Kernel(plugins=[executor or LocalExecutor()]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)
    return record.state, runbus.open_run("j")


def kept(run: Any) -> dict[str, bytes]:
    return {one.name: Path(one.path).read_bytes() for one in run.artifacts()}


class Meddling(FolderFiles):
    """Files at which something happens before each piece is read."""

    def __init__(self, *given: str, meddle: Callable[[str], None]) -> None:
        super().__init__(*given)
        self._meddle = meddle

    async def read(self, path: str, offset: int, size: int) -> bytes:
        data = await super().read(path, offset, size)
        self._meddle(path)
        return data


class MeddlingExecutor(LocalExecutor):
    def __init__(self, meddle: Callable[[str], None]) -> None:
        super().__init__()
        self._meddle = meddle

    async def files(self, job: JobSpec) -> FolderFiles:
        return Meddling(job.cwd, job.run_folder, meddle=self._meddle)


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("exit 0", "SUCCEEDED"),
        ("exit 3", "FAILED"),
        ("kill -9 $$", "FAILED"),
        ("sleep 600", "TIMEOUT"),
    ],
    ids=["success", "failure", "signal", "timeout"],
)
async def test_files_are_kept_however_a_job_ends(tmp_path: Path, end: str, state: str) -> None:
    script = f"mkdir -p out/deep; echo w >a.ckpt; echo {{}} >out/deep/m.json; echo n >other; {end}"

    # The limit counts from the start: where the machine stalls for as long, the next one is longer.
    for limit_s in (2, 20):
        timeouts = Timeouts(run_s=limit_s if state == "TIMEOUT" else None)
        job = shell(script, tmp_path, "*.ckpt", "out/**/*.json", timeouts=timeouts)
        ended, found = await run(job)
        if (tmp_path / "other").exists():
            break

    assert ended == state
    assert kept(found) == {"a.ckpt": b"w\n", "out/deep/m.json": b"{}\n"}
    assert all(one.is_whole() and one.kind == "file" for one in found.artifacts())
    (told,) = found.collected
    assert (told.attempt, told.files, told.size, told.notes) == (1, 2, 5, ())


async def test_each_attempt_is_collected_before_the_next_one_begins(tmp_path: Path) -> None:
    script = "echo x >>log; cp log model; test -e once || { touch once; exit 1; }"
    retry = RetryPolicy(retries=1, backoff_s=0)

    ended, found = await run(shell(script, tmp_path, "model", retry=retry))

    assert ended is JobState.SUCCEEDED
    assert [one.size for one in found.artifacts("model")] == [2, 4]
    assert [one.attempt for one in found.collected] == [1, 2]


async def test_what_is_kept_is_told_before_the_end_of_the_run(tmp_path: Path) -> None:
    seen: list[str] = []
    watch = Plugin("watch")
    for fact in (RunRecorded, RunFinished, JobEnded):
        watch = watch.on(fact, lambda event: seen.append(type(event).__name__))
    code = "import runbus\nwith runbus.init() as run: run.log('loss', 1)\nopen('m', 'w').write('w')"
    job = Job(
        name="j", task=Command((sys.executable, "-c", code)), cwd=str(tmp_path), artifacts=["m"]
    )

    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        await ExperimentDraft("p", [job]).run(kernel.bus)

    assert seen == [one.__name__ for one in (ArtifactLogged, RunFinished, JobEnded)]


async def test_what_is_not_kept_is_noted_and_fails_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = "ln -s /etc/passwd link.x; mkfifo pipe.x; echo 1 >good.x; : >'a\nb.x'"
    ended, found = await run(shell(script, tmp_path, "*.x", "none-*", "logs/*"))

    assert ended is JobState.SUCCEEDED
    assert kept(found) == {"good.x": b"1\n", "a\nb.x": b""}
    (told,) = found.collected
    assert told.notes == (
        "no file matches 'none-*' in that folder itself; **/none-* looks below it, too",
        "no file matches 'logs/*'",
        "'link.x' is left out: it is a symbolic link",
        "'pipe.x' is left out: it is no regular file",
    )
    assert [text for text in told.notes if text not in caplog.text] == []


async def test_a_working_folder_that_is_gone_is_noted(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()

    ended, found = await run(shell(f"rmdir '{folder}'", folder, "*"))

    assert ended is JobState.SUCCEEDED
    (told,) = found.collected
    assert told.notes == ("the folder where it worked cannot be read: no such file or directory",)


async def test_files_come_from_the_copy_of_packaged_code(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("")
    executor = LocalExecutor(packager=PatternPackager("code.py"))
    job = shell("echo new >code.py; pwd >where", tmp_path, "code.py", "where")

    async with Kernel(plugins=[executor]) as kernel:
        await ExperimentDraft("p", [job], root=str(tmp_path)).run(kernel.bus)

    found = kept(runbus.open_run("j"))
    assert found["code.py"] == b"new\n"
    assert found["where"].endswith(b"/code\n")
    assert not (tmp_path / "where").exists()


async def test_a_file_that_changes_while_it_is_copied_is_kept_whole_or_named(
    tmp_path: Path,
) -> None:
    rounds: Counter[str] = Counter()

    def grow(path: str) -> None:
        rounds[path] += 1
        if path == "always" or (path == "once" and rounds[path] == 1):
            with (tmp_path / path).open("a") as file:
                file.write("more")
        if path == "shrinks" and rounds[path] == 1:
            (tmp_path / path).write_text("s")
        if path == "vanishes":
            (tmp_path / path).unlink()
        if path == "linked":
            (tmp_path / path).unlink()
            (tmp_path / path).symlink_to("/etc/passwd")

    names = ("always", "linked", "once", "quiet", "shrinks", "vanishes")
    script = "; ".join(f"printf begun >{name}" for name in names)

    ended, found = await run(shell(script, tmp_path, "*"), MeddlingExecutor(grow))

    assert ended is JobState.SUCCEEDED
    assert kept(found) == {"once": b"begunmore", "quiet": b"begun", "shrinks": b"s"}
    assert found.collected[0].notes == (
        "'always' is left out: it changes while it is copied",
        "'linked' is left out: it is a symbolic link",
        "'vanishes' is left out: it is gone",
    )


async def test_a_machine_out_of_reach_is_waited_for_and_nothing_is_taken_twice(
    tmp_path: Path,
) -> None:
    lost = Counter[str]()

    def break_down(path: str) -> None:
        lost[path] += 1
        if lost[path] == 1:
            raise ConnectionLost("there", "the line is cut")

    ended, found = await run(
        shell("printf 1 >a; printf 2 >b", tmp_path, "?"), MeddlingExecutor(break_down)
    )

    assert ended is JobState.SUCCEEDED
    assert kept(found) == {"a": b"1", "b": b"2"}
    assert len(found.artifacts()) == 2
    assert found.collected[0].notes == ()
    assert lost == {"a": 2, "b": 2}


async def test_a_machine_that_stays_out_of_reach_is_given_up(tmp_path: Path) -> None:
    class Lost(LocalExecutor):
        async def files(self, job: JobSpec) -> FolderFiles:
            raise ConnectionLost("there", "the line is cut")

    (spec,) = ExperimentDraft("p", [shell("", tmp_path, "?")]).prepare().specs

    await Collector({"local": Lost()}, SYSTEM_CLOCK, bool, patience_s=0.3).collect(spec)

    found = runbus.open_run("j")
    assert found.collected[0].notes == ("what is missing was out of reach: the line is cut",)


async def test_too_many_files_and_too_many_bytes_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"f{number}").write_text(str(number))
    with (folder / "big").open("w") as big:
        big.truncate(6 << 30)
    batch = tmp_path / "batch.yaml"
    batch.write_text(
        "project: p\njobs:\n- {name: j, command: ['true'], cwd: work, artifacts: ['*'],\n"
        "   artifact_files: 3, artifact_size: 1kB}\n"
    )
    jobs = jobs_of_batch(load_batch(str(batch)), str(tmp_path))
    (spec,) = ExperimentDraft("p", jobs).prepare().specs

    await Collector({"local": LocalExecutor()}, SYSTEM_CLOCK, bool).collect(spec)

    found = runbus.open_run("j")
    assert list(kept(found)) == ["f1", "f2", "f3"]
    too_much = f"with its {6 << 30:,} bytes there would be more than 1,000"
    assert found.collected[0].notes == (
        f"'big' is left out: {too_much}: artifact_size says how many",
        "'f4' is left out: 3 files are the most that are collected: artifact_files says how many",
        "'f5' is left out: 3 files are the most that are collected: artifact_files says how many",
    )


LEADER = """
    import os, signal, sys
    import anyio
    from runbus import Kernel, LocalExecutor
    from runbus.attempt import FolderFiles
    from runbus.experiment import StoredExperiment

    class Dying(FolderFiles):
        reads = 0
        async def read(self, path, offset, size):
            Dying.reads += 1
            if Dying.reads == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            return await super().read(path, offset, size)

    class Executor(LocalExecutor):
        async def files(self, job):
            return Dying(job.cwd, job.run_folder)

    async def lead():
        async with Kernel(plugins=[Executor()]) as kernel:
            await StoredExperiment.open(sys.argv[1]).run(kernel.bus)

    anyio.run(lead)
"""


def test_a_leader_killed_while_it_copies_is_followed_by_one_that_takes_the_rest_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = shell("for i in 1 2 3 4 5 6; do echo $i >f$i; done", tmp_path, "f?")
    folder = ExperimentDraft("p", [job]).prepare().folder
    for reads in (4, 2):
        leader = [sys.executable, "-c", textwrap.dedent(LEADER), folder, str(reads)]
        assert subprocess.run(leader, check=False, timeout=120).returncode == -signal.SIGKILL
    half = runbus.open_run("j")
    assert [one.name for one in half.artifacts()] == ["f1", "f2", "f3", "f4"]
    assert half.collected == []

    assert run_command(["attach", "p"]) == 0

    found = runbus.open_run("j")
    assert kept(found) == {f"f{number}": b"%d\n" % number for number in range(1, 7)}
    assert len(found.artifacts()) == 6
    assert [(one.files, one.notes) for one in found.collected] == [(6, ())]
    assert [name for name in os.listdir(f"{found.folder}/artifacts") if name[0] == "."] == []
    assert run_command(["attach", "p"]) == 0
    assert len(runbus.open_run("j").artifacts()) == 6


def test_a_batch_and_the_command_line_say_which_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["sh", "-c", "echo w >m.ckpt"]
    jobs = [{"name": "b", "command": command, "artifacts": ["m.*", "none"]}]
    Path("batch.json").write_text(json.dumps({"project": "p", "jobs": jobs}))
    Path("train.py").write_text("open('t.ckpt', 'w').write('t')\n")

    assert run_command(["submit", "batch.json"]) == 0
    assert run_command(["run", "train.py", "--artifact", "t.*", "--name", "t"]) == 0
    capsys.readouterr()
    assert run_command(["show", "b"]) == 0

    assert "collected  1 file, 2 B\n" in (shown := capsys.readouterr().out)
    assert "no file matches 'none'" in shown
    assert kept(runbus.open_run("t")) == {"t.ckpt": b"t"}
    assert run_command(["artifacts", "b"]) == 0
    assert "m.ckpt" in capsys.readouterr().out
    assert run_command(["rerun", "b"]) == 0
    assert kept(runbus.open_run("b")) == {"m.ckpt": b"w\n"}


def test_every_wrong_pattern_of_a_batch_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    patterns = ["*.ok", "/etc/*", "../x", "", "*" * 10_000]
    jobs = [
        {"name": "a", "command": ["true"], "artifacts": patterns},
        {"name": "b", "command": ["true"], "artifacts": "*.ckpt"},
    ]
    Path("batch.json").write_text(json.dumps({"project": "p", "jobs": jobs}))

    assert run_command(["submit", "batch.json"]) == 2

    told = capsys.readouterr().err
    assert [told.count(f"jobs[0].artifacts[{index}]: ") for index in range(5)] == [0, 1, 1, 1, 1]
    assert 'jobs[1].artifacts: expected list, got str: write ["*.ckpt"]' in told
    assert "leads out of the folder" in told
    assert max(map(len, told.splitlines())) < 300


async def test_what_a_job_on_another_machine_ran_in_comes_with_its_files(tmp_path: Path) -> None:
    code = "import runbus\nwith runbus.init() as run: run.log('loss', 1)\nopen('m', 'w').write('w')"
    executor = SSHExecutor([LocalTunnel(str(tmp_path / "remote"))])
    task = Command((sys.executable, "-c", code))
    job = Job(name="j", task=task, cwd=str(tmp_path), artifacts=["m"])

    async with Kernel(plugins=[executor]) as kernel:
        await ExperimentDraft("p", [job], executor="ssh").run(kernel.bus)

    found = runbus.open_run("j")
    assert kept(found) == {"m": b"w"}
    assert found.environment["python"] == sys.version.split()[0]
    assert "pytest" in found.environment["packages"]


@pytest.mark.parametrize("what", ["train.py", "train.py:train"], ids=["a script", "a function"])
def test_the_command_line_says_how_much_is_kept(
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    writes = "for n in (1, 2, 3):\n        open(f't.{n}', 'w').write('x' * 400)\n"
    Path("train.py").write_text(
        f"def train() -> None:\n    {writes}\n\nif __name__ == '__main__':\n    train()\n"
    )
    few = ["--artifact", "t.*", "--artifact-files", "2", "--name", "few"]
    small = ["--artifact", "t.*", "--artifact-size", "1kB", "--name", "small"]
    assert run_command(["run", *few, what]) == 0
    assert run_command(["run", *small, "--again", what]) == 0
    for name in ("few", "small"):
        assert [one.name for one in runbus.open_run(name).artifacts()] == ["t.1", "t.2"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--artifact-files", "2"], "--artifact-files limits what --artifact keeps"),
        (["--artifact-size", "1kB"], "--artifact-size limits what --artifact keeps"),
        (["--artifact", "t", "--artifact-size", "1G"], "of 1000 or 1024? write GB or GiB"),
        (["--artifact", "t", "--artifact-size", "0B"], "size_bytes"),
        (["--artifact", "t", "--artifact-files", "20000000"], "write 1 to 10000000"),
    ],
)
def test_what_limits_nothing_or_is_no_limit_is_refused(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("")
    assert run_command(["run", *words, "train.py"]) == 2
    assert told in capsys.readouterr().err
    assert not runbus.runs()
