"""What the command line says to somebody who did not mean what they wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runbus
from runbus.catalog import query
from runbus.cli import _launch
from runbus.cli._app import run_command
from runbus.config import load_batch
from runbus.config._spans import with_numbers, with_text
from runbus.errors import QueryInvalid
from runbus.jobs import read_jobs
from runbus.testing._waiting import wait_until

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    run_command(list(words))
    return capsys.readouterr().err


def batch(folder: Path, **job: Any) -> str:
    path = folder / "b.json"
    path.write_text(json.dumps({"project": "p", "jobs": [{"name": "a", **job}]}))
    return str(path)


def test_a_command_in_one_line_is_answered_with_the_list_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = said(capsys, "submit", batch(tmp_path, command="echo 'a b' c"))

    assert 'a command is a list of words: ["echo", "a b", "c"]' in words
    assert "Expected" not in words
    assert words.count("jobs[0].command") == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5 h", 5400), ("1d", 86400), ("2min", 120)]
)
def test_spans_of_time_may_have_a_unit(text: str, seconds: int, tmp_path: Path) -> None:
    path = batch(tmp_path, command=["true"], timeout=text, idle_timeout=text, backoff=text)

    (job,) = load_batch(path).jobs
    assert (job.timeouts.run_s, job.timeouts.idle_s) == (seconds, seconds)
    assert job.retry.backoff_s == seconds


@pytest.mark.parametrize("text", ["5x", "m", "-5m", "", "5m5", "0.5s"])
def test_what_is_no_span_of_time_is_refused_at_its_place(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "jobs[0].timeout" in said(capsys, "submit", batch(tmp_path, command=["a"], timeout=text))


@given(
    st.dictionaries(
        st.sampled_from(["jobs", "executor", "timeout", "backoff", "artifact_size"]),
        st.none() | st.integers() | st.text() | st.lists(st.text()),
    )
)
def test_anything_else_of_a_job_stays_as_it_is(data: dict[str, Any]) -> None:
    found = with_numbers(data)

    assert with_numbers(found) == found
    changed = [key for key in data if found[key] is not data[key]]
    numbers = ("timeout", "backoff", "artifact_size")
    assert all(key in numbers and isinstance(data[key], str) for key in changed)


def test_the_schema_takes_a_number_or_a_text() -> None:
    schema = with_text({"type": "integer", "description": "d", "default": None})

    assert [one["type"] for one in schema["anyOf"]] == ["integer", "string"]
    assert (schema["description"], schema["default"]) == ("d", None)


def test_several_statements_and_none_are_refused_and_a_message_is_whole() -> None:
    runbus.init().finish()
    for sql, count in (("SELECT 1; SELECT 2", "are 2 statements"), ("", "is no "), (";", "is no ")):
        with pytest.raises(QueryInvalid, match=f"there {count}"):
            query(sql)
    with pytest.raises(QueryInvalid) as raised:
        query("SELECT nam FROM runs")
    assert "Candidate bindings" in str(raised.value)
    assert "LINE 1" in str(raised.value)


@pytest.mark.parametrize(
    "words", [["ls"], ["ls", "--batches"], ["seal", "--all"], ["query", "SELECT 1"]]
)
def test_a_project_that_is_none_is_answered_with_the_one_that_was_meant(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    runbus.init(project="digits").finish()

    assert "did you mean the project 'digits'" in said(capsys, *words, "--project", "digit")


def test_ctrl_c_in_attach_and_cancel_says_what_happens_to_the_jobs(tmp_path: Path) -> None:
    # It ends neither by TERM nor by itself.
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    path = batch(tmp_path, command=["sh", "-c", stubborn])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([RUNBUS, "submit", path], **pipes) as leader:  # type: ignore[call-overload]
        assert leader.stderr is not None
        assert any("ready" in line for line in leader.stderr)
        (run,) = runbus.runs()
        name = os.path.basename(run.experiment_folder)
        try:
            with subprocess.Popen([RUNBUS, "attach"], **pipes) as attach:  # type: ignore[call-overload]
                _interrupt_when(attach, lambda: _has_children_or_threads(attach.pid))
                assert f"the jobs continue: runbus cancel {name} ends them" in attach.stderr.read()
            asking = [RUNBUS, "cancel", "--grace", "60", name]
            with subprocess.Popen(asking, **pipes) as cancel:  # type: ignore[call-overload]
                _interrupt_when(cancel, lambda: read_jobs(run.experiment_folder)["a"].cancelling)
                assert "the end of the jobs stays requested" in cancel.stderr.read()
        finally:
            subprocess.run([RUNBUS, "cancel", "--grace", "0", name], check=True, timeout=120)


def test_ctrl_c_before_the_request_of_a_cancel_says_that_the_jobs_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = batch(tmp_path, command=["true"])
    subprocess.run([RUNBUS, "submit", path], check=True, capture_output=True, timeout=120)
    (run,) = runbus.runs()

    def at_the_loop(frame: FrameType, _event: str, _arg: object) -> None:
        if frame.f_code is anyio.run.__code__:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(at_the_loop)
    with pytest.raises(KeyboardInterrupt):
        _launch.cancel(run.experiment_folder, None, 0)

    name = os.path.basename(run.experiment_folder)
    assert capsys.readouterr().err == f"nothing was requested: the jobs of {name} continue\n"


def _has_children_or_threads(pid: int) -> bool:
    """Whether a process has begun its loop: it has a thread that writes standard error."""
    return len(os.listdir(f"/proc/{pid}/task")) > 2


def _interrupt_when(process: subprocess.Popen[str], question: Any) -> None:
    wait_until(lambda: question() or process.poll() is not None)
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--where", "state=faild"], "there is no state 'faild'; did you mean FAILED"),
        (["--where", "state!=x"], "did you mean INTENT, PENDING"),
        (["--columns", "name,config"], "metric 'config'; fields are id, name, project, state"),
    ],
)
def test_ls_names_what_it_knows_where_a_word_is_not_of_it(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runbus.init(name="r").finish()

    assert run_command(["ls", *words]) == 2
    assert told in capsys.readouterr().err
    assert run_command(["ls", "--where", "state=SUCCEEDED"]) == 0


def test_logs_of_a_run_that_runbus_did_not_start_say_whose_output_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "train.py"
    script.write_text("import runbus\nrunbus.init().finish()\n")
    subprocess.run([sys.executable, str(script)], check=True)

    assert run_command(["logs", "latest"]) == 2
    told = capsys.readouterr().err
    assert "was not started by runbus, which keeps the output of its own jobs only" in told
    assert f"hint: runbus run {script} keeps it" in told
