"""Functions for the queues under test."""

from __future__ import annotations

import os
import time

__all__ = ["add", "fail", "wait"]


def add(a: int, b: int = 0) -> int:
    """Return the sum."""
    return a + b


def fail(reason: str) -> None:
    """Fail.

    Raises:
        ValueError: Always.
    """
    raise ValueError(reason)


def wait(path: str, limit_s: float = 120.0) -> None:
    """Wait until a file is there, or for so many seconds."""
    until = time.monotonic() + limit_s
    while not os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.02)
