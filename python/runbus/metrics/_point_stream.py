"""The points of many runs for other engines, without holding them in memory."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
from array import array
from typing import TYPE_CHECKING

from runbus._core import MetricReader, about_segment, check_segment, lost_points, read_metrics
from runbus.metrics._folder import SegmentInfo, writers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeAlias

    from runbus.metrics._stored import StoredRun

    _Points: TypeAlias = tuple[Any, tuple[Any, Any, Any], dict[int, int]]

__all__ = ["PointStream"]

_BATCH_POINTS = 1 << 17


class PointStream:
    """What runs have logged, split in what other tools may read as it lies, and the rest.

    The rest is an Arrow stream of columns run, name, step, time, value, exact (an integer that no
    double represents, or null) and writer, which is read
    from the journals while it is taken, a batch at a time; times are whole microseconds, as in
    segments.
    What is damaged is left out, and reported to the logger `runbus.metrics`.
    Each `__arrow_c_stream__` starts anew and ends with what was logged when it came to the journal.

    Attributes:
        segments: The paths of the segments that are whole.
    """

    def __init__(self, runs: Iterable[StoredRun]) -> None:
        """Look at the files of `runs`, and check their segments.

        Raises:
            OSError: A file cannot be read.
        """
        self.segments: list[str] = []
        self._rest: list[tuple[str, str, str]] = []
        for run in runs:
            for writer, paths in writers_of(run.folder).items():
                if all(_is_readable(run.id, path) for path in paths):
                    self.segments += paths
                else:
                    self._rest.append((run.id, run.folder, writer))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        arrow = importlib.import_module("pyarrow")
        schema = arrow.schema(
            {
                "run": arrow.string(),
                "name": arrow.string(),
                "step": arrow.int64(),
                "time": arrow.timestamp("us", "UTC"),
                "value": arrow.float64(),
                "exact": arrow.int64(),
                "writer": arrow.string(),
            }
        )
        batches = self._batches(arrow, schema)
        return arrow.RecordBatchReader.from_batches(schema, batches).__arrow_c_stream__()

    def _batches(self, arrow: Any, schema: Any) -> Iterator[Any]:
        types = arrow.int64(), arrow.timestamp("ns", "UTC"), arrow.float64()
        for run, folder, writer in self._rest:
            for names, numbers, integers in _readable(run, _points(arrow, run, folder, writer)):
                count = len(names)
                steps, times, values = (
                    arrow.Array.from_buffers(of, count, [None, arrow.py_buffer(column)])
                    for of, column in zip(types, numbers, strict=True)
                )
                times = times.cast(schema.field("time").type, safe=False)
                columns = [_repeated(arrow, run, count), names, steps, times, values]
                columns += _exact(arrow, count, integers), _repeated(arrow, writer, count)
                yield arrow.RecordBatch.from_arrays(columns, schema=schema)


def _exact(arrow: Any, count: int, integers: dict[int, int]) -> Any:
    if not integers:
        return arrow.nulls(count, arrow.int64())
    return arrow.array([integers.get(place) for place in range(count)], arrow.int64())


def _texts(arrow: Any, texts: list[str]) -> Any:
    """Return an array of texts.

    By its buffers: `pyarrow.array`, `repeat` and `scalar` load pandas if it is installed, which
    takes longer than all else of a small question.
    """
    encoded = [text.encode() for text in texts]
    ends = array("i", itertools.accumulate(map(len, encoded), initial=0))
    buffers = [None, arrow.py_buffer(ends), arrow.py_buffer(b"".join(encoded))]
    return arrow.Array.from_buffers(arrow.string(), len(texts), buffers)


def _repeated(arrow: Any, text: str, count: int) -> Any:
    buffers = [None, arrow.py_buffer(bytes(4 * count))]
    return _texts(arrow, [text]).take(arrow.Array.from_buffers(arrow.uint32(), count, buffers))


def _tell_damage(run: str, path: str, damage: list[tuple[int, int]]) -> None:
    if damage:
        logging.getLogger("runbus.metrics").warning(
            "%s: %d bytes of %s are damaged, and left out",
            *(run, sum(length for _, length in damage), os.path.basename(path)),
        )


def _is_readable(run: str, path: str) -> bool:
    """Whether other tools read the file as it is: a whole segment of points, one a row."""
    if not path.endswith(".parquet"):
        return False
    try:
        about = SegmentInfo(*about_segment(path))
        damage = check_segment(path)
    except ValueError:
        return False  # reading it as a part of its run tells what is wrong
    except FileNotFoundError:
        return False
    _tell_damage(run, path, damage or about.damage)
    for name, count in lost_points(path) if damage else ():
        logging.getLogger("runbus.metrics").warning(
            "%s: %d points of %s are lost to it", run, count, name
        )
    return not (about.is_older or damage)


def _readable(run: str, points: Iterator[_Points]) -> Iterator[_Points]:
    try:
        yield from points
    except ValueError as error:
        logging.getLogger("runbus.metrics").warning("%s is left out: %s", run, error)


def _points(arrow: Any, run: str, folder: str, writer: str) -> Iterator[_Points]:
    """Yield names; steps, times and values as buffers; and integers beyond doubles."""
    paths = writers_of(folder).get(writer, [])
    if [path for path in paths if path.endswith(".journal")]:
        try:
            reader, end = MetricReader(paths[0]), os.path.getsize(paths[0])
        except FileNotFoundError:
            paths = writers_of(folder).get(writer, [])  # sealed meanwhile
        else:
            # So that it knows names whose first mention is damaged.
            _tell_damage(run, paths[0], reader.check())
            yield from _journal_points(arrow, reader, end)
            return
    for name, data in read_metrics([paths], None):
        columns = data.steps, data.times, data.values
        yield _repeated(arrow, name, len(data)), columns, data.integers


def _journal_points(arrow: Any, reader: MetricReader, end: int) -> Iterator[_Points]:
    while reader.position < end and (found := reader.poll_rest(_BATCH_POINTS)):
        buffer = arrow.py_buffer(found.series)
        places = arrow.Array.from_buffers(arrow.uint32(), len(found), [None, buffer])
        names = _texts(arrow, found.names).take(places)
        yield names, (found.steps, found.times, found.values), found.integers
