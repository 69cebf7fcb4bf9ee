"""Every text record of a home, cut, flipped, spliced or replaced: refused, or the truth."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus._files import add_check
from runbus._home import Home
from runbus._lines import LineFile, read_lines
from runbus.abc import JobSpec
from runbus.attempt import observe_folder
from runbus.attempt._marks import read_marks
from runbus.bus import SpillFile
from runbus.errors import RunbusError
from runbus.events import Stream
from runbus.executors._placement import read_placement
from runbus.jobs import Asked, CancelRequest, ask_to_cancel, read_requests
from runbus.kernel import read_trace
from runbus.metrics import RunInfo
from runbus.supervisor._positions import Positions


class Spilled(Stream, frozen=True, tag="test.fuzzed_record"):
    number: int


class Target(NamedTuple):
    """A record: its file below a folder, what writes it, what reads it, and what has a check."""

    file: str
    write: Callable[[str], object]
    read: Callable[[str], object]
    is_checked: bool = True


def write_run(folder: str) -> None:
    RunInfo.new(os.path.basename(folder), "n", "p", {"lr": 0.1, "tags": ["a"]}, "j").write(folder)


def write_experiment(folder: str) -> None:
    job = JobSpec(
        experiment_id="e", name="j", run_id="e-1", executor="local", argv=("true",),
        env={"A": "1"}, cwd="/", folder=f"{folder}/jobs/1", run_folder=f"{folder}/runs/e-1",
    )  # fmt: skip
    about: Any = {"id": os.path.basename(folder), "project": "p", "created_ns": 1}
    Asked(**about, max_parallel=1, jobs=[job]).write(folder)


def write_trace(folder: str) -> None:
    event = b'{"at":"intent","seq":%d,"event":{"type":"a.b","text":"x"}}'
    with LineFile(f"{folder}/trace.jsonl") as file:
        file.append([b'{"at":"begin"}', event % 1, b'{"at":"outcome","seq":1,"status":"ok"}'])
        file.append([event % 2])


def write_spill(folder: str) -> None:
    spill = SpillFile(f"{folder}/a.spill")
    for number in range(3):
        spill(Spilled(number))
    spill.close()


def noted(folder: str) -> None:
    Path(folder, "home", "experiments").mkdir(parents=True)
    Home(f"{folder}/home").note_open(f"{folder}/home/experiments")


def read_open(folder: str) -> list[str]:
    return Home(f"{folder}/home").open_experiments()


def put(file: str, text: str) -> Callable[[str], object]:
    return lambda folder: Path(folder, file).write_text(text)


EXIT = '{"status":0,"signal":null,"reason":"","uptime":3.5,"user":"0m1s","sys":"0m0s"}\n'
PID = '{"pid":1,"start":2,"boot":"b","host":"h","uptime":1.5}\n'
PLACEMENT = '{"host":"h","folder":"/a","run_folder":"/b","local_run_folder":"c"}'
MARK = f"{1:019d} {2:016d} {3:016d}\n"
TARGETS = {
    "run.json": Target("run.json", write_run, RunInfo.read),
    "experiment.json": Target("experiment.json", write_experiment, Asked.read),
    "exit.json": Target("exit.json", put("exit.json", EXIT), observe_folder, False),
    "pid.json": Target("pid.json", put("pid.json", PID), observe_folder, False),
    "cursor": Target("cursor", put("cursor", MARK * 3), read_marks, False),
    "metrics.cursor": Target(
        "metrics.cursor",
        lambda folder: Positions(folder, "metrics", lambda: None).note(
            {"a.journal": 64, "b.journal": 1 << 40}
        ),
        lambda folder: Positions(folder, "metrics", lambda: None).last,
    ),
    "placement.json": Target(
        "placement.json",
        put(
            "placement.json", '{"host":"h","folder":"/a","run_folder":"/b","local_run_folder":"c"}'
        ),
        read_placement,
        False,
    ),
    "trace.jsonl": Target(
        "trace.jsonl", write_trace, lambda folder: read_trace(f"{folder}/trace.jsonl"), False
    ),
    "spill": Target(
        "a.spill", write_spill, lambda folder: list(SpillFile(f"{folder}/a.spill").take()), False
    ),
    "open": Target("home/open/experiments", noted, read_open, False),
}


@st.composite
def harm(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return what may have become of a file."""
    kind = draw(st.sampled_from(["anything", "flip", "cut", "insert", "splice", "digits", "deep"]))
    at = draw(st.integers(0, len(whole)))
    if kind == "anything":
        return draw(st.binary(max_size=300))
    if kind == "flip":
        flipped = bytearray(whole)
        if at < len(whole):
            flipped[at] ^= 1 << draw(st.integers(0, 7))
        return bytes(flipped)
    if kind == "cut":
        return whole[:at]
    if kind == "insert":
        return whole[:at] + draw(st.binary(max_size=20)) + whole[at:]
    if kind == "splice":
        return whole[:at] + whole[draw(st.integers(0, len(whole))) :]
    if kind == "digits":
        return whole[:at] + b"9" * 5000 + whole[at:]
    return whole[:at] + b"[" * 3000 + whole[at:]


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_a_harmed_record_is_refused_or_says_what_it_said(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    target = TARGETS[name]
    folder = str(tmp_path_factory.mktemp("fuzz") / "e")
    os.mkdir(folder)
    target.write(folder)
    path = Path(folder, target.file)
    whole, said = path.read_bytes(), target.read(folder)
    path.write_bytes(data.draw(harm(whole)))

    try:
        found = target.read(folder)
    except RunbusError:
        return
    if target.is_checked:
        assert found in (said, {})  # a cursor that cannot be read begins at the start


@pytest.mark.parametrize("name", ["run.json", "experiment.json"])
@given(data=st.data())
def test_a_record_of_somebody_else_with_a_check_that_fits_is_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    target = TARGETS[name]
    folder = str(tmp_path_factory.mktemp("fuzz") / "e")
    os.mkdir(folder)
    target.write(folder)
    path = Path(folder, target.file)
    harmed = data.draw(harm(path.read_bytes()))
    path.write_bytes(add_check(harmed))

    try:
        found = target.read(folder)
    except RunbusError:
        return
    assert found == target.read(folder)


@given(st.lists(st.binary(max_size=30)), st.binary(max_size=60))
def test_lines_that_are_appended_to_anything_are_read_or_the_file_is_left_alone(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], before: bytes
) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(before)
    lines = [b'{"n":%d}' % number for number, _ in enumerate(texts)]
    try:
        with LineFile(path) as file:
            file.append(lines)
    except RunbusError:
        assert path.read_bytes() == before
        return
    try:
        assert list(read_lines(path)) == lines
    except RunbusError:
        assert not lines


def test_a_request_to_cancel_that_is_harmed_is_put_aside(tmp_path: Path) -> None:
    request = CancelRequest(job="a", reason="r", grace_s=1.0)
    ask_to_cancel(str(tmp_path), request)
    ask_to_cancel(str(tmp_path), request)
    one, other = sorted((tmp_path / "requests").iterdir())
    one.write_bytes(b"[" * 100_000)

    assert read_requests(str(tmp_path)) == {str(other): request}
    assert read_requests(str(tmp_path), put_aside=True) == {str(other): request}
    assert one.with_name(f"{one.name}.unreadable").exists()
