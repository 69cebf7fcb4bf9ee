"""Waiting for the clock of files, before which an index keeps nothing."""

from __future__ import annotations

import time
from pathlib import Path

from runbus._home import Home
from runbus.catalog import rebuild_index
from runbus.testing._waiting import wait_until

__all__ = ["index_when_settled"]


def index_when_settled(home: Path) -> int:
    """Make an index anew once no file could change within the same tick of the clock."""
    newest = max(path.lstat().st_ctime_ns for path in home.rglob("*"))
    wait_until(lambda: time.time_ns() >= newest + 60_000_000)
    return rebuild_index(Home(home))
