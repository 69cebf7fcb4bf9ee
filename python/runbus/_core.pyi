"""The compiled core: the journal of metrics and events.

One file format serves both (``docs/reference/journal-format.md``): framed, checksummed,
append-only, written by one process, followed by any number of readers while it grows. What a call
has written survives ``kill -9`` of the process; ``sync()`` makes it survive a power failure.

Errors of the operating system are raised as Python's own subclasses of `OSError`, with ``errno``
and ``filename``; wrong arguments as `TypeError`, `ValueError` or `OverflowError` that name the
argument. All classes may be used from several threads.
"""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import (
    Final,
    Literal,
    Self,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    TypedDict,
    final,
    overload,
    type_check_only,
)

from typing_extensions import CapsuleType, disjoint_base

__all__ = [
    "BUILD_PROFILE",
    "Columns",
    "Group",
    "Journal",
    "JournalReader",
    "Machine",
    "MetricBell",
    "MetricReader",
    "MetricTail",
    "MetricWriter",
    "Sampler",
    "Series",
    "SeriesData",
    "Starting",
    "Syncing",
    "__version__",
    "about_segment",
    "are_same",
    "arrow_stream",
    "blobs",
    "check_segment",
    "is_outdated",
    "lost_points",
    "metric_names",
    "read_metrics",
    "sampler_program",
    "seal_journal",
    "summarize",
    "sync_paths",
    "whole_records",
    "wrapper_program",
]

__version__: Final[str]
"""The version of the compiled core."""

BUILD_PROFILE: Final[str]
"""``"release"``, or ``"debug"`` for a build whose speed means nothing."""

_Batch: TypeAlias = tuple[str, tuple[str, ...], int, int, bytes, list[bytes], list[tuple[int, int]]]
_Summary: TypeAlias = tuple[
    int, int, float, float, float, float, float, float, float, float, float, int, int
]

@disjoint_base
class MetricWriter:
    """Writes the metrics of one run, by one process, into one new journal.

    Made to be the base of a Python class whose hot calls stay in Rust: arguments after the path are
    left to the ``__init__`` of the subclass.

    After ``os.fork()`` the child's copy is inert, until `open_journal`: it counts what it is given
    as dropped and never touches the file. The child does inherit the writer's lock, so that nobody
    else can write this file before both have closed it; `MetricReader.is_live` is not misled by
    that.
    """

    def __new__(
        cls,
        path: str | os.PathLike[str] | None,
        /,
        *args: object,
        sync_ms: int | None = 100,
        sync_once: Sequence[str | os.PathLike[str]] = ...,
        **kwargs: object,
    ) -> Self:
        """Make the journal.

        Args:
            path: The file to make. It must not exist. None for a writer that has no journal until
                `open_journal`, which drops what it is given.
            sync_ms: How often a background thread, one for the process, writes what was logged to
                the disk; None leaves it to the operating system.
            sync_once: Files and folders that are written to the disk with the first of it: what
                makes the journal worth anything. They are complete.
            *args: For the ``__init__`` of a subclass.
            **kwargs: For the ``__init__`` of a subclass.

        Raises:
            FileExistsError: There is such a file.
            OSError: The file cannot be made.
            ValueError: `sync_ms` is less than 1.
        """

    def __init_subclass__(cls) -> None:
        """Give the class a `log` of its own, the same one: Python calls that sooner."""

    @overload
    def log(
        self,
        name_or_values: str,
        /,
        value: SupportsFloat | SupportsIndex,
        step: SupportsIndex | None = None,
    ) -> None: ...
    @overload
    def log(
        self,
        name_or_values: Mapping[str, object],
        /,
        value: None = None,
        step: SupportsIndex | None = None,
    ) -> None: ...
    @overload
    def log(
        self,
        name_or_values: None = None,
        /,
        *,
        step: SupportsIndex | None = None,
        **values: SupportsFloat | SupportsIndex | Mapping[str, object],
    ) -> None:
        """Write one value, or several as one row.

        ``log("loss", 0.5, step=3)``, ``log({"loss": 0.5, "acc": 0.9}, step=3)`` and
        ``log(step=3, loss=0.5, acc=0.9)``.

        Returns when the row is in the file's memory: it survives the death of the process. Never
        waits for the disk to take it, and never raises because the disk is full: see `dropped`.

        The order of names in a row does not count. A row is one record, of which all values survive
        or none; beyond 1,024 different sets of names, rows of further sets are written value by
        value. Names may take 64 MiB: values under further names are dropped and counted.

        A value in the memory of a device (a CUDA tensor, a GPU's array) is copied there, under the
        step and time of the call, and never waited for: see `fetch`. The rest of its row is written
        at once.

        Args:
            name_or_values: The name, 1 to 1,024 bytes of UTF-8; or a mapping of names to values, in
                which nested mappings are flattened: ``{"a": {"b": 1}}`` is ``{"a/b": 1}``.
            value: A float, an int that a double represents exactly, a bool, or anything with
                ``item()``, ``__index__``, ``__float__`` or ``__array__``: numpy scalars, arrays and
                tensors of one element. Stored as a double, bit for bit; a ``longdouble`` is
                rounded.
            step: Any 64-bit integer, in any order. The default is the last step logged here plus
                one, 0 at first.
            **values: Names and values of the row, instead of the arguments before the step; a name
                may be ``value`` here, but not ``step``.

        Raises:
            TypeError: A value is no real number, a name no str, the step no int.
            OverflowError: The step exceeds 64 bits.
            ValueError: A name is empty, too long, holds a lone surrogate or occurs twice; or the
                journal is closed.
        """

    def series(self, name: str) -> Series:
        """Return the metric `name` with its look-up done, for the innermost loops.

        Raises:
            ValueError: The name is empty, too long, or holds a lone surrogate.
        """

    def group(self, *names: str) -> Group:
        """Return some metrics with their look-up done, to be written as one row.

        Args:
            *names: The names, in the order in which `Group.log` takes their values.

        Raises:
            TypeError: A name is no str.
            ValueError: A name is empty, too long, holds a lone surrogate or occurs twice; or there
                is not a name.
        """

    def fetch(self) -> None:
        """Wait for the values that are on devices, and write them.

        A background thread calls this within 0.1 s of the first of them; so do `sync`, `close` and
        the call that makes them 16,384 (see `stalls`). Tensors of one device and type come in one
        copy. Until then the death of the process takes them. What cannot be fetched is counted as
        dropped, and reported to the logger ``runbus.metrics``. Does nothing in a forked child.
        """

    def open_journal(self, path: str | os.PathLike[str], /) -> None:
        """Go on in a new journal, of this process; names and steps stay what they are.

        For a writer that has none: a forked child's copy, one that was made without, or that has
        let go of its own. Any other stays as it is. A subclass may have a method ``_arrive``, which
        is called before such a writer logs, and may call this.

        Raises:
            FileExistsError: There is such a file.
            OSError: The file cannot be made.
        """

    def let_go(self) -> None:
        """End the journal, as succeeded, and have none until `open_journal`.

        Raises:
            OSError: The disk failed. The journal is closed all the same.
        """

    def leave(self, fallback: int) -> None:
        """Take no more values, and leave the journal open: the exit status becomes its end.

        The final record that is written when the process exits says 0 for a status of 0, else 1 and
        the status in the bits above the lowest eight. So it does for all that are open then.

        Args:
            fallback: The state to end in at once if too many others are left so.
        """

    def sync(self) -> None:
        """Wait until everything logged so far is on the disk. Other threads continue meanwhile.

        Raises:
            OSError: The disk failed.
        """

    def close(self, state: int = 0) -> None:
        """Write the final record, give back reserved space, and wait for the disk.

        A second call does nothing, and so does a call in a forked child. Without `close`, as after
        ``kill -9``, every row can be read all the same.

        Args:
            state: What became of the run: 0 succeeded, 1 failed, 2 cancelled, 3 dropped.

        Raises:
            OSError: The disk failed. The journal is closed all the same.
        """

    @property
    def path(self) -> str:
        """The journal's path, as given."""

    @property
    def accepted(self) -> int:
        """Values in the file; a mapping of twenty counts twenty."""

    @property
    def dropped(self) -> int:
        """Values lost to a failing disk or device, to a flood of names, or without a journal.

        All of a journal's if somebody has removed it.

        After a failure the disk is tried again at most every 100 ms, until it recovers.
        """

    def continue_after(self, step: int) -> None:
        """Have the next automatic step follow one that an earlier writer of the run logged.

        Raises:
            OverflowError: The step exceeds 64 bits.
        """

    @property
    def last_step(self) -> int | None:
        """The last step logged here, or that it continues after; None before the first."""

    @property
    def waiting(self) -> int:
        """Values that are on devices, to be fetched: neither accepted nor dropped yet."""

    @property
    def stalls(self) -> int:
        """How often a call had to `fetch`, because too many values were waiting."""

    @property
    def closed(self) -> bool:
        """Whether the journal was closed."""

    @property
    def is_open(self) -> bool:
        """Whether this process has a journal, to which values go."""

    @property
    def last_error(self) -> str | None:
        """Why values were dropped the last time; `None` if that never happened."""

@final
class Series:
    """One metric of a `MetricWriter`, from `MetricWriter.series`."""

    def append(
        self, value: SupportsFloat | SupportsIndex, step: SupportsIndex | None = None
    ) -> None:
        """Write one value, as `MetricWriter.log` does.

        Args:
            value: A real number, stored as a double.
            step: A 64-bit integer; the default is the run's last step plus one, 0 at first.

        Raises:
            TypeError: The value is no real number, or the step no int.
            OverflowError: The step exceeds 64 bits.
            ValueError: The journal is closed.
        """

    def extend(self, values: object, steps: object = None) -> None:
        """Write many values at once, in records of 4,096, under the time of the call.

        A disk that becomes full meanwhile costs the points that no longer fit.

        Args:
            values: One dimension of numbers: anything with the buffer protocol (numpy's arrays,
                ``array.array``, ``bytes``), with ``__dlpack__`` in the memory of the CPU (torch's
                tensors), or with ``__array__`` or ``__array_interface__`` (columns of pandas), of
                floats of 16, 32 or 64 bits, ints or bools; or a list or tuple. Stored as doubles.
            steps: As many ints, in the same forms or as a ``range``; the default is the run's last
                step plus one, 0 at first, and on from there.

        Raises:
            TypeError: The values are no such array, or the steps no ints.
            OverflowError: A step exceeds 64 bits.
            ValueError: There are not as many steps as values, or the journal is closed.
        """

    @property
    def name(self) -> str:
        """The name of the metric."""

@final
class Group:
    """Metrics of a `MetricWriter` that are written together, from `MetricWriter.group`."""

    def log(self, step: SupportsIndex | None, /, *values: SupportsFloat | SupportsIndex) -> None:
        """Write one value for each name as one row, as `MetricWriter.log` does.

        Args:
            step: A 64-bit integer; None for the run's last step plus one, 0 at first.
            *values: Real numbers, stored as doubles.

        Raises:
            TypeError: A value is no real number, the step no int, or there are too few or too many
                values.
            OverflowError: The step exceeds 64 bits.
            ValueError: The journal is closed.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the values."""

@final
class Journal:
    """Writes opaque records, the events, into one journal.

    Usable as a context manager, which closes it.
    """

    def __new__(
        cls, path: str | os.PathLike[str], *, append: bool = True, lock: bool = True
    ) -> Self:
        """Continue the journal after its last whole record, or make it.

        What follows the last whole record, such as a record that was being written when the machine
        lost power, is cut off.

        Args:
            path: The file.
            append: Whether the file may exist. Reading it to its end is part of the call.
            lock: Whether to hold the lock of the file, which keeps out other writers, and which
                anybody who may read the file can take; without it that is the caller's to see to.

        Raises:
            BlockingIOError: Another writer has it open.
            FileExistsError: It exists, and `append` is false.
            OSError: It cannot be opened or written.
            ValueError: It is not an event journal, or of a newer version.
        """

    def append(self, payload: bytes) -> int:
        """Write one record and return its offset in the file.

        Args:
            payload: Up to 128 MiB less 16 bytes.

        Raises:
            OSError: The disk is full or failing. Nothing was written; a later call may succeed.
            RuntimeError: This process was forked from the one that opened the journal.
            ValueError: The record is too large, or the journal is closed.
        """

    def sync(self, others: Sequence[str | os.PathLike[str]] = ..., /) -> None:
        """Wait until everything appended so far is on the disk.

        Args:
            others: Files and folders that are waited for at the same time, which takes a disk no
                longer; those that are not there, or cannot be opened, are passed over.

        Raises:
            OSError: The disk failed, for the file it names; the others are on the disk.
        """

    def begin_sync(self, others: Sequence[str | os.PathLike[str]] = ..., /) -> Syncing:
        """Begin what `sync` does, in a thread that needs no GIL, and return at once.

        Raises:
            OSError: The process has no more descriptors.
            ValueError: The journal is closed.
        """

    def close(self, *, sync: bool = True) -> None:
        """Write a final record, give back reserved space, and wait for the disk.

        A second call does nothing, and so does a call in a forked child.

        Args:
            sync: Whether to wait; where all was synced before, only the final record is at stake.

        Raises:
            OSError: The disk failed. The journal is closed all the same.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    @property
    def path(self) -> str:
        """The journal's path, as given."""

    @property
    def closed(self) -> bool:
        """Whether the journal was closed."""

@final
class Starting:
    """A program that a thread of its own starts, in a session of its own; its output goes nowhere.

    The thread that starts a program stands still until that is loaded, for about a millisecond, and
    in `os.posix_spawn` all other threads with it. Signals are handled as a new process expects it,
    whatever this one ignores or blocks. Dropped, it goes on.
    """

    def __new__(
        cls,
        words: Sequence[bytes],
        variables: Sequence[bytes],
        /,
        *,
        stdin: int | None = None,
        reaps: bool = False,
    ) -> Self:
        """Begin. Where no thread can be started this returns when the program is loaded.

        Args:
            words: The program's path, or its name in PATH, and its arguments.
            variables: Its variables, each `NAME=value`.
            stdin: What it reads, which the caller may close at once; nothing if None.
            reaps: Whether the thread waits for the end of the process, too. Nobody else may then.

        Raises:
            OSError: There are not enough files.
            ValueError: A word or a variable has a NUL in it.
        """

    def wait(self) -> int:
        """Wait until the program is loaded, and return its pid.

        Raises:
            OSError: There are not enough processes, or it cannot be run.
        """

@final
class Syncing:
    """A sync that was begun. Without anybody who waits it goes on all the same."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when it is done; -1 once it was waited for."""

    def wait(self) -> None:
        """Return when it is done.

        A second call does nothing.

        Raises:
            OSError: As `Journal.sync`.
        """

@final
class JournalReader:
    """Follows an event journal, whatever state it is in: empty, being written, cut, damaged."""

    def __new__(cls, path: str | os.PathLike[str], *, offset: int = 0) -> Self:
        """Open a journal.

        Args:
            path: The file. It must exist; it may still be empty.
            offset: Where to start: 0, or a `position` of another reader of this file.

        Raises:
            OSError: It cannot be opened.
            ValueError: It is not an event journal, or of a newer version, or the offset is
                impossible.
        """

    def poll(self, max_records: int = 65_536) -> list[tuple[int, bytes]]:
        """Return the records committed since the last call, with their offsets, oldest first.

        Fewer than `max_records`, though there are more, when they hold over 64 MiB together: poll
        until the list is empty.

        Raises:
            OSError: The file cannot be read.
            ValueError: It turned out to be no event journal, or `max_records` is 0.
        """

    @property
    def position(self) -> int:
        """Where the next poll continues, in bytes from the start of the file."""

    @property
    def damage(self) -> list[tuple[int, int]]:
        """The damaged ranges that were skipped so far, as (offset, bytes)."""

    @property
    def path(self) -> str:
        """The journal's path, as given."""

@final
class MetricReader:
    """Reads a metrics journal, whatever state it is in: empty, being written, cut, damaged."""

    def __new__(cls, path: str | os.PathLike[str]) -> Self:
        """Open a journal, with the cursor at its start.

        Args:
            path: The file. It must exist; it may still be empty.

        Raises:
            OSError: It cannot be opened.
            ValueError: It is no metrics journal, or of a newer version.
        """

    def poll(self, max_points: int = 65_536) -> Columns | None:
        """Return the points committed since the cursor and move it; `None` if there are none.

        Args:
            max_points: Stop here, but never within a row: the last row may exceed it.

        Raises:
            OSError: The file cannot be read.
            ValueError: It turned out to be no metrics journal, or `max_points` is 0.
        """

    def poll_rest(self, max_points: int = 65_536) -> Columns | None:
        """As `poll`; past the holes of a power failure, too, if nothing writes it any more."""

    def check(self) -> list[tuple[int, int]]:
        """Read the whole file and return its `damage`, also what lies behind holes and at its end.

        Does not move the cursor. Other threads continue meanwhile.

        Raises:
            OSError: The file cannot be read.
        """

    def seek(self, position: int) -> None:
        """Move the cursor.

        Args:
            position: 0, or a `position` of this or another reader of this file.

        Raises:
            OSError: The file cannot be read.
            ValueError: No record starts or ends there.
        """

    @property
    def names(self) -> list[str]:
        """The names of the series read so far, in the order in which they turned up."""

    @property
    def position(self) -> int:
        """The cursor, in bytes from the start of the file."""

    @property
    def damage(self) -> list[tuple[int, int]]:
        """The damaged ranges found so far, as (offset, bytes), in the order of the file.

        Rows whose names are unknown, because the record of the names is damaged, are among them.
        """

    @property
    def end_state(self) -> int | None:
        """The state that `MetricWriter.close` was given; `None` while there is no final record."""

    @property
    def is_live(self) -> bool:
        """Whether the writer is at work; `True` where the system cannot tell."""

    @property
    def writer_pid(self) -> int:
        """The process that writes or wrote the journal; 0 while the header is missing."""

    @property
    def created_ns(self) -> int:
        """When the journal was made, in unix nanoseconds; 0 while the header is missing."""

    @property
    def path(self) -> str:
        """The journal's path, as given."""

@final
class MetricBell:
    """Wakes an event loop: its descriptor is readable while a run that it follows has news.

    One thread of the process, without the GIL, reads the runs of all bells: a busy one every
    millisecond, an idle one ever more slowly, down to every 20 ms.
    """

    def __new__(cls) -> Self:
        """Make a bell that follows nothing yet.

        Raises:
            OSError: The process has no more descriptors.
        """

    def fileno(self) -> int:
        """The descriptor; readable until `heard` is called."""

    def heard(self) -> list[int]:
        """Return the keys of the runs that got news since the last call. Never waits."""

    def follow(
        self,
        key: int,
        folder: str | os.PathLike[str],
        positions: Mapping[str, int],
        window_ns: int,
        last_attempt: int | None,
    ) -> MetricTail:
        """Follow a run; what it has logged by now comes first.

        Args:
            key: What `heard` calls it.
            folder: The run's folder; nothing needs to be there yet.
            positions: Where to begin in what these writers have written: the positions of batches
                that were taken earlier. Of all others everything is read.
            window_ns: How wide windows are to be; 0 for none.
            last_attempt: The last attempt of the run's job to read of; all if None.

        Raises:
            OSError: The thread cannot be started.
        """

@final
class MetricTail:
    """Follows a run, from `MetricBell.follow`, until it is closed or dropped."""

    def take(self) -> tuple[list[_Batch], list[str], bool, bool] | None:
        """Return the news of one look, at most 64k points and a row; `None` if there are none.

        Nothing more is read of the run until this is called. Never waits.

        Returns:
            The batches, each as writer, its names so far, position behind it in the writer's
            journal (also if that is sealed), width of its windows in ns (0 for points), series and
            the other columns: steps, times and values of points; of windows the int64 columns
            start, points, finite, first_step, last_step, min_step, max_step, first_time and
            last_time, then the float64 columns first, last, min, max, mean, variance, p50, p95 and
            p99. What cannot be read, each reported once. Whether any process has begun to log.
            Whether `drain` is done. A batch ends with the integers that no double represents, each
            as its place and itself.
        """

    def drain(self) -> None:
        """Have everything read that is committed by now, and open windows closed.

        The last news of it says so. A journal without a writer is also read behind the holes that a
        power failure left in it.
        """

    def reach(self, attempt: int) -> None:
        """Have the writers of this attempt read, too, and of those before it."""

    def set_window_ns(self, width_ns: int) -> None:
        """Have windows of this width made from what is read from now on; 0 for none."""

    def close(self) -> None:
        """Follow it no more. Safe to repeat."""

@final
class Columns:
    """Points as columns: the i-th entry of each is one point. From `MetricReader.poll`."""

    def __len__(self) -> int: ...
    @property
    def names(self) -> list[str]:
        """The reader's names, which `series` counts in."""

    @property
    def series(self) -> bytes:
        """For each point the index of its name: uint32 ``(n,)``."""

    @property
    def steps(self) -> bytes:
        """int64 ``(n,)``."""

    @property
    def times(self) -> bytes:
        """Unix nanoseconds: int64 ``(n,)``."""

    @property
    def values(self) -> bytes:
        """float64 ``(n,)``; of integers beyond doubles the nearest one."""

    @property
    def integers(self) -> dict[int, int]:
        """The integers that no double represents, each by the place of its point."""

@final
class SeriesData:
    """The points of one metric, in the order of logging. From `read_metrics`.

    The columns are read-only views of memory that nobody changes: numpy reads them in place.
    Every method returns new points and lets other threads continue meanwhile.
    """

    def __len__(self) -> int: ...
    @property
    def steps(self) -> memoryview[int]:
        """int64 ``(n,)``, in any order."""

    @property
    def values(self) -> memoryview[float]:
        """float64 ``(n,)``, bit for bit as logged; of integers beyond doubles the nearest one."""

    @property
    def integers(self) -> dict[int, int]:
        """The integers that no double represents, each by the place of its point."""

    @property
    def whole_values(self) -> memoryview[int] | None:
        """The values as int64 ``(n,)``, if all are integers and doubles would not do; or `None`."""

    @property
    def times(self) -> memoryview[int]:
        """Unix nanoseconds: int64 ``(n,)``."""

    def downsample(self, count: int, method: Literal["m4", "minmax", "lttb"]) -> SeriesData:
        """Return at most `count` of the points, in their order; all if there are no more.

        The series is cut into buckets of equally many points. NaN is neither least nor greatest;
        infinities are values like others.

        Args:
            count: At least 4 for m4, 2 for minmax, 3 for lttb.
            method: ``"m4"``: first, last, least and greatest of each bucket. ``"minmax"``: least
                and greatest. ``"lttb"``: the point that spans the largest triangle, which may lose
                a spike; the others never do.

        Raises:
            ValueError: `count` is too small, or the method unknown.
        """

    def smooth(self, alpha: float) -> SeriesData:
        """Return the exponential moving average, corrected for its start at nothing.

        Args:
            alpha: The weight of the newest value, above 0 and at most 1. Values that are not finite
                are passed on and have no part in later averages.

        Raises:
            ValueError: `alpha` is out of range.
        """

    def over(self, axis: SeriesData) -> memoryview[float]:
        """Return for each point the value of `axis` at its step: float64 ``(n,)``.

        It is the last one that was logged under that step, or else under the nearest one below it;
        NaN where there is none.
        """

    def windows(self, width_ns: int) -> list[tuple[int, _Summary]]:
        """Return what the points of each span of time amount to, oldest first; no empty ones.

        Args:
            width_ns: The length of a span in nanoseconds, at least 1.

        Returns:
            For each span its start in unix nanoseconds, a multiple of `width_ns`, and the fields
            that `summarize` returns.

        Raises:
            ValueError: The width is below 1.
        """

def read_metrics(
    writers: Sequence[Sequence[str | os.PathLike[str]]],
    patterns: Sequence[str] | None = None,
    steps: tuple[int, int | None, int] | None = None,
) -> list[tuple[str, SeriesData]]:
    """Return the points of metrics, in the order of their first points.

    Lets other threads continue.

    The points of a writer stay in its order, whatever their times say. Between writers a point has
    its place by the latest time that its writer had given to a point of the metric by then; at one
    time, writers come in the order given.

    Damaged rows are left out: see `MetricReader.check` and `check_segment`.

    Args:
        writers: For each writer its journal, or the segments it became.
        patterns: The names wanted: ``*`` in a name stands for any characters, slashes too, ``?``
            for any one. `None` means all.
        steps: Only points at these steps: the first, the one behind the last (None is no limit),
            and their distance. What a segment's statistics rule out is not read; a name without
            such points has a series without points.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is no metrics file, or of a newer version; or the distance of steps is 0.
    """

def metric_names(writers: Sequence[Sequence[str | os.PathLike[str]]]) -> list[str]:
    """Return the names of all metrics, in the order of their first points.

    Of segments only the footers are read; journals are looked through. Other threads continue.

    Args:
        writers: As for `read_metrics`.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is no metrics file, or of a newer version.
    """

def arrow_stream(series: Sequence[tuple[str, SeriesData]]) -> CapsuleType:
    """Return named series as a stream in Arrow's C interface, a capsule ``arrow_array_stream``.

    A batch for each series, whose columns are shared and not copied: name, a dictionary of int32
    and utf8; step, int64; time, timestamp in ns, UTC; value, float64, or int64 where all series
    have `whole_values`. There are no nulls.
    """

def summarize(writers: Sequence[Sequence[str | os.PathLike[str]]]) -> list[tuple[str, _Summary]]:
    """Return what each metric amounts to, in the order of their first points.

    Keeps no points of journals. Other threads continue meanwhile.

    Args:
        writers: As for `read_metrics`.

    Returns:
        For each name: the number of points; step and value of the last one; the least and the
        greatest value; the value of the first point; mean and standard deviation (of a whole
        population) of the finite values; the quantiles 0.5, 0.95 and 0.99, exact up to 128 points
        and off by at most 1/256 of themselves beyond; the steps of the first least and the first
        greatest value. Those of several writers are what `read_metrics` makes of them. NaN counts
        as a point only; what has no number to be made of is NaN, its step 0.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is no metrics file, or of a newer version.
    """

def seal_journal(path: str | os.PathLike[str]) -> str:
    """Turn a journal that nobody writes into a segment, remove it, and return the segment's path.

    The segment lies beside it: ``WRITER.0.parquet``. While the journal exists it is the truth; it
    is removed when the segment is on the disk and was read back. Several calls at a time, from any
    processes, do no harm. Other threads continue meanwhile.

    Raises:
        BlockingIOError: A writer is at work, or may be; nothing was done.
        FileNotFoundError: There is no such journal.
        OSError: The disk is full or failing; the journal is as it was.
        ValueError: It is no metrics journal, or of a newer version; too little of it can be read; a
            segment beside it holds more; or the segment does not read back as it was written. The
            journal was kept.
    """

def check_segment(path: str | os.PathLike[str]) -> list[tuple[int, int]]:
    """Return the damaged pages of columns as (offset, bytes), by their checksums.

    Reads the whole file and lets other threads continue meanwhile.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no segment, or its footer is damaged.
    """

def lost_points(path: str | os.PathLike[str]) -> list[tuple[str, int]]:
    """Return how many points of which metrics are lost to the damage of a segment.

    Reads the whole file and lets other threads continue meanwhile.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no segment, or its footer is damaged.
    """

def is_outdated(journal: str | os.PathLike[str], segments: list[str]) -> bool:
    """Whether segments hold more points than the journal beside them, which nobody writes.

    Reads all of them and lets other threads continue meanwhile.

    Raises:
        OSError: The journal cannot be read.
        ValueError: It is of a newer version.
    """

def about_segment(
    path: str | os.PathLike[str],
) -> tuple[int | None, int, int, list[tuple[int, int]], int, bool]:
    """Return what a segment tells of its journal.

    Returns:
        The state the writer closed it with, `None` if it died; the writer's process, 0 if unknown;
        its creation in unix nanoseconds, 0 if unknown; its damaged ranges as (offset, bytes); how
        many segments it became; whether it is of an earlier version, which has other columns.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no segment, or damaged.
    """

def whole_records(data: bytes, *, at_start: bool) -> tuple[int, int]:
    """Return how many bytes of a piece of a journal are whole records, and how many the next needs.

    Nothing is checked: what is damaged is for the reader of the journal to judge.

    Args:
        data: Bytes of a journal, from between two records on.
        at_start: Whether they are its first, so that the header comes first.

    Returns:
        The bytes from the start that are whole records (with the header), and the length of the
        record after them if it is there in part; 0 if it is not.
    """

def blobs(data: bytes, *, at_start: bool) -> list[tuple[int, bytes]]:
    """Return the blobs in a piece of a journal, each with the place in `data` of its record.

    Args:
        data: Bytes of a journal, from between two records on.
        at_start: Whether they are its first, so that the header comes first.
    """

def are_same(root: str | os.PathLike[str], noted: Sequence[tuple[str, bytes]], /) -> list[bool]:
    """Whether the files in folders are what they were, for each folder: all of its files, and some.

    Without the GIL, some at the same time. A link is a file of its own, and is not followed below
    the folder.

    Args:
        root: What the folders lie in.
        noted: The path of each folder below `root`, and the stamps of its files: of each its inode,
            the time of its last change in nanoseconds, its size, the length of its path within the
            folder (little-endian, of 8, 8, 8 and 2 bytes), and the path.
    """

def sync_paths(paths: Sequence[str | os.PathLike[str]], /) -> None:
    """Wait until files, and the names in folders, are on the disk: a few at the same time.

    Args:
        paths: Files and folders; those that are not there are passed over.

    Raises:
        OSError: The disk failed, or one cannot be opened; it is named, and the others are on the
            disk.
    """

@type_check_only
class SampledMachine(TypedDict):
    """What is read of a machine.

    Keys:
        prefix: What all names begin with.
        proc: Where ``/proc`` is.
        sys: Where ``/sys`` is.
        folder: The folder whose disk may become full.
        root: The first process of the job; None for the first above this one of its session.
        heaviest: How many of the heaviest processes are known; with 0 they are only counted.
        nvml: The file of NVIDIA's library, where the linker does not find it.
        rocm: The file of AMD's.
        gpus: ``"own"``, ``"all"``, or numbers.
        visible: The text of ``CUDA_VISIBLE_DEVICES``.
        visible_amd: The text of what ROCm has in its place.
    """

    prefix: str
    proc: str
    sys: str
    folder: str | None
    root: int | None
    heaviest: int
    nvml: str | None
    rocm: str | None
    gpus: str | list[int]
    visible: str | None
    visible_amd: str | None

_Cost: TypeAlias = tuple[str, bool, int, int, int, int, bool, bool, str]

@final
class Sampler:
    """Samples a machine into a journal of its own, in a thread without the GIL.

    While another process of this host samples for the run, it waits, and makes no journal.

    Args:
        path: The journal to make.
        run: The run's folder: one process of each host samples for it.
        what: What is read.
        every: The seconds between two rows.
        slow_every: The seconds between two readings of the slow tier.
        window: The seconds that one row tells of, as means; 0 for a row each time.
        after: So many seconds pass first; told to stop before, it has read and made nothing.
        budget: The part of the time that one getter may take: one that takes more is read more
            seldom.
        sync_ms: How often the journal is written to the disk; None leaves it to the system.
        host: What this host is called among those of the run; its name if None.
        instead_of: The attempt of a job beside which nothing else is to sample this host.

    Raises:
        OSError: The thread cannot be started.
        ValueError: An interval is less than a millisecond or more than a day.
    """

    def __new__(
        cls,
        path: str | os.PathLike[str],
        run: str | os.PathLike[str],
        what: SampledMachine,
        /,
        *,
        every: float = 1.0,
        slow_every: float = 10.0,
        window: float = 0.0,
        after: float = 0.0,
        budget: float = 0.001,
        sync_ms: int | None = ...,
        host: str | None = None,
        instead_of: int | None = None,
    ) -> Self: ...
    def close(self, state: int = 0, *, longest: float = 1.0) -> bool:
        """Stop, and end the journal; safe to repeat, and without effect in a forked child.

        Args:
            state: As for `MetricWriter.close`.
            longest: How long to wait for a driver that hangs, in seconds.

        Returns:
            Whether the thread has ended.

        Raises:
            OSError: What was sampled may not be on the disk.
        """

    def wait_for_rows(self, rows: int, longest: float) -> bool:
        """Wait until so many rows were written, or so many seconds; whether they were."""

    def costs(self) -> list[_Cost]:
        """Return what each getter costs: see `Machine.costs`."""

@final
class Machine:
    """A machine that is read when asked; made, it has read everything once.

    Args:
        what: What is read.
    """

    def __new__(cls, what: SampledMachine) -> Self: ...
    def read(self) -> dict[str, float]:
        """Read everything: rates are those since the reading before."""

    def heaviest(self) -> list[tuple[int, str, float, int, bool]]:
        """Return the processes that used most, by processor time and then by memory.

        Returns:
            For each its number, its name, percent of a processor, bytes, and whether it is of the
            job.
        """

    def costs(self) -> list[_Cost]:
        """Return what each getter costs.

        Returns:
            For each its name, whether it is of the fast tier, the nanoseconds of its first reading,
            of a usual one and of the longest, the nanoseconds between two readings, whether these
            are more than those of its tier because of its cost, whether it is still read, and why
            not, or what failed the last time.
        """

def wrapper_program() -> bytes:
    """Return the wrapper program that was built for this machine's architecture.

    Returns:
        A static executable; empty if none could be built, so that the shell script must do.
    """

def sampler_program() -> bytes:
    """Return the program that samples the machine beside a job, for this machine's architecture.

    Returns:
        An executable that loads the libraries of drivers; empty if none could be built.
    """
