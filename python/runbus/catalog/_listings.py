"""What the index has for lists: found with as little as possible, and looked at each time.

Who only lists runs that are over needs nothing of runbus but this: `runbus ls` of ten thousand must
not wait for what reads, writes and decodes all the rest.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from runbus._core import are_same
from runbus._files import open_file
from runbus.errors import FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

    from runbus._home import Home

__all__ = ["BUSY_S", "INDEX_FILE", "VERSION", "ListedRun", "Listing", "Listings", "Sweep"]

INDEX_FILE = "index.db"
VERSION = 3
"""What the tables, and the listings in them, look like: those of another version are not read."""

BUSY_S = 0.2

_LISTINGS = "SELECT key, crc, stamps, listing FROM listings WHERE key BETWEEN ? AND ?"


class Sweep(NamedTuple):
    """A sweep, as far as an experiment has it.

    Attributes:
        folder: The folder of the experiment.
        number: Which one of its sweeps it is, counted from 0.
        name: Its name, or what the names of its jobs have in common.
        total: How many points it has, those of earlier experiments among them.
        before: How many of them earlier experiments have.
        goal: What is best of its points, such as `min:val/loss`; empty if nobody says.
    """

    folder: str
    number: int
    name: str
    total: int
    before: int
    goal: str


class ListedRun(NamedTuple):
    """What a list shows of a run that is over.

    Attributes:
        id: Its id.
        name: What people call it.
        project: What it is gathered under.
        state: How it ended: a `JobState`.
        tags: Its tags.
        created_ns: When it was made, Unix time in nanoseconds.
        sweep: Which sweep of its experiment it is a point of; -1 if none.
    """

    id: str
    name: str
    project: str
    state: str
    tags: list[str]
    created_ns: int
    sweep: int


class Listing(NamedTuple):
    """What a list shows of an experiment that is over.

    From an index it comes as plain lists of the same: ten thousand objects less.

    Attributes:
        runs: Its runs, in their order.
        sweeps: Its sweeps, without their folder and number.
    """

    runs: list[ListedRun]
    sweeps: list[tuple[str, int, int, str]]

    def encoded(self) -> bytes:
        """Return it as JSON.

        Raises:
            ValueError: A name in it is no Unicode.
        """
        return json.dumps(self, ensure_ascii=False).encode()


class Listings:
    """Reads listings from the index. A context manager.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._database = _opened(os.path.join(home.path, INDEX_FILE))
        self._known: dict[str, Listing | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; nothing more is found. Safe to repeat."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def look_at(self, folders: Iterable[str]) -> None:
        """Look for experiments that will be asked for: all at once, which is quicker."""
        self._known = dict.fromkeys(folders)
        by_key = keys_of(self._known)
        rows = [
            (by_key[key], made, listing)
            for key, wanted, made, listing in self.rows(_LISTINGS, by_key)
            if isinstance(made, bytes) and isinstance(listing, bytes)
            if crc32(listing, crc32(made)) == wanted
        ]
        same = self.are_same([(folder, made) for folder, made, _ in rows])
        kept = [row for row, is_same in zip(rows, same, strict=True) if is_same]
        # All of them as one text: a tenth of the time.
        text = b"[" + b",".join([listing for *_, listing in kept]) + b"]"
        with suppress(ValueError, RecursionError):  # which no writer of ours has written
            self._known.update(zip([row[0] for row in kept], json.loads(text), strict=True))

    def are_same(self, noted: Iterable[tuple[str, bytes]]) -> list[bool]:
        """Return of each folder of the home whether its files have the stamps that were noted."""
        root = self._home.experiments
        below = len(root) + 1
        return are_same(root, [(folder[below:], made) for folder, made in noted])

    def of(self, folder: str) -> Listing | None:
        """Return what a list shows of an experiment; None if its folder has to be read."""
        if folder not in self._known:
            self.look_at([folder])
        return self._known[folder]

    def rows(self, question: str, keys: dict[str, str]) -> list[Any]:
        """Return the rows of the index that have one of some keys; none once it is damaged.

        Args:
            question: A SELECT that begins with the key, and asks for those between two.
            keys: The keys.
        """
        if self._database is None or not keys:
            return []
        try:
            rows = self._database.execute(question, (min(keys), max(keys))).fetchall()
        except (sqlite3.Error, ValueError):
            self.close()  # or somebody writes it: no second one waits for that
            return []
        return [row for row in rows if row[0] in keys]


def key_of(folder: str) -> str:
    """Return what an experiment is called in the index: its id, which begins with a time, first."""
    _, project, experiment_id = folder.rsplit("/", 2)
    return f"{experiment_id}/{project}"


def keys_of(folders: Iterable[str]) -> dict[str, str]:
    """Return folders by their keys, without those whose names are no Unicode: no index has them."""
    return {key: folder for folder in folders if _is_unicode(key := key_of(folder))}


def _is_unicode(key: str) -> bool:
    return key.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in key)


def _opened(path: str) -> sqlite3.Connection | None:
    """Return the index, open for reading; None if there is none of this version."""
    try:
        os.close(open_file(path))
        database = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=BUSY_S)
    except (FileUnreadable, OSError, sqlite3.Error, ValueError):
        return None
    try:
        # One transaction: each question by itself would lock the file and look for changes.
        database.execute("BEGIN")
        if database.execute("PRAGMA user_version").fetchone() == (VERSION,):
            return database
    except (sqlite3.Error, ValueError):
        pass
    database.close()
    return None


def _quoted(path: str) -> str:
    """Return a path for a URI."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
