"""Reading what a run has logged, from any process, while it is still being written."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, TypeVar, overload

from runbus._core import (
    MetricReader,
    about_segment,
    check_segment,
    lost_points,
    metric_names,
    read_metrics,
    seal_journal,
    summarize,
)
from runbus._listed import is_list
from runbus.errors import MetricNotFound, RunBusy, RunUnreadable, near_matches, os_reason
from runbus.metrics._annotating import Annotating
from runbus.metrics._artifacts import clear_unfinished, unusable_folder
from runbus.metrics._ends import End, worst
from runbus.metrics._folder import (
    SegmentInfo,
    is_helper,
    journals_of,
    outdated_journals,
    rank_of,
    size_or_zero,
    writer_of,
    writers_of,
)
from runbus.metrics._info import RunInfo
from runbus.metrics._kept import Kept
from runbus.metrics._series import Series, SeriesSummary, Steps, range_of, width_of
from runbus.metrics._table import MetricTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from typing import Any

    from runbus._core import SeriesData
    from runbus.events import MetricBatch, MetricWindows
    from runbus.metrics._origin import Origin

__all__ = ["StoredRun"]

_LOOK_S = 0.05
"""How long nothing must come before it is asked whether anybody still writes."""

_T = TypeVar("_T")


class StoredRun(Kept, Annotating):
    """A run as its folder tells it.

    Attributes:
        folder: The run's folder.
        info: What the run is.
    """

    def __init__(self, folder: str, info: RunInfo | None = None) -> None:
        self.folder = folder
        self.info = info or RunInfo.read(folder)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.info.id

    @property
    def name(self) -> str:
        """What people call the run."""
        return self.info.name

    @property
    def project(self) -> str:
        """What the run is gathered under."""
        return self.info.project

    @property
    def origin(self) -> Origin:
        """Where the run comes from, with what git has said of changes by now."""
        return self.info.origin.answered(os.path.dirname(os.path.dirname(self.folder)))

    @property
    def diff(self) -> str | None:
        """The file that holds how the code differed from the commit of `origin`, as git tells it.

        Secrets in it are replaced, and of files that are no text it has names and digests. None if
        nothing differed, or git has not said so yet.
        """
        return self.info.origin.diff(os.path.dirname(os.path.dirname(self.folder)))

    @property
    def config(self) -> dict[str, Any]:
        """What the run was started with."""
        return self.info.config

    def metric_names(self) -> list[str]:
        """Return the names of everything logged so far, in the order of their first points.

        Raises:
            RunUnreadable: A file is too damaged.
        """
        return self._with_files(lambda writers: metric_names(list(writers.values())))

    @overload
    def metrics(
        self, names: str, *, steps: Steps | None = None, rank: int | None = None
    ) -> Series: ...
    @overload
    def metrics(
        self,
        names: list[str] | tuple[str, ...] = ...,
        *,
        steps: Steps | None = None,
        rank: int | None = None,
    ) -> MetricTable: ...
    def metrics(
        self,
        names: str | list[str] | tuple[str, ...] = ("*",),
        *,
        steps: Steps | None = None,
        rank: int | None = None,
    ) -> Series | MetricTable:
        """Return the points that are committed now: of one metric, or of several as a table.

        The points of one writer (a process) stay in its order, also if a clock was set back. Those
        of several writers (ranks, restarts) are merged by time.

        Args:
            names: One name: its `Series`. A list of names and patterns: a `MetricTable`, read when
                it is first looked at. In a pattern, `*` stands for any characters, slashes too, and
                `?` for any one.
            steps: Only points with these steps: a slice or an ascending range, such as
                `slice(1000, None)` or `range(0, 10_000, 100)`. Of a sealed run, only the parts that
                may hold such steps are read.
            rank: Only points of this rank, one of `ranks()`: those of the process that its launcher
                gave the number, and of its helpers. All if None.

        Raises:
            MetricNotFound: The run has logged nothing under that one name. (A pattern alone is a
                name like others: write it in a list.)
            RunUnreadable: A file is too damaged; of a table, when it is looked at.
            TypeError: `steps` is neither a slice nor a range.
            ValueError: `steps` does not ascend.
        """
        if not isinstance(names, str):
            parts: list[Any] = [*names] if is_list(names) else [None]
            if not all(isinstance(part, str) for part in parts):
                raise TypeError(f"names must be a name or a list of names, not {names!r}")
            return self._table(parts, steps, rank)
        for found, data in self._read([names], steps, rank):
            if found == names:
                return Series(names, data)
        available = self.metric_names()
        raise MetricNotFound(names, near_matches(names, available), self.id, tuple(available))

    def ranks(self) -> list[int]:
        """Return the ranks that have logged to the run, in their order; none without a launcher."""
        found = {rank_of(writer) for writer in writers_of(self.folder)}
        return sorted(rank for rank in found if rank is not None)

    def _table(self, patterns: list[str], steps: Steps | None, rank: int | None) -> MetricTable:
        range_of(steps)  # so that a mistake is reported now, not when the table is looked at
        return MetricTable(lambda: self._read(patterns, steps, rank))

    def _read(
        self, patterns: list[str], steps: Steps | None, rank: int | None
    ) -> list[tuple[str, SeriesData]]:
        wanted = range_of(steps)

        def read(writers: dict[str, list[str]]) -> list[tuple[str, SeriesData]]:
            of_rank = [
                paths for writer, paths in writers.items() if rank in (None, rank_of(writer))
            ]
            return read_metrics(of_rank, patterns, wanted)

        return self._with_files(read)

    def _with_files(self, read: Callable[[dict[str, list[str]]], _T]) -> _T:
        """Return `read(files)`; a journal that was sealed meanwhile is looked for once more.

        Raises:
            RunUnreadable: A file is too damaged.
        """
        while True:
            writers = writers_of(self.folder)
            try:
                return read(writers)
            except FileNotFoundError:
                if writers == writers_of(self.folder):
                    raise
            except ValueError as error:
                raise RunUnreadable(self.id, str(error)) from error
            except OSError as error:
                if error.filename is None:  # no descriptors, no memory: it is not the file's fault
                    raise
                reason = f"{os.fsdecode(error.filename)}: {os_reason(error)}"
                raise RunUnreadable(self.id, reason) from error

    def journal_bytes(self) -> int:
        """Return how many bytes of the disk the run's journals take; 0 once it is sealed."""
        return sum(map(_disk_bytes, journals_of(self.folder)))

    def seal(self) -> list[str]:
        """Turn the journals that are no longer written into segments: Parquet files.

        DuckDB, polars, pandas and pyarrow read them as they are, a run's folder as one data set:
        `pandas.read_parquet(folder)`. What was logged value by value takes a fifth of the space of
        long journals; arrays of noise take four fifths, and less than 16 KiB takes what it took. A
        journal is removed when its segment is on the disk and was read back; a call that is cut
        short does no harm, and neither do two at a time. Segments stay what they are: a second call
        does nothing. It needs some 30 MB of memory, however long the journals are. A journal that a
        worker of a pool still has open is left for a later call.

        Returns:
            The paths of the new segments.

        Raises:
            RunBusy: A process that made or resumed the run, is at work; nothing was done.
            RunUnreadable: A journal is too damaged, or older than its segment. It stays as it is,
                and the others are sealed.
            OSError: The disk is full or failing. What was sealed by then is sealed.
        """
        journals = journals_of(self.folder)
        if journals and self.is_being_written():
            raise RunBusy(self.id)
        clear_unfinished(self.folder)
        sealed, unsealed = [], []
        for journal in journals:
            try:
                sealed.append(seal_journal(journal))
            except FileNotFoundError:
                continue  # another process sealed it meanwhile
            except ValueError as error:
                unsealed.append(error)
            except BlockingIOError as error:
                if is_helper(writer_of(journal)):
                    continue
                raise RunBusy(self.id) from error
        if unsealed:
            raise RunUnreadable(self.id, "; ".join(map(str, unsealed))) from unsealed[0]
        return sealed

    @overload
    def follow(
        self, *, positions: Mapping[str, int] | None = ...
    ) -> AsyncIterator[MetricBatch]: ...
    @overload
    def follow(
        self, *, window_s: float, positions: Mapping[str, int] | None = ...
    ) -> AsyncIterator[MetricWindows]: ...
    async def follow(
        self, *, window_s: float | None = None, positions: Mapping[str, int] | None = None
    ) -> AsyncIterator[MetricBatch | MetricWindows]:
        """Yield what the run has logged, then what it logs, until it is no longer written to.

        Waits for the first writer. Every point comes once, those of a writer in their order,
        whether its journal is sealed or not. What is yielded may be emitted on a bus. While the
        caller is busy, or waits for a mailbox, no more than one batch is held for it: the rest
        stays in the files, of which a sealed one is read in parts. May be cancelled while it waits.

        Args:
            window_s: Instead of the points, what they amount to in spans of so many seconds.
            positions: Where to continue, by writer: the last `MetricBatch.position` of each that an
                earlier follower has dealt with. What others have logged comes from its start.

        Raises:
            TypeError: `window_s` is not a number.
            ValueError: `window_s` is less than a nanosecond, or more than 292 years.
            OSError: The process has no more descriptors or threads.
        """
        import anyio

        from runbus.events import MetricWindows
        from runbus.metrics._tail import RunTailer

        width_ns = 0 if window_s is None else width_of("window_s", window_s)
        with RunTailer() as tailer:
            tail = tailer.follow(self.id, self.folder, positions=positions, window_ns=width_ns)
            while not tail.is_drained:
                with anyio.move_on_after(_LOOK_S) as pause:
                    await tailer.news()
                for event in tail.take():
                    if isinstance(event, MetricWindows) == bool(width_ns):
                        yield event
                # Asked for after the writers are gone: what they logged before is found by it.
                if pause.cancelled_caught and tail.has_begun and not self.is_being_written():
                    tail.drain()

    def summaries(self) -> dict[str, SeriesSummary]:
        """Return a summary of each metric, in the order of their first points.

        They are what the points of `metrics` amount to, those of several writers merged.

        Raises:
            RunUnreadable: A file is too damaged.
        """
        found = self._with_files(lambda writers: summarize(list(writers.values())))
        return {name: SeriesSummary(*fields) for name, fields in found}

    def is_being_written(self) -> bool:
        """Whether a process that made or resumed the run, has not ended it.

        Those that were handed the run, such as the workers of a pool, do not count.
        """
        return _is_live(self._writers())

    def live_pids(self) -> list[int]:
        """Return the pids of the processes for which `is_being_written` is true."""
        return [
            int(name.split("-")[1])
            for name, writer in self._writers().items()
            if _is_live({name: writer})
        ]

    def end_states(self) -> list[int | None]:
        """Return how each writer ended: its code, or None if it has not, or died."""
        return [End.decoded(writer.end_state).state for writer in self._writers().values()]

    def end(self) -> End:
        """Return how the run ended, if it is no longer written to, and why.

        That is how the latest process ended that made or resumed it; of several ranks the
        one that failed counts before the others.
        """
        return _end_of(self._writers(), self._reasons())

    def end_unless_live(self) -> End | None:
        """Return how the run ended, without the reason; None while `is_being_written`.

        Looks at the files once: quicker, and no writer ends between the two questions.
        """
        writers = self._writers()
        return None if _is_live(writers) else _end_of(writers, {})

    def last_written_ns(self) -> int | None:
        """Return when the run was last written to, Unix time in nanoseconds; None if it never was.

        Of one that has ended that is its end, of one whose process died the last sign of it. A
        sealed run tells no more than the time of its last point.
        """
        times = []
        for journal in journals_of(self.folder):
            with contextlib.suppress(FileNotFoundError):  # sealed meanwhile
                times.append(os.stat(journal).st_mtime_ns)
        if not times:
            times = self._last_points_ns()
        else:
            with contextlib.suppress(RunUnreadable):
                # A file that was mapped has the time of the first change of a page, not the last.
                if None in self.end_states():
                    times += self._last_points_ns()
        return max(times, default=None)

    def _last_points_ns(self) -> list[int]:
        """Return the time of the last point of each metric."""
        found = (self.metrics(name) for name in self.metric_names())
        return [int(series.times[-1]) for series in found if len(series.times)]

    def damage(self) -> dict[str, list[tuple[int, int]]]:
        """Return the damaged stretches as (offset, bytes) by file; empty if all is well.

        Those of a journal that became segments are reported as they were. In a segment a stretch is
        a page of a column; its rows are not read: `lost_points`. One whose footer is damaged, or a
        journal whose first bytes are, is a stretch as a whole, and reading its points raises; a
        segment that is missing is a stretch of no bytes.
        """
        metrics = self._with_files(
            lambda writers: {
                name: damage
                for writer, paths in writers.items()
                for name, damage in _damage(writer, paths)
                if damage
            }
        )
        return metrics | self._damage_of_records()

    def lost_points(self) -> dict[str, int]:
        """Return how many points of which metrics are lost to damage of segments.

        Pages of values have the points of one metric, or of several that have few; a page of steps
        or times has those of many. Of a damaged journal, or of a segment whose footer is damaged,
        nobody can tell.
        """
        found: dict[str, int] = {}
        for path in itertools.chain.from_iterable(writers_of(self.folder).values()):
            if path.endswith(".parquet"):
                with contextlib.suppress(ValueError, OSError):
                    for name, count in lost_points(path):
                        found[name] = found.get(name, 0) + count
        return found

    def unreadable(self) -> dict[str, str]:
        """Return why files of the run cannot be read at all, by their paths.

        Quicker than `damage`: they are opened, and nothing more is read. A journal that is an older
        copy of what the segments beside it hold is not read either.
        """
        reason = "it holds less than the segment beside it, which is read instead"
        found = dict.fromkeys(outdated_journals(self.folder), reason) | self._recorded.unreadable()
        found |= unusable_folder(self.folder)
        for path in itertools.chain.from_iterable(writers_of(self.folder).values()):
            try:
                MetricReader(path) if path.endswith(".journal") else about_segment(path)
            except FileNotFoundError:
                continue  # sealed meanwhile
            except ValueError as error:
                found[path] = str(error).removeprefix(f"{path}: ")
            except OSError as error:
                found[path] = os_reason(error)
        return found

    def _writers(self) -> dict[str, MetricReader | SegmentInfo]:
        """Return what knows how each writer fared: its journal, or what its segment says of it."""
        return self._with_files(
            lambda writers: {name: _writer(paths) for name, paths in writers.items()}
        )


def _is_live(writers: Mapping[str, MetricReader | SegmentInfo]) -> bool:
    return any(
        writer.is_live
        for name, writer in writers.items()
        if isinstance(writer, MetricReader) and not is_helper(name)
    )


def _end_of(writers: Mapping[str, MetricReader | SegmentInfo], reasons: Mapping[str, str]) -> End:
    latest = {
        rank_of(name): End.decoded(writer.end_state, reasons.get(name, ""))
        for name, writer in writers.items()
        if not is_helper(name)
    }
    return worst(latest.values()) if latest else End(None, "nobody has logged to it")


def _disk_bytes(path: str) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0  # another process sealed it meanwhile


def _writer(paths: list[str]) -> MetricReader | SegmentInfo:
    """Return what knows how a writer fared; where no file of it can be read, it died."""
    for path in paths:
        try:
            is_journal = path.endswith(".journal")
            return MetricReader(path) if is_journal else SegmentInfo(*about_segment(path))
        except (ValueError, PermissionError):
            continue  # one run that is damaged must not hide the others: `damage` tells
    return SegmentInfo(None, 0, 0, [], len(paths), False)


def _damage(writer: str, paths: list[str]) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    if paths[0].endswith(".journal"):
        try:
            damage = MetricReader(paths[0]).check()
        except (ValueError, PermissionError):
            damage = [(0, size_or_zero(paths[0]))]
        yield f"{writer}.journal", damage
        return
    expected = 1
    for path in paths:
        try:
            about = SegmentInfo(*about_segment(path))
            damage = check_segment(path)
        except (ValueError, PermissionError):
            damage = [(0, size_or_zero(path))]
        else:
            expected = about.segments
            yield f"{writer}.journal", about.damage
        yield os.path.basename(path), damage
    there = set(map(os.path.basename, paths))
    for number in range(expected):
        name = f"{writer}.{number}.parquet"
        if name not in there:
            yield name, [(0, 0)]
