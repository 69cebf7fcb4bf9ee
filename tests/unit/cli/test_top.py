"""`runbus top`: what a machine and the runs on it do, on a terminal and elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runbus
from runbus._ids import short_id
from runbus.cli._app import run_command
from runbus.cli._screen import width_of
from runbus.cli._top import SORTS, Look, SampledRun, picture
from runbus.metrics import HeavyProcess
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MACHINE = {
    "cpu/util": 37.5, "cpu/iowait": 1.0, "cpu0/util": 50.0, "cpu1/util": 25.0, "load": 3.14,
    "uptime": 7260.0, "mem/total": 64e9, "mem/used": 16e9, "disk/used": 90.0, "disk/free": 10e9,
    "net/recv": 1e6, "net/sent": 2e6, "gpu0/util": 80.0, "gpu0/mem/used": 40e9,
    "gpu0/mem/total": 80e9, "gpu0/power": 312.0, "gpu0/temp": 61.0, "gpu1/lost": 1.0,
}  # fmt: skip
PROCESSES = [
    HeavyProcess(10, "python", 99.0, 2_000_000_000, is_own=True),
    HeavyProcess(7, "cc1", 12.0, 9_000_000_000, is_own=False),
]
RUNS = [
    SampledRun("20261129-100000-k3x9qd-1", "train", {
        "sys/job/cpu": 150.0, "sys/job/rss": 3e9, "sys/gpu0/util": 20.0, "sys/gpu1/util": 40.0,
        "sys/node1/job/cpu": 5.0, "sys/node1/job/rss": 4e9,
    }),
    SampledRun("20261129-100000-aaaaaa-1", "quiet", {}),
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))


def drawn(sort: str = "cpu", columns: int = 80, rows: int = 24) -> list[str]:
    look = Look(MACHINE, PROCESSES, RUNS, 1_700_000_000_000_000_000)
    return picture(look, columns, rows, sort=sort, foot="q quit")


def test_a_terminal_of_80_by_24_has_the_machine_its_gpus_runs_and_processes() -> None:
    lines = drawn()
    text = "\n".join(lines)
    assert "2 cores  load 3.14  up 2 h" in lines[0]
    for part in (
        "cpu   [||||||||            ]  37.5 %",
        "mem   [|||||               ]  25.0 %  16 GB of 64 GB",
        "gpu0  [||||||||||||||||    ]  80.0 %  40 GB of 80 GB  312 W  61 °C",
        "gpu1  lost",
    ):
        assert part in text
    rows = [line.split() for line in lines]
    assert [short_id(RUNS[0].id), "train", "150.0", "%", "3", "GB", "30.0", "%"] in rows
    assert [short_id(RUNS[0].id), "train", "node1", "5.0", "%", "4", "GB", "-"] in rows
    assert [short_id(RUNS[1].id), "quiet", "-", "-", "-"] in rows
    assert ["10", "99.0", "%", "2", "GB", "python"] in rows
    assert lines[-1] == "q quit"


@pytest.mark.parametrize(("sort", "first"), [("cpu", "python"), ("memory", "cc1"), ("name", "cc1")])
def test_processes_are_sorted_as_asked(sort: str, first: str) -> None:
    lines = drawn(sort)
    at = next(place for place, line in enumerate(lines) if line.lstrip().startswith("pid"))
    assert lines[at + 1].endswith(first)


numbers = st.floats(allow_nan=True, allow_infinity=True)
others = ["gpu15/util", "gpu7/mem/total", "cgroup/mem", "cgroup/mem_limit"]
names = st.sampled_from([*MACHINE, *others])
texts = st.text(max_size=60)
samples = st.dictionaries(texts.map(lambda text: f"sys/{text}"), numbers)
some_runs = st.lists(st.builds(SampledRun, texts, texts, samples), max_size=5)


@settings(max_examples=50)
@given(
    st.dictionaries(names, numbers), some_runs, st.sampled_from(SORTS), st.integers(1, 200),
    st.integers(1, 60),
)  # fmt: skip
def test_no_line_is_wider_and_no_picture_higher_than_the_terminal(
    values: dict[str, float], runs: list[SampledRun], sort: str, columns: int, rows: int
) -> None:
    lines = picture(Look(values, PROCESSES, runs, 0), columns, rows, sort=sort, foot="q quit")
    assert len(lines) <= rows
    assert all(width_of(line) <= columns for line in lines)
    assert not any(letter < " " or "\x7f" <= letter < "\xa0" for line in lines for letter in line)


def test_elsewhere_than_on_a_terminal_it_is_printed_once(
    home: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with runbus.init(name="going-on"):
        assert run_command(["top"]) == 0
        shown = capsys.readouterr().out
        assert run_command(["top", "--json"]) == 0
    assert "going-on" in shown
    assert "\x1b" not in shown
    told = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in told["runs"]] == ["going-on"]
    assert 0 <= told["machine"]["cpu/util"] <= 100
    assert any(one["pid"] == os.getpid() for one in told["processes"]) or told["processes"]


class Terminal:
    """A program on a terminal of 80 by 24."""

    def __init__(self, *words: str) -> None:
        self.file, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(child)
        self.shown = ""
        self.child = child
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runbus.cli", *words],
            stdin=child, stdout=child, stderr=child, start_new_session=True,
        )  # fmt: skip

    def wait_until(self, holds: Callable[[str], bool]) -> None:
        def shows() -> bool:
            if select.select([self.file], [], [], 0)[0]:
                self.shown += os.read(self.file, 65536).decode("utf-8", "replace")
            return holds(self.shown)

        wait_until(shows)

    def type(self, keys: str) -> None:
        os.write(self.file, keys.encode())


@pytest.fixture
def terminal(home: None) -> Iterator[Terminal]:
    one = Terminal("top", "--every", "0.25")
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(120)
        os.close(one.file)
        os.close(one.child)


def test_keys_sort_pause_and_quit_and_the_terminal_is_as_before(terminal: Terminal) -> None:
    terminal.wait_until(lambda shown: "sort by cpu" in shown)
    terminal.type("s")
    terminal.wait_until(lambda shown: "sort by memory" in shown)
    terminal.type("p-")
    terminal.wait_until(lambda shown: "every 0.5 s  paused" in shown)
    terminal.type("q")
    terminal.wait_until(lambda shown: shown.endswith("\x1b[?1049l"))
    assert terminal.process.wait(120) == 0
    assert termios.tcgetattr(terminal.child) == terminal.before


def test_a_top_that_is_ended_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.wait_until(lambda shown: "sort by cpu" in shown)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.wait_until(lambda shown: "\x1b[?1049l" in shown)
    terminal.process.wait(120)
    assert termios.tcgetattr(terminal.child) == terminal.before
