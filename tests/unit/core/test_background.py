"""What runs beside a writer: when it comes, what it does, and that it goes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from runbus._core import MetricReader, MetricWriter, summarize

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = textwrap.dedent("""
    import logging, os, signal, sys, time
    from runbus._core import MetricWriter
    from runbus.testing._waiting import wait_until
    folder = sys.argv[1]

    def threads():
        names = []
        for task in os.listdir("/proc/self/task"):
            try:
                names.append(open(f"/proc/self/task/{task}/comm").read().strip())
            except OSError:
                pass
        return sorted(name for name in names if name.startswith("runbus-"))
""")


def run_alone(tmp_path: Path, program: str) -> None:
    """Run `program` in a process without other writers."""
    code = PRELUDE + textwrap.dedent(program)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_come_with_the_first_writer_and_go_with_the_last(tmp_path: Path) -> None:
    run_alone(
        tmp_path,
        """
        assert threads() == []
        first = MetricWriter(folder + "/a", sync_ms=None)
        wait_until(lambda: threads() == ["runbus-pages"])
        second = MetricWriter(folder + "/b")
        wait_until(lambda: threads() == ["runbus-pages", "runbus-sync"])
        first.close()
        second.close()
        wait_until(lambda: threads() == [])
        third = MetricWriter(folder + "/c")
        wait_until(lambda: threads() == ["runbus-pages", "runbus-sync"])
        del third
        wait_until(lambda: threads() == [])
        """,
    )


def test_a_forked_child_that_opens_a_writer_gets_threads_of_its_own(tmp_path: Path) -> None:
    run_alone(
        tmp_path,
        """
        parent = MetricWriter(folder + "/parent")
        wait_until(lambda: len(threads()) == 2)
        child = os.fork()
        if child == 0:
            assert threads() == []
            own = MetricWriter(folder + "/child")
            wait_until(lambda: len(threads()) == 2)
            logging.disable()  # What goes to the parent's writer is lost, as the child is told.
            for step in range(200_000):
                own.log("x", 1.0, step)
                parent.log("x", 1.0, step)
            own.close()
            os._exit(0)
        for step in range(200_000):
            parent.log("x", 1.0, step)
        assert os.waitpid(child, 0)[1] == 0
        """,
    )

    for name in ("parent", "child"):
        assert dict(summarize([[tmp_path / name]]))["x"][0] == 200_000


def test_signals_reach_the_threads_that_expect_them(tmp_path: Path) -> None:
    run_alone(
        tmp_path,
        """
        writer = MetricWriter(folder + "/a", sync_ms=1)
        wait_until(lambda: len(threads()) == 2)
        caught = []
        signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
        masks = {}
        for task in os.listdir("/proc/self/task"):
            name = open(f"/proc/self/task/{task}/comm").read().strip()
            status = open(f"/proc/self/task/{task}/status").read()
            masks[name] = int(status.split("SigBlk:")[1].split()[0], 16)
        assert all(mask >> (signal.SIGUSR1 - 1) & 1 for name, mask in masks.items()
                   if name.startswith("runbus-")), masks
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(lambda: caught)
        """,
    )


def test_a_fast_loop_grows_through_many_pieces_without_loss(tmp_path: Path) -> None:
    writer = MetricWriter(tmp_path / "journal", sync_ms=1)
    row = {f"m{index}": float(index) for index in range(100)}
    for step in range(30_000):
        writer.log(row, step=step)

    assert os.path.getsize(writer.path) > 24 << 20
    reader = MetricReader(writer.path)
    assert dict(summarize([[reader.path]]))["m99"][:3] == (30_000, 29_999, 99.0)
    assert reader.damage == []
    writer.close()
    assert os.path.getsize(writer.path) == pytest.approx(30_000 * 832, rel=0.01)


@pytest.mark.parametrize("sync_ms", [0, -1, 0.5, "1"])
def test_a_wrong_sync_ms_raises(tmp_path: Path, sync_ms: Any) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        MetricWriter(tmp_path / "journal", sync_ms=sync_ms)
    assert not (tmp_path / "journal").exists()


def test_a_process_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    run_alone(
        tmp_path,
        """
        writer = MetricWriter(folder + "/a", sync_ms=1)
        for step in range(100_000):
            writer.log("x", 1.0, step)
        """,
    )
    assert dict(summarize([[tmp_path / "a"]]))["x"][0] == 100_000
