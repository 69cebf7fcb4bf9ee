"""index.db: what is known of experiments that are over, so that thousands need not be read again.

Only a short cut. An entry counts while every file that it was made of is the same one, to the
nanosecond; without the index, or with a damaged one, every answer is the same. It is
extended after many experiments were read, and never on a network file system.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from runbus import codec
from runbus._files import make_file, open_file, read_file
from runbus.errors import FileUnreadable, JournalError
from runbus.jobs import JobRecord, read_jobs
from runbus.metrics import RunInfo

if TYPE_CHECKING:
    from runbus._home import Home

__all__ = ["Index", "rebuild_index"]

_FILE = "index.db"
_WORTH = 1_000
"""So many runs must have been read from their folders before the index is extended by them."""

_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "afs"}
_BUSY_S = 0.2

# What an entry looks like is told by its fields: another version of runbus begins anew.
_VERSION = zlib.crc32(repr(JobRecord.__struct_fields__).encode()) & 0x7FFFFFFF
_TABLE = (
    "CREATE TABLE IF NOT EXISTS experiments"
    " (key TEXT PRIMARY KEY, crc INTEGER, entry BLOB) WITHOUT ROWID"
)


class _Entry(msgspec.Struct, frozen=True):
    """An experiment that is over: its files' stamps, each run's run.json, and its jobs."""

    stamps: list[tuple[int, int, int]]
    runs: dict[str, str]
    jobs: list[JobRecord]


class Contents(NamedTuple):
    """What is in an experiment's folder.

    Attributes:
        runs: The runs, each with its folder.
        jobs: The jobs, by their names.
        problems: What is wrong with a run, or with the experiment, by the path of its folder.
    """

    runs: list[tuple[str, RunInfo]]
    jobs: dict[str, JobRecord]
    problems: dict[str, str]


class Index:
    """Reads experiments, from the index where that is as good.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = os.path.join(home.path, _FILE)
        self._entries = _read(self._path)
        self._fresh: dict[str, _Entry] = {}

    def experiment(self, folder: str) -> Contents:
        """Return what is in an experiment's folder.

        A run that is just being made, or whose maker died half-way, is left out.
        """
        key = "/".join(folder.rsplit("/", 2)[1:])  # its project and itself
        problems: dict[str, str] = {}
        entry = self._known(folder, key) or self._read_folder(folder, key, problems)
        runs = []
        for name, text in entry.runs.items():
            run = f"{folder}/runs/{name}"
            try:
                runs.append((run, RunInfo.parse(text.encode(), f"{run}/run.json")))
            except FileUnreadable as error:
                problems[run] = str(error)
        return Contents(runs, {job.name: job for job in entry.jobs}, problems)

    def save(self, *, worth: int = _WORTH) -> int:
        """Remember what was read from folders, if it was `worth` runs; gives up where it cannot.

        Returns:
            How many experiments were added.
        """
        if sum(len(one.runs) for one in self._fresh.values()) < worth or not _is_local(self._path):
            return 0
        rows = [(key, codec.encode_json(entry)) for key, entry in self._fresh.items()]
        if not _is_ours(self._path):
            return 0
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as database, database:
                if database.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                    database.execute("DROP TABLE IF EXISTS experiments")
                    database.execute(f"PRAGMA user_version = {_VERSION}")
                database.execute(_TABLE)
                database.executemany(
                    "REPLACE INTO experiments VALUES (?, ?, ?)",
                    [(key, zlib.crc32(entry), entry) for key, entry in rows],
                )
        except sqlite3.OperationalError:
            return 0  # a full disk, or somebody else writes it right now
        except (sqlite3.DatabaseError, ValueError):
            _remove(self._path)
            return 0
        return len(rows)

    def _known(self, folder: str, key: str) -> _Entry | None:
        data = self._entries.get(key)
        if data is None:
            return None
        try:
            entry = codec.decode_json(data, _Entry)
            return entry if entry.stamps == _stamps(folder, entry.runs) else None
        except (codec.DecodeError, OSError):
            return None

    def _read_folder(self, folder: str, key: str, problems: dict[str, str]) -> _Entry:
        """Read an experiment, and keep it in mind if nothing more will happen to it."""
        try:
            names = [os.path.basename(path) for path in self._home.runs_of(folder)]
        except FileUnreadable as error:
            problems[folder] = str(error)
            return _Entry([], {}, [])
        try:
            # Before they are read: what changes meanwhile must not count as seen.
            stamps = _stamps(folder, names)
        except OSError:
            stamps = []
        try:
            jobs = read_jobs(folder)
        except JournalError as error:
            jobs = {}
            problems[folder] = str(error)
        entry = _Entry(stamps, _read_texts(folder, names, problems), list(jobs.values()))
        is_over = bool(jobs) and all(job.state.is_terminal for job in entry.jobs)
        if stamps and is_over and len(entry.runs) == len(names) == len(jobs):
            self._fresh[key] = entry
        return entry


def rebuild_index(home: Home) -> int:
    """Make the index anew and return how many experiments are in it."""
    _remove(os.path.join(home.path, _FILE))
    index = Index(home)
    for folder in home.experiment_folders():
        index.experiment(folder)
    return index.save(worth=0)


def _read(path: str) -> dict[str, bytes]:
    """Return the entries that are undamaged, by their keys."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return {}
    except OSError:
        return {}
    try:
        with closing(
            sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_S)
        ) as database:
            if database.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                return {}
            rows = database.execute("SELECT key, crc, entry FROM experiments").fetchall()
    except (sqlite3.Error, ValueError):  # also a text that is no longer valid
        return {}
    return {
        key: entry
        for key, crc, entry in rows
        if isinstance(entry, bytes) and zlib.crc32(entry) == crc
    }


def _stamps(folder: str, names: list[str] | dict[str, str]) -> list[tuple[int, int, int]]:
    """Return what tells the files that an entry is made of from others.

    Raises:
        OSError: One is not there.
    """
    runs = f"{folder}/runs"
    paths = [f"{folder}/events.journal", runs, *(f"{runs}/{name}/run.json" for name in names)]
    found = map(os.stat, paths)
    return [(one.st_ino, one.st_mtime_ns, one.st_size) for one in found]


def _read_texts(folder: str, names: list[str], problems: dict[str, str]) -> dict[str, str]:
    texts = {}
    for name in names:
        run = f"{folder}/runs/{name}"
        try:
            # Half as dear as to open it `within` the experiment's folder.
            if os.path.islink(run):
                raise FileUnreadable(f"{run}/run.json", "its folder is a symbolic link")
            texts[name] = read_file(f"{run}/run.json").decode()
        except FileNotFoundError:
            continue
        except FileUnreadable as error:
            problems[run] = str(error)
        except UnicodeDecodeError:
            problems[run] = f"{run}/run.json: it is not valid UTF-8"
    return texts


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


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
