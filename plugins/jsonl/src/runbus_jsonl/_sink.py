"""The plugin: a stream of batches, one worker thread call for all that wait."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbus.events import Lagged, MetricBatch
from runbus.plugins import LineFile

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from runbus.abc import Scope

__all__ = ["JsonLines", "line_of"]


class JsonLines:
    """Appends each MetricBatch to a file, one line a batch.

    Attributes:
        name: `jsonl`.
        path: The file.
        lines: How many lines were written.
        torn: How many bytes at the end of the file were half a line when it was opened: a crash
            had cut them short, and they were cut off.
    """

    name = "jsonl"
    api = ">=1,<2"

    def __init__(self, path: str | os.PathLike[str] = "runbus-metrics.jsonl") -> None:
        """Prepare the sink; the file is opened when the kernel starts.

        Args:
            path: The file to append to; its folder is made if need be.
        """
        self.path = Path(path)
        self.lines = self.torn = 0

    async def setup(self, scope: Scope) -> None:
        """Open the file, and write what comes until the plugin closes.

        Raises:
            FileUnreadable: It is no regular file, or access is denied.
            OSError: It cannot be made.
        """
        file = await scope.enter(await scope.thread(self._open))
        batches = scope.stream(MetricBatch, overflow="block")
        scope.start(self._write_all, scope, batches, file)

    def _open(self) -> LineFile:
        file = LineFile(self.path)
        self.torn = file.torn
        return file

    async def _write_all(self, scope: Scope, batches: Any, file: LineFile) -> None:
        while waiting := await batches.batch():
            lines = [line_of(batch) for batch in waiting if not isinstance(batch, Lagged)]
            await scope.thread(self._append, file, lines)

    def _append(self, file: LineFile, lines: Sequence[bytes]) -> None:
        file.append(lines)
        self.lines += len(lines)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell what was written."""
        return True, {"path": str(self.path), "lines": self.lines, "torn": self.torn}


def line_of(batch: MetricBatch) -> bytes:
    """Return a batch as one line of JSON."""
    points = [
        {"name": name, "step": step, "time_ns": time_ns, "value": plain(value)}
        for name, step, time_ns, value in batch.points()
    ]
    record = {"run_id": batch.run_id, "writer": batch.writer, "points": points}
    return json.dumps(record, allow_nan=False, ensure_ascii=False).encode()


def plain(value: float) -> float | str:
    """Return a number as JSON can hold it: what is not finite becomes a text."""
    return value if math.isfinite(value) else str(value)
