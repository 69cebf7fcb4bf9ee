"""More names than there is memory for: a clear warning, once."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from runbus._core import MetricWriter

if TYPE_CHECKING:
    from pathlib import Path

MOST_NAMES = 64 * 1024 + 1


class Heard(logging.Handler):
    """Keeps what is reported, and says when there is so much of it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._count = count
        self.is_enough = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        if len(self.texts) >= self._count:
            self.is_enough.set()


def test_a_flood_of_names_is_dropped_counted_and_told_once(tmp_path: Path) -> None:
    logger, first, second = logging.getLogger("runbus.metrics"), Heard(1), Heard(2)
    logger.addHandler(first)
    logger.addHandler(second)
    try:
        with contextlib.closing(MetricWriter(str(tmp_path / "a.journal"), sync_ms=None)) as writer:
            names = (f"{number:08d}".ljust(1_024, "x") for number in range(MOST_NAMES + 1_000))
            for name in names:
                writer.log(name, 0.5)
            assert writer.dropped > 900
            assert first.is_enough.wait(120)
            dropped = writer.dropped
            writer.log("y" * 1_024, 0.5)
            assert writer.dropped == dropped + 1
            # That points of known names are kept is reported, too: behind it nothing can be under
            # way.
            name = "0" * 8 + "x" * 1_016
            while not second.is_enough.wait(0.01):
                writer.log(name, 0.5)
            assert writer.dropped == dropped + 1
    finally:
        logger.removeHandler(first)
        logger.removeHandler(second)
    warning, again = second.texts
    assert "the names of metrics take all the memory that a run has for them" in warning
    assert f"{dropped + 1} were lost" in again
