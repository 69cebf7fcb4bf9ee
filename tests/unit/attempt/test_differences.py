"""What the program keeps and the script cannot: each row of the table in the docs is a test.

Each test says what the program does. Under a shell it must fail, or the table is wrong.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbus.abc import JobSpec, Observation, Resources
from runbus.attempt import observe_folder, render_request, render_script
from runbus.testing._waiting import PATIENCE_S

TABLE = Path(__file__).parents[3] / "docs" / "concepts" / "wrapper.md"
WAITS = "import os, signal; print(os.getpid(), flush=True); signal.pause()"

Launch = Callable[..., subprocess.Popen[bytes]]
Ended = Callable[..., Observation]


@pytest.fixture
def launch(wrapper: list[str]) -> Iterator[Launch]:
    """Start a wrapper on a job, as executors do; what is left of it is killed after the test."""
    started: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def launch(
        folder: Path, *words: str, env: dict[str, str] | None = None, **options: object
    ) -> subprocess.Popen[bytes]:
        spec = {
            "experiment_id": "e", "name": "a", "run_id": "e-1", "executor": "local",
            "argv": words, "cwd": str(folder), "env": {}, "folder": str(folder),
            "run_folder": str(folder),
        } | options  # fmt: skip
        job = JobSpec(**spec)  # type: ignore[arg-type]
        (folder / "request").write_bytes(render_request(job, sampler=str(folder / "sampler")))
        (folder / "request.sh").write_text(render_script(job))
        shell = shutil.which(wrapper[0])
        assert shell is not None
        process = subprocess.Popen(
            [shell, *wrapper[1:], "run", str(folder)],
            env=env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append((folder, process))
        return process

    yield launch
    for folder, process in started:
        if folder.exists():
            subprocess.run([*wrapper, "cancel", str(folder), "0"], check=True, timeout=120)
        process.kill()
        process.wait(120)


@pytest.fixture
def ended(launch: Launch) -> Ended:
    """Run a job to its end and return what is seen then."""

    def ended(folder: Path, *words: str, **options: object) -> Observation:
        launch(folder, *words, **options).wait(120)
        seen = observe_folder(str(folder))
        assert seen is not None
        return seen

    return ended


@pytest.fixture
def patience_s(wrapper: list[str]) -> float:
    """How long an end is waited for: of the script it does not come."""
    return PATIENCE_S if len(wrapper) == 1 else 0.3


def rows() -> list[str]:
    """Return the first cells of the table."""
    lines = TABLE.read_text().partition("| | program | script |")[2].splitlines()[2:]
    cells = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    end = next((at for at, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return cells[:end]


def test_each_row_of_the_table_has_a_test() -> None:
    source = Path(__file__).read_text()
    marked = re.findall(r'mark\.differs\(\s*"([^"]+)"', source)

    assert sorted(set(marked)) == sorted(rows())
    assert len(rows()) >= 10


@pytest.mark.differs("own exit 130 or 141, or SIGINT or SIGPIPE")
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("exit 130", (130, None)),
        ("exit 141", (141, None)),
        ("kill -INT $$", (None, signal.SIGINT)),
        ("kill -PIPE $$", (None, signal.SIGPIPE)),
    ],
)
def test_an_exit_is_told_from_the_signal_of_that_number(
    ended: Ended, tmp_path: Path, end: str, expected: tuple[int | None, int | None]
) -> None:
    seen = ended(tmp_path, "sh", "-c", end)

    assert (seen.exit_code, seen.signal, seen.reason) == (*expected, "")


@pytest.mark.differs("the most memory one process had")
def test_the_most_memory_that_one_process_had_is_recorded(ended: Ended, tmp_path: Path) -> None:
    hungry = f"{sys.executable} -c 'x = bytearray(200 << 20)'; true"
    seen = ended(tmp_path, "sh", "-c", hungry)

    assert seen.max_rss_bytes is not None
    assert 200 << 20 < seen.max_rss_bytes < 300 << 20


@pytest.mark.differs("environment")
@pytest.mark.parametrize("name", ["with.dot", "BASH_FUNC_f%%", "UID", "PPID", "OPTIND"])
def test_the_environment_is_what_was_asked_for_and_no_shell_touches_it(
    ended: Ended, tmp_path: Path, name: str
) -> None:
    inherited = {"PATH": os.environ["PATH"], name: "() { echo 7; }", "RUNBUS_SECRET_T": "s3cret"}
    show = "import json, os, sys; json.dump(dict(os.environ), sys.stdout)"
    seen = ended(
        tmp_path, sys.executable, "-X", "utf8", "-c", show,
        env=inherited, secrets={"T": "env:ELSEWHERE"},
    )  # fmt: skip

    assert seen.exit_code == 0
    found = json.loads((tmp_path / "stdout.log").read_text())
    found.pop("LC_CTYPE", None)  # Python's own
    assert found.pop("RUNBUS_ATTEMPT") == str(tmp_path)
    del inherited["RUNBUS_SECRET_T"]
    assert found == {**inherited, "T": "s3cret"}


@pytest.mark.differs("a program that cannot be run")
@pytest.mark.parametrize(
    ("word", "code", "reason"),
    [
        ("no-such-program", 127, "command not found: no-such-program"),
        ("/no/such/program", 127, "cannot run /no/such/program: no such file or directory"),
        ("./plain", 126, "cannot run ./plain: permission denied"),
        ("./.", 126, "cannot run ./.: permission denied"),
    ],
)
def test_a_program_that_cannot_be_run_is_told_from_one_that_ran(
    ended: Ended, tmp_path: Path, word: str, code: int, reason: str
) -> None:
    (tmp_path / "plain").write_text("text")
    seen = ended(tmp_path, word)

    assert (seen.exit_code, seen.reason) == (code, reason)
    assert (tmp_path / "stderr.log").read_text().strip() == seen.reason


@pytest.mark.differs("what the job leaves behind")
def test_what_a_job_leaves_behind_is_counted(ended: Ended, tmp_path: Path) -> None:
    ended(tmp_path, "sh", "-c", "for _ in 1 2 3; do sleep 600 & echo $!; done")

    for pid in (tmp_path / "stdout.log").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    assert json.loads((tmp_path / "exit.json").read_text())["left"] == 3


@pytest.mark.differs("what a job has started, on cancel and time limit")
def test_a_child_that_hides_in_a_session_and_without_the_mark_ends_too(
    launch: Launch, wrapper: list[str], wait_for_line: Callable[[Path], str], tmp_path: Path
) -> None:
    hides = f"exec env -i setsid '{sys.executable}' -c '{WAITS}'"
    job = launch(tmp_path, "sh", "-c", f'sh -c "{hides}" & wait')
    child = int(wait_for_line(tmp_path / "stdout.log"))

    subprocess.run([*wrapper, "cancel", str(tmp_path), "0"], check=True, timeout=120)
    job.wait(120)

    # The wrapper has waited for all that it has ended.
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        return
    os.kill(child, signal.SIGKILL)
    pytest.fail("it lived on")


@pytest.mark.differs("a job that opens its own output again")
def test_a_job_that_opens_its_own_output_again_loses_nothing(ended: Ended, tmp_path: Path) -> None:
    ended(tmp_path, "sh", "-c", "echo one; echo two >/dev/stdout; echo three")

    assert (tmp_path / "stdout.log").read_text() == "one\ntwo\nthree\n"


FULL = """
mkdir job
printf '%s\\n' 'head -c 1000000 /dev/zero && exit 7' >job/request.sh
"$@" run "$PWD/job"
cat job/exit.json
"""


@pytest.mark.differs("a disk that is full")
def test_a_job_goes_on_when_the_disk_takes_no_more_of_its_output(
    in_a_world: Callable[[str, str], str],
) -> None:
    assert '{"status":7,' in in_a_world("size=256k", FULL)


@pytest.mark.differs("grace of a cancel")
def test_a_grace_of_less_than_a_second_is_no_whole_one(
    launch: Launch, wrapper: list[str], wait_for_line: Callable[[Path], str], tmp_path: Path
) -> None:
    ignores = "trap : TERM; echo up; while :; do sleep 0.01; done"
    took_s: list[float] = []
    # A whole second it would be each time, as with the script; once is enough to see that it is
    # less, on a machine that has other things to do, too.
    tries = 20 if len(wrapper) == 1 else 1
    while len(took_s) < tries and min(took_s, default=1.0) >= 1.0:
        (folder := tmp_path / str(len(took_s))).mkdir()
        job = launch(folder, "sh", "-c", ignores)
        wait_for_line(folder / "stdout.log")
        start = time.monotonic()
        subprocess.run([*wrapper, "cancel", str(folder), "0.05"], check=True, timeout=120)
        job.wait(120)
        took_s.append(time.monotonic() - start)

    assert min(took_s) < 1.0


@pytest.mark.differs("TERM to the wrapper")
def test_term_to_the_wrapper_ends_the_job(
    launch: Launch, wait_for_line: Callable[[Path], str], tmp_path: Path, patience_s: float
) -> None:
    job = launch(tmp_path, sys.executable, "-c", WAITS)
    wait_for_line(tmp_path / "stdout.log")

    job.terminate()
    job.wait(patience_s)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.reason == "its wrapper was told to end (SIGTERM)"


@pytest.mark.differs("the attempt's folder is removed")
def test_a_job_whose_folder_is_removed_is_ended(
    launch: Launch, wait_for_line: Callable[[Path], str], tmp_path: Path, patience_s: float
) -> None:
    folder = tmp_path / "attempt"
    folder.mkdir()
    job = launch(folder, sys.executable, "-c", WAITS, cwd="/")
    child = int(wait_for_line(folder / "stdout.log"))

    shutil.rmtree(folder)
    try:
        job.wait(patience_s)
    except subprocess.TimeoutExpired:
        os.kill(child, signal.SIGKILL)
        raise


@pytest.mark.differs("`nice`, `taskset`")
def test_niceness_and_processors_need_no_program_in_the_job_s_path(
    ended: Ended, tmp_path: Path
) -> None:
    show = "import os; print(os.nice(0), os.sched_getaffinity(0))"
    niceness, cpu = os.nice(0), min(os.sched_getaffinity(0))
    share = Resources(nice=3, cpus=str(cpu))
    seen = ended(tmp_path, sys.executable, "-c", show, resources=share, env={"PATH": "/nowhere"})

    assert seen.exit_code == 0
    assert (tmp_path / "stdout.log").read_text() == f"{min(niceness + 3, 19)} {{{cpu}}}\n"


@pytest.mark.differs("samples of the machine")
def test_what_samples_the_machine_is_started_beside_a_job_that_lasts(
    launch: Launch, patience_s: float, tmp_path: Path
) -> None:
    (tmp_path / "sampler").write_text(f"#!/bin/sh\necho >{tmp_path}/began\n")
    (tmp_path / "sampler").chmod(0o755)
    launch(tmp_path, "sleep", "600")
    until = time.monotonic() + patience_s
    while not (tmp_path / "began").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
