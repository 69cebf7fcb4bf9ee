"""Folders for benches that make many files."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL = tempfile.TemporaryDirectory(prefix="runbus-bench-")
"""Removed when the benches are over."""


@contextmanager
def scratch() -> Iterator[str]:
    """Yield a new folder, which stays until the benches are over.

    An ext4 without a journal passes over each inode that was deleted within the last minute when it
    makes a file: to clear up after one round would slow down the next one threefold.
    """
    yield tempfile.mkdtemp(dir=_ALL.name)
