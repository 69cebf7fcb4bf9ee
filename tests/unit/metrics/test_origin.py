"""Where a run comes from: its command line, its interpreter, the commit of its code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

import runbus
from runbus import Command, Job, Kernel, LocalExecutor, Plugin
from runbus.catalog import find_experiment, find_job, find_run, query
from runbus.cli._app import run_command
from runbus.errors import AmbiguousId, RunNotFound
from runbus.events import JobEnded
from runbus.experiment import ExperimentDraft
from runbus.metrics import Origin
from runbus.testing._waiting import until, wait_until

SCRIPT = "import runbus\nwith runbus.init() as run: run.log('loss', 1.0)\n"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "train.py").write_text(SCRIPT)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def started(folder: Path, *words: str) -> Origin:
    subprocess.run([sys.executable, "train.py", *words], cwd=folder, check=True)
    return answered("latest")


def answered(name: str) -> Origin:
    # Git says it when it is ready.
    wait_until(lambda: find_run(name).origin.is_changed is not None)
    return find_run(name).origin


def test_a_run_of_plain_init_knows_its_command_commit_and_changes(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")

    clean = started(repository, "--lr", "0.1")
    assert clean.argv == ("train.py", "--lr", "0.1")
    assert clean.python == sys.executable
    assert (clean.commit, clean.is_changed) == (head, False)

    (repository / "train.py").write_text(SCRIPT + "# more\n")
    assert started(repository).is_changed is True


def test_the_commit_is_found_in_a_worktree_a_subfolder_and_after_packing(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other")
    git(repository, "pack-refs", "--all")
    (repository / "sub").mkdir()
    head = git(repository, "rev-parse", "HEAD")

    for place in (repository / "sub", tmp_path / "tree"):
        assert Origin.of_job(("true",), str(place)) == Origin(("true",), "", str(place), head)
    git(repository, "checkout", "-q", "--detach")
    assert Origin.of_job(("true",), str(repository)).commit == head


def test_no_repository_or_a_broken_one_is_no_hindrance(tmp_path: Path) -> None:
    assert Origin.of_job(("true",), str(tmp_path)).commit == ""
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert Origin.of_job(("true",), str(tmp_path)).commit == ""
    assert Origin.of_job(("true",), "/nowhere/at/all").commit == ""


def test_the_runs_of_jobs_are_shown_listed_and_asked_for_by_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    job = Job(name="a", task=Command((sys.executable, "train.py", "a b")))
    ExperimentDraft("p", [job]).prepare()
    head = git(repository, "rev-parse", "HEAD")
    answered("a")

    assert run_command(["show", "a"]) == 0
    shown = capsys.readouterr().out
    assert f"command   {sys.executable} train.py 'a b'\n" in shown
    assert f"commit    {head[:12]}\n" in shown
    assert run_command(["ls", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["origin"]["commit"] == head
    assert query("SELECT commit, changed FROM runs")[1] == [(head, False)]


def test_what_is_wrong_in_the_record_of_an_origin_is_unknown() -> None:
    wrong: list[object] = [[], {"argv": 1, "python": 2, "commit": None, "is_changed": "x"}, None]
    for fields in wrong:
        assert Origin.parse(fields) == Origin()


def test_a_run_without_a_name_is_called_by_its_script_and_the_letters_of_its_id(
    repository: Path,
) -> None:
    started(repository)
    run = find_run("latest")

    letters = run.id.split("-")[2]
    assert run.name == f"train-{letters}"
    for text in (run.id, run.name, letters, f"{letters}-1", run.id[:-2], "latest"):
        assert runbus.open_run(text).id == run.id
    with runbus.init(id=letters) as joined:
        assert joined.id == run.id


def test_a_part_of_several_ids_is_refused_and_names_them() -> None:
    jobs = [Job(name=name, task=Command(("true",))) for name in "ab"]
    stored = ExperimentDraft("p", jobs).prepare()
    letters = stored.id.split("-")[2]

    for asked in (letters, stored.id):
        with pytest.raises(AmbiguousId, match="is a batch of 2 runs") as raised:
            runbus.open_run(asked)
    assert f"{stored.id}-1" in raised.value.hint
    assert runbus.open_run(f"{letters}-2").name == "b"
    assert find_experiment(letters) == stored.folder
    assert find_job(f"{letters}-2") == (stored.folder, "b")
    assert find_job(letters) == (stored.folder, None)
    for none in (letters[:3], "zzzz", ""):
        with pytest.raises(RunNotFound):
            runbus.open_run(none)


def test_init_makes_a_run_where_there_is_no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    runbus.init(name="a").finish()

    assert os.path.basename(runbus.open_run("a").info.origin.python).startswith("python")


def test_no_secret_of_a_command_line_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "train.py",
        "--hub_token",
        "SEKRET1",
        "--password=SEKRET2",
        "https://u:SEKRET3@h/",
        "7",
    ]
    kept = ("train.py", "--hub_token", "***", "--password=***", "https://***@h/", "7")
    monkeypatch.setattr(sys, "argv", words)

    assert Origin.of_process().argv == kept
    assert Origin().with_argv(words).argv == kept


def diff_of(name: str) -> str:
    path = wait_until(lambda: find_run(name).diff)  # it is kept when it is ready
    return Path(path).read_bytes().decode("utf-8", "surrogateescape")


KEY = "-----BEGIN PRIVATE KEY-----\nMIIBVgIBADANBgkqhkiG\n-----END PRIVATE KEY-----\n"


def test_uncommitted_changes_are_kept_without_their_secrets(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "model.bin").write_bytes(b"\0\1")
    (repository / "other").write_text("old\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    (repository / "train.py").write_text(f"{SCRIPT}# more\nHF_TOKEN = 'hf_secret'\n{KEY}")
    (repository / "model.bin").write_bytes(b"\0\2")
    (repository / "other").unlink()
    (repository / "untracked").write_text("not git's")

    ExperimentDraft("p", [Job(name="j", task=Command(("true",)), cwd=str(repository))]).prepare()

    diff = diff_of("j")
    assert "\n+# more\n+HF_TOKEN = '***'\n" in diff.replace("= ***", "= '***'")
    assert "hf_secret" not in diff
    assert "MIIB" not in diff
    assert "\n-old\n" in diff
    digest = git(repository, "hash-object", "model.bin")
    assert f"..{digest}" in diff
    assert "Binary files a/model.bin and b/model.bin differ\n" in diff
    assert "untracked" not in diff
    assert run_command(["show", "j"]) == 0
    assert f" {find_run('j').diff}\n" in capsys.readouterr().out
    assert os.stat(find_run("j").diff or "").st_mode & 0o777 == 0o600


def test_a_clean_tree_has_no_diff_and_a_large_one_is_cut(repository: Path) -> None:
    assert started(repository).is_changed is False
    assert find_run("latest").diff is None

    lines = "".join(f"# {number} {'x' * 100}\n" for number in range(10_000))
    (repository / "train.py").write_text(SCRIPT + lines)
    started(repository)

    diff = diff_of("latest")
    assert len(diff) < 600_000
    assert diff.endswith("xxx\n# cut here: the diff has more than 524288 bytes\n")


def test_an_experiment_that_was_removed_does_not_come_back_with_a_diff(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "train.py").write_text(SCRIPT + "# more\n")
    commit = git(repository, "rev-parse", "HEAD")
    keep = "import sys; from runbus._uncommitted import keep_diff; keep_diff(*sys.argv[1:])"
    experiment = tmp_path / "gone"

    def kept() -> bytes:
        diff = str(experiment / "code" / "changed.diff")
        command = [sys.executable, "-c", keep, diff, str(repository), commit]
        return subprocess.run(command, capture_output=True, timeout=120).stderr

    assert b"FileNotFoundError" in kept()
    assert not experiment.exists()
    experiment.mkdir()
    assert kept() == kept() == b""  # jobs of two folders share the place
    assert (experiment / "code" / "changed.diff").exists()


def test_no_code_of_the_repository_runs_to_keep_the_diff(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    told = tmp_path / "told"
    for name in ("re.py", "runbus.py", "sitecustomize.py"):
        (repository / name).write_text(f"open({str(told)!r}, 'a').write('{name}')\n")
    (repository / ".gitattributes").write_text("*.py diff=mine\n")
    for key in ("diff.mine.command", "diff.mine.textconv", "diff.external", "core.fsmonitor"):
        git(repository, "config", key, f"touch {told} #")
    (repository / "train.py").write_text(SCRIPT + "# more\n")

    job = Job(name="j", task=Command(("true",)), cwd=str(repository))
    ExperimentDraft("p", [job]).prepare()

    assert "\n+# more\n" in diff_of("j")
    assert not told.exists()


@pytest.fixture
def asker(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell that git is asked by, which first waits for a line in `gate` beside it, if there."""
    tools, gate, pid = tmp_path / "tools", tmp_path / "gate", tmp_path / "pid"
    tools.mkdir()
    lines = (
        "#!/bin/sh",
        f"echo $$ >{pid}.new; mv {pid}.new {pid}",
        f"[ -p {gate} ] && read line <{gate}",
    )
    (tools / "sh").write_text("\n".join(lines))
    (tools / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.chdir(repository)
    return pid


async def gone(asker: Path) -> None:
    def is_gone() -> bool:
        return asker.exists() and not Path("/proc", asker.read_text().strip()).exists()

    await until(is_gone)


async def run(job: Job, *plugins: Plugin) -> None:
    async with Kernel(plugins=[LocalExecutor(), *plugins]) as kernel:
        with anyio.fail_after(120):
            await ExperimentDraft("p", [job]).run(kernel.bus)


async def test_no_job_waits_for_what_asks_git(asker: Path) -> None:
    gate = asker.parent / "gate"
    os.mkfifo(gate)

    def let_go(_end: JobEnded) -> None:
        gate.write_text("on\n")

    await run(Job(name="j", task=Command(("/bin/true",))), Plugin("waits").on(JobEnded, let_go))

    await gone(asker)


async def test_init_does_not_wait_for_what_asks_git(asker: Path) -> None:
    gate = asker.parent / "gate"
    os.mkfifo(gate)

    runbus.init(name="a").finish()

    with anyio.fail_after(120):
        await anyio.to_thread.run_sync(gate.write_text, "on\n")
    await gone(asker)


def test_what_git_says_after_the_script_has_ended_is_noted(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, gate = shutil.which("git"), tmp_path / "gate"
    os.mkfifo(gate)
    slow = tmp_path / "tools" / "git"
    slow.parent.mkdir()
    lines = ("#!/bin/sh", f"read line <{gate}", f"ulimit -t >{tmp_path}/limit", f'exec {real} "$@"')
    slow.write_text("\n".join(lines))
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")

    script = "import os, runbus; runbus.init(name='a'); os._exit(0)"
    subprocess.run([sys.executable, "-c", script], cwd=repository, check=True, timeout=120)
    before = find_run("a").origin.is_changed
    gate.write_text("on\n")

    assert before is None
    assert answered("a").is_changed is False
    assert int((tmp_path / "limit").read_text()) == 60


async def test_what_asked_git_is_gone_long_before_the_jobs_are(asker: Path) -> None:
    end = asker.parent / "end"
    os.mkfifo(end)
    job = Job(name="j", task=Command(("/bin/sh", "-c", f"read line <{end}")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, job)
        await gone(asker)
        # The job may not have come to reading it.
        await anyio.to_thread.run_sync(end.write_text, "on\n")
