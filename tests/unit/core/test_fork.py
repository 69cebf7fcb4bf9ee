"""A forked child never touches its parent's journals."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

from runbus._core import Journal, JournalReader, MetricReader, MetricWriter, summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkContext
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def in_child(work: Callable[[], bool]) -> None:
    """Run `work` in a forked child; it must return true and the child exit cleanly."""
    context: ForkContext = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(work()))
    child.start()
    sender.close()
    assert receiver.recv() is True
    child.join(120)
    assert child.exitcode == 0


def test_a_child_counts_what_it_logs_as_dropped_and_writes_nothing(tmp_path: Path) -> None:
    writer = MetricWriter(tmp_path / "journal")
    series = writer.series("x")
    writer.log("x", 1.0)
    before = (tmp_path / "journal").read_bytes()

    def work() -> bool:
        for _ in range(10_000):
            writer.log("x", 2.0)
        writer.log({"x": 2.0, "new": 3.0})
        series.append(2.0)
        writer.sync()
        counts = (writer.accepted, writer.dropped)
        writer.close(1)
        return counts == (1, 10_003) and writer.closed

    in_child(work)

    assert (tmp_path / "journal").read_bytes() == before
    writer.log("x", 4.0)
    assert dict(summarize([[writer.path]]))["x"][:3] == (2, 1, 4.0)
    assert (writer.accepted, writer.dropped) == (2, 0)


@pytest.mark.parametrize("way", ["log", "dict", "keywords", "append", "group", "extend"])
def test_a_child_is_told_once_that_what_it_logs_is_lost(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = MetricWriter(tmp_path / "journal")
    series, group = writer.series("x"), writer.group("x", "y")
    ways: dict[str, Callable[[], None]] = {
        "log": lambda: writer.log("x", 1.0),
        "dict": lambda: writer.log({"x": 1.0, "y": 2.0}),
        "keywords": lambda: writer.log(x=1.0, y=2.0),
        "append": lambda: series.append(1.0),
        "group": lambda: group.log(1, 1.0, 2.0),
        "extend": lambda: series.extend([1.0]),
    }
    log = ways[way]
    log()

    def work() -> bool:
        caplog.clear()
        for _ in range(3):
            log()
        told = [record.getMessage() for record in caplog.records]
        return len(told) == 1 and f"process {os.getpid()} was forked" in told[0]

    in_child(work)


def test_a_child_may_open_a_journal_of_its_own(tmp_path: Path) -> None:
    parent = MetricWriter(tmp_path / "parent")

    def work() -> bool:
        own = MetricWriter(tmp_path / "child")
        own.log("x", 1.0)
        parent.log("x", 1.0)
        own.close()
        return own.accepted == 1

    in_child(work)

    assert dict(summarize([[tmp_path / "child"]]))["x"][0] == 1
    assert dict(summarize([[tmp_path / "parent"]])) == {}


def test_an_event_is_refused_in_a_child_rather_than_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events")

    def work() -> bool:
        with pytest.raises(RuntimeError, match="forked child"):
            journal.append(b"child")
        journal.close()
        return True

    in_child(work)

    offset = journal.append(b"parent")
    assert JournalReader(tmp_path / "events").poll() == [(offset, b"parent")]


def test_a_child_that_outlives_its_parent_does_not_make_the_journal_live(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    wake_read, wake_write = os.pipe()
    parent = os.fork()
    if parent == 0:
        writer = MetricWriter(path)
        writer.log("x", 1.0)
        if os.fork() == 0:
            os.read(wake_read, 1)
        os._exit(0)
    assert os.waitpid(parent, 0)[1] == 0

    assert not MetricReader(path).is_live
    os.write(wake_write, b"!")
    os.close(wake_write)
    os.close(wake_read)
