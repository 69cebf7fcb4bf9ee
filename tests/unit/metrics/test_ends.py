"""A run ends as its process, its block or its owner says, and never by a guess."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus.cli._app import run_command
from runbus.jobs import JobState


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


MAKE = "import os, signal, sys, runbus\nrun = runbus.init()\nrun.log('loss', 1.0)\n"
IN_MAIN = """
import os, signal, sys, runbus
def main():
    run = runbus.init()
    run.log("loss", 1.0)
    {}
main()
"""


@pytest.mark.parametrize("script", [MAKE + "{}", IN_MAIN], ids=["module", "function"])
@pytest.mark.parametrize(
    ("ending", "state", "reason"),
    [
        ("pass", "SUCCEEDED", ""),
        ("sys.exit()", "SUCCEEDED", ""),
        ("sys.exit(0)", "SUCCEEDED", ""),
        ("sys.exit(1)", "FAILED", "exit code 1"),
        ("raise SystemExit(3)", "FAILED", "exit code 3"),
        ("sys.exit('no data')", "FAILED", "exit code 1"),
        ("raise ValueError('boom')", "FAILED", "ValueError: boom"),
        ("raise KeyboardInterrupt", "CANCELLED", "KeyboardInterrupt"),
        ("sys.excepthook = print; raise ValueError('boom')", "FAILED", "ValueError: boom"),
        (
            "signal.signal(15, lambda *_: sys.exit(143)); os.kill(os.getpid(), 15)",
            "FAILED",
            "exit code 143",
        ),
        ("os.kill(os.getpid(), 9)", "LOST", "its process died without ending it"),
    ],
)
def test_without_a_block_the_exit_status_of_the_script_decides(
    script: str, ending: str, state: str, reason: str
) -> None:
    python(script.format(ending))

    (run,) = runbus.runs()
    assert (run.state, run.reason) == (state, reason)
    run.seal()
    assert (run.state, runbus.open_run(run.id).reason) == (state, reason)


def test_a_failure_that_a_framework_turns_into_an_exit_status_is_a_failure() -> None:
    done = python(
        """
        import sys, runbus

        def main():
            run = runbus.init()
            run.log("loss", 1.0)
            raise ValueError("boom")

        try:
            main()
        except Exception:
            sys.exit(1)
        """
    )

    assert done.returncode == 1
    (run,) = runbus.runs()
    assert (run.state, run.reason) == (JobState.FAILED, "exit code 1")


def test_what_an_exception_drops_unfinished_is_not_called_a_success(
    capsys: pytest.CaptureFixture[str],
) -> None:
    python(
        """
        import runbus
        from concurrent.futures import ThreadPoolExecutor

        def trial(_):
            run = runbus.init(name="trial")
            run.log("loss", 1.0)
            raise ValueError("boom")

        for number in range(3):
            try:
                trial(number)
            except ValueError:
                pass
        with ThreadPoolExecutor(1) as pool:
            pool.submit(trial, 4).exception()
        """
    )

    found = runbus.runs()
    assert [(run.state, run.reason) for run in found] == [
        (JobState.LOST, "dropped without finish()")
    ] * 4
    assert run_command(["show", found[0].id]) == 0
    assert "LOST: dropped without finish()" in capsys.readouterr().out


def test_more_runs_than_can_wait_for_the_exit_are_ended_before_it() -> None:
    done = python(
        """
        import os, runbus

        def trial():
            run = runbus.init()
            run.log("loss", 1.0)

        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            trial()
        print(len(os.listdir("/proc/self/fd")) - before)
        """
    )

    assert int(done.stdout) < 40
    states = [run.state for run in runbus.runs()]
    assert states.count(JobState.SUCCEEDED) == 32
    assert states.count(JobState.LOST) == 68


class Pruned(Exception):
    pass


def leave(error: BaseException, cancelled_on: Any) -> None:
    with runbus.init(cancelled_on=cancelled_on) as run:
        run.log("loss", 1.0)
        raise error


def test_a_block_ends_as_what_leaves_it_says() -> None:
    optuna = type("TrialPruned", (Exception,), {"__module__": "optuna.exceptions"})
    for error, given in (
        (ValueError("boom"), ()),
        (KeyboardInterrupt(), ()),
        (Pruned("at step 3"), Pruned),
        (optuna("worse than the median"), ()),
        (GeneratorExit(), ()),
        (SystemExit("no data"), ()),
        (SystemExit(True), ()),
        (SystemExit(-1), ()),
        (SystemExit(256), ()),
    ):
        with pytest.raises(type(error)):
            leave(error, given)

    assert [(run.state, run.reason) for run in runbus.runs()] == [
        (JobState.FAILED, "ValueError: boom"),
        (JobState.CANCELLED, "KeyboardInterrupt"),
        (JobState.CANCELLED, "Pruned: at step 3"),
        (JobState.CANCELLED, "TrialPruned: worse than the median"),
        (JobState.CANCELLED, "GeneratorExit"),
        (JobState.FAILED, "no data"),
        (JobState.FAILED, "exit code 1"),
        (JobState.FAILED, "exit code 255"),
        (JobState.SUCCEEDED, ""),
    ]


def test_a_reason_tells_no_secret_and_is_text() -> None:
    with pytest.raises(ValueError, match="cannot"), runbus.init():
        raise ValueError("cannot reach https://user:secret@host/ of \udce9")

    assert runbus.runs()[-1].reason == "ValueError: cannot reach https://***@host/ of ?"


@pytest.mark.parametrize("given", [3, "ValueError", (ValueError, int), [ValueError]])
def test_what_is_no_exception_cancels_nothing_and_leaves_no_folder(given: Any, home: Path) -> None:
    with pytest.raises(TypeError, match="cancelled_on"):
        runbus.init(cancelled_on=given)

    assert not home.exists()


def test_of_several_ranks_one_that_failed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    first = runbus.init()
    others = []
    for rank in ("1", "2"):
        monkeypatch.setenv("RANK", rank)
        others.append(runbus.init(id=first.id))
    others[0].close(1, "ValueError: boom")
    others[1].finish()
    first.finish()

    run = runbus.open_run(first.id)
    assert (run.state, run.reason) == (JobState.FAILED, "ValueError: boom")


def test_who_goes_on_with_a_failed_run_ends_it_anew() -> None:
    with pytest.raises(ZeroDivisionError), runbus.init() as run:
        raise ZeroDivisionError
    with runbus.init(id=run.id):
        assert runbus.open_run(run.id).state is JobState.RUNNING

    stored = runbus.open_run(run.id)
    assert (stored.state, stored.reason) == (JobState.SUCCEEDED, "")


def test_functions_of_atexit_log_before_the_end_whenever_they_were_registered() -> None:
    done = python(
        """
        import atexit
        atexit.register(lambda: run.log("first", 1.0))
        import runbus
        atexit.register(lambda: (run.log("second", 1.0), run.note("at the end")))
        run = runbus.init()
        run.note("at the start")
        atexit.register(lambda: run.log("third", 1.0))
        """
    )

    assert done.stderr == ""
    (run,) = runbus.runs()
    assert set(run.metric_names()) == {"first", "second", "third"}
    assert [note.text for note in run.notes] == ["at the start", "at the end"]
    assert run.state is JobState.SUCCEEDED


def test_at_exit_a_run_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    done = python(
        """
        import shutil, runbus
        first, second, third = (runbus.init(name=name) for name in "abc")
        for run in (first, second, third):
            run.note("n")
            run.log("loss", 1.0)
        shutil.rmtree(second.folder)
        raise ValueError("boom")
        """
    )

    assert "boom" in done.stderr
    assert [(run.name, run.state, run.reason) for run in runbus.runs()] == [
        ("a", JobState.FAILED, "ValueError: boom"),
        ("c", JobState.FAILED, "ValueError: boom"),
    ]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("ending", "state", "reason"),
    [
        ("pass", "SUCCEEDED", ""),
        ("raise ValueError('boom')", "FAILED", "ValueError: boom"),
        ("sys.exit(2)", "FAILED", "exit code 2"),
    ],
)
def test_a_run_made_in_a_child_of_multiprocessing_ends_as_the_child_does(
    method: str, ending: str, state: str, reason: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, sys, runbus

            def work():
                global run
                run = runbus.init()
                run.log("loss", 1.0)
                {ending}

            if __name__ == "__main__":
                process = multiprocessing.get_context("{method}").Process(target=work)
                process.start()
                process.join()
            """
        )
    )
    subprocess.run([sys.executable, str(script)], timeout=150, check=False, capture_output=True)

    (run,) = runbus.runs()
    assert (run.state, run.reason) == (state, reason)


def test_the_records_are_closed_before_the_metrics() -> None:
    """Who sees that a run has ended must find all that it kept."""
    with runbus.init() as run:
        run.note("n")
        run.log("loss", 1.0)

    ends = []
    for folder in ("records", "metrics"):
        (journal,) = (Path(run.folder) / folder).iterdir()
        # The final record: commit word, state, time.
        ends.append(struct.unpack("<q", journal.read_bytes()[-8:])[0])
    assert ends[0] < ends[1]


def test_a_signal_handler_that_exits_while_threads_log_ends_the_run() -> None:
    done = python(
        """
        import os, signal, sys, threading, runbus
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        run = runbus.init()

        def work():
            while True:
                run.log("loss", 1.0)

        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        os.kill(os.getpid(), signal.SIGTERM)
        """
    )

    assert (done.returncode, done.stderr) == (143, "")
    assert runbus.runs()[0].state is JobState.FAILED
