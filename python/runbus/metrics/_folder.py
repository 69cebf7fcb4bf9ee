"""A run's folder: its journals, one per writer."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from runbus._core import MetricReader, about_segment, is_outdated
from runbus._files import make_folder
from runbus.errors import FileUnreadable, os_reason
from runbus.metrics._rank import attempt, rank

if TYPE_CHECKING:
    from runbus.metrics._info import RunInfo

__all__ = [
    "SegmentInfo",
    "attempt_of",
    "has_ended",
    "has_metrics",
    "is_helper",
    "is_sampler",
    "journal_of",
    "journals_of",
    "make_run_folder",
    "new_journal",
    "new_writer",
    "outdated_journals",
    "rank_of",
    "size_or_zero",
    "writer_of",
    "writers_of",
]

_METRICS = "metrics"
_SUFFIX = ".journal"
_SEGMENT_SUFFIX = ".parquet"
_HELPER = "-h"
_SAMPLER = "-s"


class SegmentInfo(NamedTuple):
    """What a segment tells of the journal that it was made from: `about_segment`."""

    end_state: int | None
    writer_pid: int
    created_ns: int
    damage: list[tuple[int, int]]
    segments: int
    is_older: bool


def make_run_folder(experiment: str, info: RunInfo) -> str:
    """Make a run's folder inside an experiment's and return it.

    Args:
        experiment: The experiment's folder.
        info: What the run is.
    """
    folder = os.path.join(experiment, "runs", info.id)
    make_folder(folder)
    info.write(folder)
    return folder


def new_journal(folder: str, *, is_helper: bool = False, is_sampler: bool = False) -> str:
    """Return the path of this writer's own journal: no two writers ever share a file.

    Raises:
        OSError: See `journal_of`.
    """
    return journal_of(folder, new_writer(folder, is_helper=is_helper, is_sampler=is_sampler))


def new_writer(folder: str, *, is_helper: bool = False, is_sampler: bool = False) -> str:
    """Return the name of a writer of a run, which no other has.

    The attempt of the run's job is part of it, the rank that a launcher gave to the process, and
    whether it is a helper, as every sampler is.
    """
    numbers = (("a", attempt(folder)), ("r", rank()))
    which = "".join(f"-{kind}{number}" for kind, number in numbers if number is not None)
    which += _SAMPLER if is_sampler else ""
    which += _HELPER if is_helper or is_sampler else ""
    return f"{time.time_ns():016x}-{os.getpid()}{which}"


def journal_of(folder: str, writer: str) -> str:
    """Return the path of a writer's journal; the folder of the run's metrics is made for its first.

    Raises:
        OSError: It cannot be made, as where the run was removed.
    """
    metrics = os.path.join(folder, _METRICS)
    try:
        make_folder(metrics)
    except FileExistsError:
        pass
    return os.path.join(metrics, writer + _SUFFIX)


def is_helper(writer: str) -> bool:
    """Whether a writer got the run from another process: how it ended is not how the run did."""
    return writer.endswith(_HELPER)


def is_sampler(writer: str) -> bool:
    """Whether a writer is the sampler of a machine."""
    return writer.endswith(_SAMPLER + _HELPER)


def rank_of(writer: str) -> int | None:
    """Return the rank that a launcher gave to a writer; None if none did."""
    return _number_of(writer, "r")


def attempt_of(writer: str) -> int:
    """Return the attempt of a job that a writer was part of; 0 if its name does not say."""
    return _number_of(writer, "a") or 0


def _number_of(writer: str, kind: str) -> int | None:
    for part in writer.split("-")[2:]:
        number = part[1:]
        if part.startswith(kind) and number.isascii() and number.isdecimal():
            return int(number)
    return None


def has_ended(folder: str) -> bool:
    """Whether those that made or resumed a run have ended it, or it was removed."""
    makers = [paths for writer, paths in writers_of(folder).items() if not is_helper(writer)]
    if not makers:
        return not os.path.isdir(folder)
    try:
        readers = [MetricReader(paths[0]) for paths in makers if _is_journal(paths[0])]
        if any(reader.is_live for reader in readers):
            return False
        if _is_journal(makers[-1][0]):
            return readers[-1].end_state is not None
        return about_segment(makers[-1][0])[0] is not None
    except (OSError, ValueError):
        return False  # as it seems; reading it tells what is wrong


def has_metrics(folder: str, attempt: int) -> bool:
    """Whether a process has begun to log to a job's run, in this attempt or one before."""
    try:
        # Most that are asked about have not.
        if not _listed(os.path.join(folder, _METRICS)):
            return False
        return any(attempt_of(writer) <= attempt for writer in writers_of(folder))
    except (FileUnreadable, OSError):
        return True  # as it seems; following it tells what is wrong


def journals_of(folder: str) -> list[str]:
    """Return the paths of a run's journals, oldest first."""
    metrics = os.path.join(folder, _METRICS)
    return [os.path.join(metrics, name) for name in _listed(metrics) if name.endswith(_SUFFIX)]


def writer_of(journal: str) -> str:
    """Return the name of the writer of a journal; unique within the run."""
    return os.path.basename(journal).removesuffix(_SUFFIX)


def writers_of(folder: str) -> dict[str, list[str]]:
    """Return the paths of each writer's files, oldest writer first: its journal, or its segments.

    While there is a journal it is the truth: segments beside it may be incomplete. But one that
    holds less than they do, and that nobody writes, is an older copy.
    """
    journals, segments = _files_of(folder)
    found = segments | journals
    for writer in segments.keys() & journals.keys():
        if _is_outdated(journals[writer][0], segments[writer]):
            found[writer] = segments[writer]
    return {writer: found[writer] for writer in sorted(found)}


def outdated_journals(folder: str) -> list[str]:
    """Return the paths of journals that are not read: the segments beside them hold more."""
    journals, segments = _files_of(folder)
    both = sorted(segments.keys() & journals.keys())
    pairs = ((journals[writer][0], segments[writer]) for writer in both)
    return [journal for journal, paths in pairs if _is_outdated(journal, paths)]


def _is_outdated(journal: str, segments: list[str]) -> bool:
    try:
        return is_outdated(journal, segments)
    except FileNotFoundError:
        return True  # sealed meanwhile
    except (OSError, ValueError):
        return False  # as it seems; reading it tells what is wrong


def _files_of(folder: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the paths of each writer's journal, and those of its segments."""
    metrics = os.path.join(folder, _METRICS)
    if os.path.islink(metrics):
        raise FileUnreadable(metrics, "it is a symbolic link")
    names = _listed(metrics)
    # A journal that is sealed while the folder is listed may show neither itself nor its segments.
    while names != (again := _listed(metrics)):
        names = again
    journals = {
        writer_of(name): [os.path.join(metrics, name)] for name in names if _is_journal(name)
    }
    segments: dict[str, list[str]] = {}
    for name in names:
        writer, _, number = name.removesuffix(_SEGMENT_SUFFIX).rpartition(".")
        if name.endswith(_SEGMENT_SUFFIX) and not name.startswith(".") and number.isdecimal():
            segments.setdefault(writer, []).append(os.path.join(metrics, name))
    return journals, segments


def size_or_zero(path: str) -> int:
    """Return the bytes of a file; 0 if it cannot be looked at."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileUnreadable(folder, os_reason(error)) from error


def _is_journal(name: str) -> bool:
    return name.endswith(_SUFFIX)
