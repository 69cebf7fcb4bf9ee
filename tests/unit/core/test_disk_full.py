"""A full disk costs points, counted, and nothing else; when there is room again, they are kept."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from runbus._core import JournalReader, MetricReader, summarize

if TYPE_CHECKING:
    from pathlib import Path


def run_limited(path: Path, program: str) -> None:
    """Run `program` in a process of its own, whose files may not exceed 200,000 bytes at first."""
    prelude = """
        import resource, sys, time
        from runbus._core import Journal, MetricWriter
        from runbus.testing._waiting import wait_until
        path = sys.argv[1]
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        def give_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(program)
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=250)


def test_points_are_dropped_counted_and_accepted_again(tmp_path: Path) -> None:
    program = """
        writer = MetricWriter(path)
        for step in range(10_000):
            writer.log("x", 0.5, step)
        assert writer.accepted + writer.dropped == 10_000 and writer.dropped > 5_000, writer.dropped
        assert "File too large" in writer.last_error and path in writer.last_error
        give_room()
        full = writer.accepted
        wait_until(lambda: writer.log("x", 0.5, 20_000) or writer.accepted > full)
        dropped = writer.dropped
        for step in range(10_000):
            writer.log("x", 0.5, 30_000)
        assert (writer.accepted, writer.dropped) == (full + 10_001, dropped)
        writer.close()
        print(writer.accepted, file=open(path + ".count", "w"))
    """
    path = tmp_path / "journal"
    run_limited(path, program)

    reader = MetricReader(path)
    assert dict(summarize([[reader.path]]))["x"][0] == int((tmp_path / "journal.count").read_text())
    assert (reader.check(), reader.end_state) == ([], 0)


def test_what_is_lost_is_told_once_and_so_is_the_recovery(tmp_path: Path) -> None:
    program = """
        import logging
        told = []
        class Keep(logging.Handler):
            def emit(self, record):
                told.append(record.getMessage())
        logging.getLogger("runbus.metrics").addHandler(Keep())
        writer = MetricWriter(path, sync_ms=1)
        while not writer.dropped:
            writer.log("x", 0.5)
        wait_until(lambda: writer.log("x", 0.5) or len(told) == 1)
        give_room()
        wait_until(lambda: writer.log("x", 0.5) or len(told) == 2)
        for _ in range(200_000):
            writer.log("x", 0.5)
        lost, again = told
        assert lost.startswith(path) and "too large" in lost and "points are lost" in lost, lost
        assert again == f"{path}: points are kept again; {writer.dropped} were lost", again
    """
    run_limited(tmp_path / "journal", program)


def test_a_writer_closed_on_a_full_disk_keeps_what_it_accepted(tmp_path: Path) -> None:
    program = """
        writer = MetricWriter(path)
        while not writer.dropped:
            writer.log({"a": 1.0, "b": 2.0})
        writer.close(1)
        print(writer.accepted, file=open(path + ".count", "w"))
    """
    path = tmp_path / "journal"
    run_limited(path, program)

    reader = MetricReader(path)
    rows = dict(summarize([[reader.path]]))["a"][0]
    assert rows * 2 == int((tmp_path / "journal.count").read_text())
    assert reader.check() == []


def test_an_event_that_does_not_fit_raises_and_the_next_may_fit(tmp_path: Path) -> None:
    program = """
        journal = Journal(path)
        try:
            while True:
                journal.append(bytes(1000))
        except OSError as error:
            assert error.filename == path and error.errno
        give_room()
        def appends():
            try:
                journal.append(b"last")
            except OSError:
                return False
            return True
        wait_until(appends)
        journal.close()
    """
    path = tmp_path / "events"
    run_limited(path, program)

    reader = JournalReader(path)
    blobs = [blob for _, blob in reader.poll()]
    assert blobs[-1] == b"last"
    assert len(blobs) > 100
    assert reader.damage == []


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_file_system_never_kills(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, sys
        from runbus._core import MetricWriter, summarize
        folder = sys.argv[1]
        writer = MetricWriter(folder + "/journal")
        while not writer.dropped:
            writer.log("x", 0.5)
        assert "No space left" in writer.last_error, writer.last_error
        # The last pieces are small, so that nearly all of the disk is used.
        assert writer.accepted * 40 > 900_000, writer.accepted
        assert dict(summarize([[writer.path]]))["x"][0] == writer.accepted
        writer.close()
    """)
    mount = 'mount -t tmpfs -o size=1M none "$1" || exit 77; shift; exec "$@"'
    inside = [sys.executable, "-c", program, str(tmp_path)]
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh", str(tmp_path)]
    result = subprocess.run([*command, *inside], capture_output=True, text=True, timeout=120)
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
