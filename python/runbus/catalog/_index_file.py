"""Writing index.db: never on a network file system, and never waited for."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from runbus._files import make_file, open_file
from runbus.catalog._listings import BUSY_S, VERSION
from runbus.errors import FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["write_rows"]

_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "afs"}

_TABLES = {
    "listings": "stamps BLOB, listing BLOB",
    "entries": "entry BLOB",
    "measured": "stamps BLOB, measured BLOB",
}


def write_rows(path: str, rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> bool:
    """Put rows into tables of the index, and return whether that was done; gives up where not.

    Args:
        path: The file.
        rows: The rows of each table: a key, a checksum, and what else it has.
    """
    if not _is_local(path) or not _is_ours(path):
        return False
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as database, database:
            _make_tables(database)
            for table, given in rows.items():
                places = ", ".join("?" * len(given[0])) if given else ""
                database.executemany(f"REPLACE INTO {table} VALUES ({places})", given)
    except sqlite3.OperationalError:
        return False  # a full disk, or somebody else writes it right now
    except (sqlite3.DatabaseError, ValueError):
        with suppress(OSError):
            os.unlink(path)
        return False
    return True


def _make_tables(database: sqlite3.Connection) -> None:
    """Make the tables, in the place of those of another version."""
    if database.execute("PRAGMA user_version").fetchone() != (VERSION,):
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            database.execute('DROP TABLE "{}"'.format(table.replace('"', '""')))
        database.execute(f"PRAGMA user_version = {VERSION}")
    for table, columns in _TABLES.items():
        given = f"key TEXT PRIMARY KEY, crc INTEGER, {columns}"
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({given}) WITHOUT ROWID")


def _is_local(path: str) -> bool:
    """Whether a file lies on a file system of this machine, where SQLite's locks hold."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split(" ")[1:3] for line in file]
    except OSError:
        return False
    folder = os.path.realpath(os.path.dirname(path)) + "/"
    above = [(len(at), kind) for at, kind in mounts if folder.startswith(at.rstrip("/") + "/")]
    return not above or max(above)[1].removeprefix("fuse.") not in _REMOTE


def _is_ours(path: str) -> bool:
    """Make the file, as SQLite would not: readable by others; whether it may be written."""
    try:
        os.close(open_file(path, os.O_RDWR))
    except FileNotFoundError:
        try:
            make_file(path)
        except OSError:
            return False
    except (FileUnreadable, OSError):
        return False
    return True
