"""`runbus` as a person types it: real processes, a home folder of their own."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import textwrap
from typing import IO, TYPE_CHECKING, Any

import pytest

import runbus
from runbus.jobs import JobState
from runbus.plugins import LineFile, read_lines
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
TRAINER = """
import argparse, runbus
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.5)
parser.add_argument("--steps", type=int, default=10)
options = parser.parse_args()
run = runbus.init(project="ignored", config={"steps": options.steps})
for step in range(options.steps):
    run.log({"loss": options.lr ** step, "acc": 1 - options.lr ** step}, step=step)
run.finish()
print("done with", options.lr)
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    def write(code: str) -> str:
        path = tmp_path / "train.py"
        path.write_text(code)
        return str(path)

    return write


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNBUS, *words],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )


def unprivileged() -> list[str]:
    """Return the words before a command that must not get round permissions."""
    # Root may do anything unless it gives that up.
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if not os.geteuid() else []


def listed() -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(command("ls", "--json").stdout)
    return runs


def test_a_sweep_reaches_the_script_as_arguments_and_the_run_as_config(
    script: Callable[[str], str],
) -> None:
    path = script(TRAINER)

    done = command("run", path, "--sweep", "lr=0.5,0.25", "--max-parallel", "2", "--", "--steps=7")

    assert done.returncode == 0, done.stderr
    first, second = listed()
    assert (first["name"], second["name"]) == ("train-lr=0.5", "train-lr=0.25")
    assert first["project"] == "train"
    assert first["config"] == {"lr": 0.5, "steps": 7}
    assert {run["state"] for run in (first, second)} == {"SUCCEEDED"}
    assert runbus.open_run(second["id"]).metrics("loss").values.tolist() == [
        0.25**step for step in range(7)
    ]
    assert "train-lr=0.5" in done.stdout
    assert "done with 0.5" in done.stderr


def test_a_job_that_exits_7_is_failed_with_7_and_so_is_the_command(
    script: Callable[[str], str],
) -> None:
    done = command("run", script("raise SystemExit(7)"), "--json")

    assert done.returncode == 1
    (job,) = json.loads(done.stdout)
    assert (job["state"], job["exit_code"], job["signal"]) == ("FAILED", 7, None)
    assert listed()[0]["state"] == "FAILED"
    assert "exit code 7" in command("show", "latest").stdout


def test_a_traceback_of_the_script_is_kept_and_shown(script: Callable[[str], str]) -> None:
    done = command("run", script("raise ValueError('bad luck')"))

    assert "ValueError: bad luck" in done.stderr
    assert "ValueError: bad luck" in command("logs", "latest").stderr


def test_what_a_script_prints_is_kept_byte_for_byte(script: Callable[[str], str]) -> None:
    code = (
        "import sys; sys.stdout.buffer.write(b'caf\\xe9 \\xff\\n' + b'x' * 10_000_000 + b'\\nend')"
    )
    done = command("run", script(code))

    assert done.returncode == 0
    assert "10,000,001 bytes" in done.stderr or "bytes)" in done.stderr
    assert "Traceback" not in done.stderr
    raw = subprocess.run([RUNBUS, "logs", "latest"], capture_output=True, check=True).stdout
    assert raw == b"caf\xe9 \xff\n" + b"x" * 10_000_000 + b"\nend"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_is_printed_into_a_full_pipe_survives_a_stop(
    script: Callable[[str], str], unbuffered: str
) -> None:
    command("run", script("print('x' * 1_000_000)"))
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    words = [RUNBUS, "logs", "latest"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as logs:
        pipe = logs.stdout
        assert pipe is not None
        room = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
        wait_until(lambda: waiting(pipe) == room)
        logs.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, logs.pid, os.WSTOPPED | os.WNOWAIT)
        logs.send_signal(signal.SIGCONT)
        printed = pipe.read()

    assert printed == b"x" * 1_000_000 + b"\n"


def waiting(pipe: IO[bytes]) -> int:
    """Return how many bytes are in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_show_and_metrics_tell_what_was_logged(script: Callable[[str], str]) -> None:
    command("run", script(TRAINER), "--name", "mine")

    shown = command("show", "mine").stdout
    assert re.search(r"state +SUCCEEDED", shown)
    assert re.search(r"loss +10 +9 ", shown)
    points = json.loads(command("metrics", "mine", "loss", "--json").stdout)
    assert points["loss"]["steps"] == list(range(10))
    assert points["loss"]["values"] == [0.5**step for step in range(10)]
    assert len(command("metrics", "mine", "loss").stdout.splitlines()) == 11
    assert json.loads(command("metrics", "mine", "--json").stdout)["acc"]["points"] == 10


def test_ls_may_show_only_the_newest_runs_and_an_index_changes_nothing(
    script: Callable[[str], str], home: Path
) -> None:
    command(
        "run", script(TRAINER), "--sweep", "lr=0.5,0.25,0.1", "--name", "größer", "--max-parallel=1"
    )
    table = command("ls", "--all").stdout

    rebuilt = command("doctor", "--rebuild-index")

    assert rebuilt.stdout == f"1 experiments that are over are in {home}/index.db\n"
    assert command("ls", "--all").stdout == table
    assert [line.split()[1] for line in table.splitlines()] == [
        "name",
        "größer-lr=0.5",
        "größer-lr=0.25",
        "größer-lr=0.1",
    ]
    assert command("ls", "--all", "-n", "2").stdout.splitlines()[1:] == table.splitlines()[2:]
    assert "größer-lr=0.1" in command("show", "latest").stdout


def test_a_plot_is_drawn_for_one_run_and_for_several(script: Callable[[str], str]) -> None:
    command("run", script(TRAINER), "--sweep", "lr=0.5,0.25")

    one = command("plot", "train-lr=0.5", "loss")
    two = command("plot", "train-lr=0.5", "train-lr=0.25", "loss", "--log")

    assert one.returncode == two.returncode == 0
    assert "> step" in one.stdout
    assert "log10 loss" in two.stdout
    assert "\x1b" not in two.stdout
    assert "train-lr=0.25" in two.stdout


def test_a_plot_may_lie_over_another_metric(script: Callable[[str], str]) -> None:
    code = """
        import runbus
        with runbus.init() as run:
            for step in range(100):
                run.log({"loss": 1 / (1 + step), "epoch": step / 25}, step=step)
    """
    command("run", script(textwrap.dedent(code)), "--name", "train")

    drawn = command("plot", "train", "loss", "--over", "epoch")
    wrong = command("plot", "train", "loss", "--over", "epochs")

    assert "> epoch" in drawn.stdout
    (ticks,) = (line for line in drawn.stdout.splitlines() if line.split()[:2] == ["|", "0"])
    assert ticks.split()[1:] == ["0", "1", "2", "3"]  # epochs, not the hundred steps
    assert wrong.returncode == 1
    assert "'epochs'" in wrong.stderr
    assert "epoch" in wrong.stderr.split("hint: ")[1]


def test_logs_follow_to_the_end(script: Callable[[str], str], tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.01)"
    code = f"import os, time\nprint('one')\n{wait}\nprint('two')"
    with subprocess.Popen(
        [RUNBUS, "run", script(code)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as job:
        assert job.stderr is not None
        while job.stderr.readline() != b"one\n":
            pass
        with subprocess.Popen([RUNBUS, "logs", "-f", "latest"], stdout=subprocess.PIPE) as logs:
            assert logs.stdout is not None
            assert logs.stdout.readline() == b"one\n"
            go.touch()
            assert logs.stdout.read() == b"two\n"
            assert logs.wait(120) == 0


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["run", "nowhere.py"], "error: cannot run 'nowhere.py': no such file", ""),
        (["run", "/usr"], "error: cannot run '/usr': it is a folder", ""),
        (["run", "SCRIPT", "--nmae", "x"], "error: no such option '--nmae'", "--name"),
        (["run", "SCRIPT", "--epochs", "3"], "error: no such option '--epochs'", "after --"),
        (["run", "SCRIPT", "--sweep", "lr="], "lr has no values", "name=value,value"),
        (["run", "SCRIPT", "--sweep", "=1,2"], "there is no name before '='", "name=value"),
        (["run", "SCRIPT", "--sweep", "lr"], "there is no '='", "name=value"),
        (["run", "SCRIPT", "--max-parallel", "0"], "--max-parallel", "runbus run --help"),
        (["run"], "missing argument 'SCRIPT'", "runbus run --help"),
        (["rnu", "SCRIPT"], "there is no command 'rnu'", "did you mean 'run'"),
        (["show", "nothing"], "there are no runs yet", "runbus run SCRIPT"),
        (["logs", "nothing"], "there are no runs yet", "runbus run SCRIPT"),
        (["metrics", "nothing"], "there are no runs yet", "runbus run SCRIPT"),
        (["plot", "nothing", "loss"], "there are no runs yet", "runbus run SCRIPT"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_refused_with_a_word_of_help(
    script: Callable[[str], str], home: Path, words: list[str], error: str, hint: str
) -> None:
    path = script("print()")

    done = command(*(path if word == "SCRIPT" else word for word in words))

    assert done.returncode in {1, 2}
    assert done.stderr.startswith("error: ")
    assert error in done.stderr
    assert hint in done.stderr.partition("hint: ")[2]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not home.exists()


def test_a_metric_that_does_not_exist_names_its_near_matches(script: Callable[[str], str]) -> None:
    command("run", script(TRAINER))

    for words in (["metrics", "latest", "los"], ["plot", "latest", "los"]):
        done = command(*words)
        assert done.returncode == 1
        assert "has no metric named 'los'\nhint: did you mean 'loss'" in done.stderr


def test_a_run_that_does_not_exist_names_its_near_matches(script: Callable[[str], str]) -> None:
    command("run", script(TRAINER), "--name", "baseline")

    assert "hint: did you mean 'baseline'" in command("show", "basline").stderr


@pytest.mark.parametrize("words", [["run", "SCRIPT"], ["ls"], ["show", "latest"]])
def test_a_home_that_is_a_file_is_named(
    script: Callable[[str], str], home: Path, words: list[str]
) -> None:
    home.write_text("not a folder")
    path = script("print()")

    done = command(*(path if word == "SCRIPT" else word for word in words))

    assert done.returncode == 1
    assert f"error: cannot use the home folder {home}: it is not a folder" in done.stderr
    assert "hint: set RUNBUS_HOME" in done.stderr


@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_home_that_may_not_be_used_is_named(
    script: Callable[[str], str], home: Path, mode: int
) -> None:
    home.mkdir()
    path = script("print()")
    home.chmod(mode)
    done = subprocess.run(
        [*unprivileged(), RUNBUS, "run", path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert f"error: cannot use the home folder {home}: permission denied" in done.stderr


def test_what_the_system_refuses_is_an_ordinary_error_with_its_path(
    script: Callable[[str], str], home: Path
) -> None:
    command("run", script(TRAINER), "--", "--steps=3")
    folders = [path for path in home.rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    done = subprocess.run(
        [*unprivileged(), RUNBUS, "seal", "--all"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for folder in folders:
        folder.chmod(0o700)

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {home}/")
    assert done.stderr.endswith(": permission denied\n")
    with open("/dev/full", "w") as full:
        printed = subprocess.run(
            [RUNBUS, "ls"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    assert (printed.returncode, printed.stderr) == (1, "error: no space left on device\n")


def test_a_script_that_may_not_be_read_is_named(script: Callable[[str], str], home: Path) -> None:
    path = script("print()")
    os.chmod(path, 0o000)
    done = subprocess.run(
        [*unprivileged(), RUNBUS, "run", path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 2
    assert f"error: cannot run {path!r}: permission denied" in done.stderr
    assert not home.exists()


SLOW = """
import runbus, time
run = runbus.init()
for step in range(100_000):
    run.log("loss", 1.0, step=step)
    if step == 100:
        print("up", flush=True)
    time.sleep(0.001)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_the_jobs_and_keeps_everything(
    script: Callable[[str], str], number: signal.Signals
) -> None:
    with subprocess.Popen(
        [RUNBUS, "run", script(SLOW), "--sweep", "x=1,2,3", "--max-parallel", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as job:
        assert job.stderr is not None
        ups = 0
        while ups < 2:
            ups += job.stderr.readline().endswith(b" | up\n")
        job.send_signal(number)
        out, _ = job.communicate(timeout=120)

    assert job.returncode == 128 + number
    runs = listed()
    assert [run["state"] for run in runs] == ["CANCELLED"] * 3
    assert out.count(b"CANCELLED") == 3
    for run in runs[:2]:
        assert len(runbus.open_run(run["id"]).metrics("loss")) > 100
    assert_no_process_of(script("").rpartition("/")[0])


def test_two_signals_kill_what_ignores_the_first(script: Callable[[str], str], home: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLOW
    with subprocess.Popen(
        [RUNBUS, "run", script(stubborn)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as job:
        assert job.stderr is not None
        while job.stderr.readline() != b"up\n":
            pass
        job.send_signal(signal.SIGINT)
        while b"once more" not in job.stderr.readline():
            pass
        job.send_signal(signal.SIGINT)
        _, told = job.communicate(timeout=120)
    assert job.returncode == 130

    # It leaves in time, also where the machine takes its own to end a job.
    if b"left before the end of train (RUNNING): runbus cancel" in told:
        command("cancel", "latest", "--grace", "0")
    # The first one alone leaves it 10 s.
    (cancel,) = home.glob("experiments/*/*/jobs/*/1/cancel")
    assert cancel.read_text() == "0\n"
    assert listed()[0]["state"] == "CANCELLED"
    assert_no_process_of(script("").rpartition("/")[0])


def assert_no_process_of(folder: str) -> None:
    """No process may be left that was started with a path in `folder`."""

    def is_empty() -> bool:
        found = subprocess.run(["pgrep", "-f", folder], capture_output=True, text=True, check=False)
        return not found.stdout.split()

    wait_until(is_empty)


def test_kill_9_of_runbus_leaves_the_job_running_and_its_end_is_known(
    script: Callable[[str], str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    code = f"print('up', flush=True)\nimport os\nwhile not os.path.exists({str(go)!r}): pass"
    with subprocess.Popen(
        [RUNBUS, "run", script(code)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as job:
        assert job.stderr is not None
        while job.stderr.readline() != b"up\n":
            pass
        job.kill()
        job.wait(120)

    assert listed()[0]["state"] == "RUNNING"
    go.touch()
    wait_until(lambda: listed()[0]["state"] == "SUCCEEDED")


def test_kill_9_of_the_trainer_loses_no_point(script: Callable[[str], str]) -> None:
    """It kills itself between two calls; what it had counted by then must all be there."""
    for count in (0, 1, 2, 3, 999, 20_000):
        code = f"""
import os, runbus
run = runbus.init()
for step in range({count}):
    run.log("loss", float(step), step=step)
os.kill(os.getpid(), 9)
"""
        # Where it takes a second its machine is sampled.
        command("run", script(code), "--name", f"dies-{count}", RUNBUS_SYSTEM="0")
        run = next(run for run in runbus.runs() if run.name == f"dies-{count}")

        assert run.state is JobState.FAILED
        if count:
            assert run.metrics("loss").steps.tolist() == list(range(count))
        else:
            assert run.metric_names() == []


def test_a_closed_pipe_is_no_error(script: Callable[[str], str]) -> None:
    command("run", script(TRAINER), "--", "--steps=20000")

    piped = subprocess.run(
        ["bash", "-c", f"{RUNBUS} metrics latest loss | head -1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert piped.stdout.startswith("metric")
    assert piped.stderr == ""


def test_version_tells_what_a_bug_report_needs() -> None:
    assert command("version").stdout == f"runbus {runbus.__version__}\n"
    assert command("--version").stdout == command("version").stdout
    verbose = command("version", "--verbose").stdout
    for word in ("build", "python", "home", "anyio", "msgspec"):
        assert word in verbose


def test_why_tells_the_story_of_a_run_and_of_an_event(script: Callable[[str], str]) -> None:
    command("run", script("raise SystemExit(7)"))

    words = command("why", "latest").stdout
    assert "its program ended with exit code 7" in words
    assert "job.ended" not in words
    story = command("why", "-v", "latest").stdout
    tags = re.findall(r"#\d+ (job\.\w+): ok", story)
    assert tags == ["job.intended", "job.submitted", "job.started", "job.ended"]
    assert "exit_code=7" in story
    number = re.search(r"#(\d+) job\.ended", story)
    assert number is not None
    assert "job.ended" in command("why", number[1]).stdout
    assert "error: no event named '99999'" in command("why", "99999").stderr
    assert "Traceback" not in command("why", "1", "--trace", "/nowhere").stderr


def test_replay_of_an_ordinary_run_finds_nothing_and_names_what_is_absent(
    script: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")  # samples would be batches, too, if it lasts
    command("run", script("import runbus\nwith runbus.init() as run: run.log('loss', 1.0)"))
    trace = os.path.join(runbus.runs()[0].experiment_folder, "trace.jsonl")

    done = command("replay", trace)

    assert (done.returncode, done.stdout) == (0, "")
    assert "metric.batch was not fed: streams are left out" in done.stderr
    assert "not compared, because absent: local, progress" in done.stderr
    assert "events fed, 0 went another way" in done.stderr


def test_replay_says_where_a_fresh_kernel_goes_another_way(
    script: Callable[[str], str], tmp_path: Path
) -> None:
    command("run", script("print('hi')"))
    trace = os.path.join(runbus.runs()[0].experiment_folder, "trace.jsonl")
    changed = tmp_path / "changed.jsonl"
    with LineFile(changed) as file:
        file.append(
            line.replace(b'"status":"ok"', b'"status":"error"') for line in read_lines(trace)
        )

    done = command("replay", str(changed))

    assert done.returncode == 1
    assert "was  launch.image error\n  now  launch.image ok" in done.stdout


@pytest.mark.parametrize(("place", "status"), [("setup", 1), ("handler", 0)])
def test_a_plugin_that_exits_is_told_as_one_that_failed(
    place: str, status: int, tmp_path: Path, script: Callable[[str], str]
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    code = (
        "import sys\n"
        "from runbus.events import JobEnded\n"
        "class Exits:\n"
        "    name = 'exits'\n"
        "    async def setup(self, scope):\n"
        f"        sys.exit(9) if {place == 'setup'} else scope.on(JobEnded, self.ended)\n"
        "    async def ended(self, event):\n"
        "        sys.exit(9)\n"
    )
    (folder / "exits.py").write_text(code)
    (folder / "exits.py").chmod(0o644)

    done = command("run", "--plugin", "exits", script("pass"), RUNBUS_PLUGIN_PATH=str(folder))

    assert done.returncode == status, done.stderr
    assert "raised SystemExit: 9" in done.stderr
    assert "Exception Group" not in done.stderr
    assert "unhandled exception" not in done.stderr
    assert ("SUCCEEDED" in done.stdout) == (place == "handler")
