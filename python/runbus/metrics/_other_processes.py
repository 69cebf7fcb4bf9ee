"""Writers of a run in processes that did not make it: pool workers and forked children.

A helper has no journal until it logs, and lets go of it when the run has ended or when others were
used more recently: a worker that is handed one run after another holds few files open.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import RLock  # as the records do: threading is no small module
from typing import TYPE_CHECKING

from runbus._core import MetricWriter
from runbus.errors import os_reason
from runbus.metrics._folder import has_ended, journal_of, new_writer
from runbus.metrics._records import RecordWriter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SharedWriter", "arrive", "finish_with_process", "helper_of", "let_go_of_ended"]

_MOST_OPEN = 16
"""How many runs a process that did not make them holds open."""
_RETRY_S = 0.1

_open: dict[str, SharedWriter] = {}
"""By folder, least recently used first. Only pickles may hold one: the next finds the same."""
_lock = RLock()
"""Held while journals are opened: what several threads log at first must not be dropped."""
_finalized_pid = 0


class SharedWriter(MetricWriter):
    """A writer that goes along to other processes, where it has no journal until it logs.

    Attributes:
        folder: The run's folder.
    """

    __slots__ = ("_is_helper", "_own_records", "_retry_at", "_told", "folder")

    folder: str
    _is_helper: bool
    _own_records: RecordWriter
    _retry_at: float
    _told: bool


def helper_of(folder: str) -> SharedWriter | None:
    """Return the helper that this process has open for a run; it counts as used now."""
    with _lock:
        if run := _open.pop(folder, None):
            _open[folder] = run
        return run


def let_go_of_ended() -> None:
    """Close the journals of runs that have ended or are gone."""
    with _lock:
        for folder in [folder for folder in _open if has_ended(folder)]:
            _let_go(_open.pop(folder))


def arrive(run: SharedWriter, finish: Callable[[], None]) -> None:
    """Open journals of this process for a run that another one made, unless that has ended.

    Never raises: what is logged without a journal is dropped and counted, and reported once.

    Args:
        run: The run.
        finish: What ends all runs of this process, should it be a child of multiprocessing.
    """
    with _lock:
        if not run.is_open and time.monotonic() >= run._retry_at:
            _open_journals(run, finish)


def _open_journals(run: SharedWriter, finish: Callable[[], None]) -> None:
    run._retry_at = time.monotonic() + _RETRY_S
    if has_ended(run.folder):
        _tell(run, "the run has ended or is gone, and what this process logs to it is lost")
        return
    writer = new_writer(run.folder, is_helper=True)
    # First: once it is open, other threads do not wait for this one.
    before, run._own_records = run._own_records, RecordWriter(run.folder, writer)
    try:
        MetricWriter.open_journal(run, journal_of(run.folder, writer))
    except OSError as error:
        run._own_records = before
        _tell(run, f"what this process logs is lost: {os_reason(error)}")
        return
    run._retry_at = 0.0  # a child that is forked within the moment opens its own at once
    run._told = False
    run._is_helper = True
    _open[run.folder] = run
    while len(_open) > _MOST_OPEN:
        _let_go(_open.pop(next(iter(_open))))
    if "multiprocessing.util" in sys.modules:
        finish_with_process(finish)


def finish_with_process(finish: Callable[[], None]) -> None:
    """Have `finish` called when a child of multiprocessing ends: it leaves without `atexit`."""
    global _finalized_pid
    from multiprocessing.process import parent_process
    from multiprocessing.util import Finalize

    if parent_process() is not None and _finalized_pid != os.getpid():
        _finalized_pid = os.getpid()
        Finalize(None, finish, exitpriority=0)


def _let_go(run: SharedWriter) -> None:
    run._own_records.close()
    run._own_records = RecordWriter(run.folder, None, lost=run._own_records.lost)
    run._retry_at = 0.0
    try:
        MetricWriter.let_go(run)
    except OSError as error:
        run._own_records.warn(f"what was logged may not be on the disk: {error}")


def _tell(run: SharedWriter, message: str) -> None:
    if not run._told:
        run._told = True
        run._own_records.warn(f"process {os.getpid()}: {message}")


def _forget_those_of_parent() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held the other one
    _open.clear()


os.register_at_fork(after_in_child=_forget_those_of_parent)
