"""index.db: what is known of experiments that are over, so that thousands need not be read again.

Only a short cut. An entry counts while every file that it was made of is the same one, and was not
changed since, to the nanosecond; without the index, or with a damaged one, every answer is the
same. It is extended after many runs were read, and never on a network file system.

Of experiments without jobs it also holds how each run ended and its tags, once a list has looked:
those are in journals, which cost more to read than all the rest.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from runbus import codec
from runbus._files import make_file, open_file
from runbus.catalog._stamps import (
    Stamp,
    are_settled,
    files_of_jobs,
    files_of_plain_runs,
    stamp,
    stamps,
)
from runbus.errors import FileUnreadable, JournalError
from runbus.jobs import JobRecord, read_jobs
from runbus.metrics import Origin, RunInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from runbus._home import Home

__all__ = ["INDEX_FILE", "Index", "Seen"]

INDEX_FILE = "index.db"
_WORTH = 200
"""So many runs must have been read from their folders before the index is extended by them."""

_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "afs"}
_BUSY_S = 0.2

_TABLE = (
    "CREATE TABLE IF NOT EXISTS experiments"
    " (key TEXT PRIMARY KEY, crc INTEGER, entry BLOB) WITHOUT ROWID"
)
_LOOK = "SELECT crc, entry FROM experiments WHERE key = ?"


class Seen(NamedTuple):
    """What a list shows of a run that is over, beside what run.json says.

    Attributes:
        state: How it ended: a `JobState`.
        tags: Its tags.
    """

    state: str
    tags: list[str]


class _Entry(msgspec.Struct, frozen=True):
    """An experiment that is over.

    Attributes:
        stamps: What tells the files that it was made of from others, by their paths within it.
        runs: Its runs, in their order: see `_packed`.
        jobs: Its jobs.
        seen: What was seen of each run, in the same order; nothing for an experiment with jobs.
    """

    stamps: dict[str, Stamp]
    runs: list[RunInfo | str]
    jobs: list[JobRecord]
    seen: list[Seen] = []


# What an entry looks like is told by its fields: another version of runbus begins anew.
_SHAPES = (_Entry, JobRecord)
_FIELDS = [*(one.__struct_fields__ for one in _SHAPES), RunInfo._fields, Origin._fields]
_VERSION = zlib.crc32(repr(_FIELDS).encode()) & 0x7FFFFFFF


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
    """Reads experiments, from the index where that is as good. A context manager.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = os.path.join(home.path, INDEX_FILE)
        self._opened_ns = time.time_ns()
        self._database = _opened(self._path)
        self._fresh: dict[str, _Entry] = {}
        self._plain: dict[str, list[RunInfo]] = {}
        self._known_runs: dict[str, Seen] = {}
        self._noted: dict[str, Seen] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def experiment(self, folder: str) -> Contents:
        """Return what is in an experiment's folder.

        A run that is just being made, or whose maker died half-way, is left out.
        """
        problems: dict[str, str] = {}
        entry = self._known(folder) or self._read_folder(folder, problems)
        infos = map(_unpacked, entry.runs)
        runs = [(_run(folder, info.id), info) for info in infos]
        return Contents(runs, {job.name: job for job in entry.jobs}, problems)

    def seen(self, run: str) -> Seen | None:
        """Return what is known of a run whose experiment was just asked for; None if nothing."""
        return self._known_runs.get(run)

    def note(self, run: str, seen: Seen) -> None:
        """Remember what a run without a job looks like that is over and was just read."""
        self._noted[run] = seen

    def save(self, *, worth: int = _WORTH) -> int:
        """Remember what was read from folders, if it was `worth` runs; gives up where it cannot.

        Returns:
            How many experiments were added.
        """
        plain = {
            folder: infos
            for folder, infos in self._plain.items()
            if all(_run(folder, info.id) in self._noted for info in infos)
        }
        count = sum(len(one.runs) for one in self._fresh.values()) + sum(map(len, plain.values()))
        self._close()  # nobody may be writing while somebody reads
        if count < worth or not _is_local(self._path):
            return 0
        entries = self._fresh | dict(self._settled(plain))
        rows = [row for folder, entry in entries.items() if (row := _row(folder, entry))]
        if not rows or not _is_ours(self._path):
            return 0
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as database, database:
                if database.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                    database.execute("DROP TABLE IF EXISTS experiments")
                    database.execute(f"PRAGMA user_version = {_VERSION}")
                database.execute(_TABLE)
                database.executemany("REPLACE INTO experiments VALUES (?, ?, ?)", rows)
        except sqlite3.OperationalError:
            return 0  # a full disk, or somebody else writes it right now
        except (sqlite3.DatabaseError, ValueError):
            try:
                os.unlink(self._path)
            except OSError:
                pass
            return 0
        return len(rows)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _known(self, folder: str) -> _Entry | None:
        if self._database is None:
            return None
        try:
            found = self._database.execute(_LOOK, (_key(folder),)).fetchone()
        except ValueError:  # no Unicode
            return None
        except sqlite3.Error:
            self._close()  # it is damaged, or somebody writes it: no second one waits for that
            return None
        try:
            crc, data = found or (0, None)
            if not isinstance(data, bytes) or zlib.crc32(data) != crc:
                return None
            entry = codec.decode_json(data, _Entry)
            for path, made in entry.stamps.items():
                if stamp(os.stat(f"{folder}/{path}")) != made:
                    return None
        except (codec.DecodeError, OSError):
            return None
        if entry.seen:
            runs = [_run(folder, _unpacked(info).id) for info in entry.runs]
            self._known_runs |= zip(runs, entry.seen, strict=True)
        return entry

    def _read_folder(self, folder: str, problems: dict[str, str]) -> _Entry:
        """Read an experiment, and keep it in mind if nothing more will happen to it."""
        try:
            names = [os.path.basename(path) for path in self._home.runs_of(folder)]
        except FileUnreadable as error:
            problems[folder] = str(error)
            return _Entry({}, [], [])
        try:
            # Before they are read: what changes meanwhile must not count as seen.
            made = stamps(folder, files_of_jobs(names))
        except OSError:
            made = {}
        try:
            jobs = read_jobs(folder)
        except JournalError as error:
            jobs = {}
            problems[folder] = str(error)
        infos = _read_infos(folder, names, problems)
        entry = _Entry(made, [*infos], list(jobs.values()))
        if not names or len(infos) != len(names) or problems:
            return entry
        if not jobs:
            self._plain[folder] = infos
        elif made and len(names) == len(jobs) and all(j.state.is_terminal for j in entry.jobs):
            self._fresh[folder] = entry
        return entry

    def _settled(self, plain: dict[str, list[RunInfo]]) -> Iterator[tuple[str, _Entry]]:
        """Yield entries for experiments without jobs, of which no file was changed since.

        None was while it was read, either, if all were last changed well before that.
        """
        for folder, infos in plain.items():
            try:
                made = stamps(folder, files_of_plain_runs(folder, (info.id for info in infos)))
            except OSError:
                continue
            if are_settled(made.values(), self._opened_ns):
                seen = [self._noted[_run(folder, info.id)] for info in infos]
                yield folder, _Entry(made, [*infos], [], seen)


def _run(folder: str, run_id: str) -> str:
    return f"{folder}/runs/{run_id}"


def _packed(info: RunInfo | str) -> RunInfo | str:
    """Return an info; as text, if it holds what only Python's JSON has: NaN, surrogates."""
    try:
        if codec.decode_json(codec.encode_json(info), RunInfo) == info:
            return info
    except (codec.DecodeError, ValueError, OverflowError):
        pass
    return json.dumps(info)


def _unpacked(info: RunInfo | str) -> RunInfo:
    if not isinstance(info, str):
        return info
    *fields, (argv, *rest) = json.loads(info)
    return RunInfo._make([*fields, Origin(tuple(argv), *rest)])


def _key(folder: str) -> str:
    """Return what an experiment is called in the index: its project and itself."""
    return "/".join(folder.rsplit("/", 2)[1:])


def _opened(path: str) -> sqlite3.Connection | None:
    """Return the index, open for reading; None if there is none of this version."""
    try:
        os.close(open_file(path))
        database = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=_BUSY_S)
    except (FileUnreadable, OSError, sqlite3.Error, ValueError):
        return None
    try:
        # One transaction: each question by itself would lock the file and look for changes.
        database.execute("BEGIN")
        if database.execute("PRAGMA user_version").fetchone() == (_VERSION,):
            return database
    except (sqlite3.Error, ValueError):
        pass
    database.close()
    return None


def _quoted(path: str) -> str:
    """Return a path for a URI."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _row(folder: str, entry: _Entry) -> tuple[str, int, bytes] | None:
    """Return what is kept of an experiment; None if it has a name that is no Unicode."""
    try:
        key = _key(folder)
        key.encode()
        runs = [*map(_packed, entry.runs)]
        data = codec.encode_json(msgspec.structs.replace(entry, runs=runs))
    except ValueError:
        return None
    return key, zlib.crc32(data), data


def _read_infos(folder: str, names: list[str], problems: dict[str, str]) -> list[RunInfo]:
    infos = []
    for name in names:
        run = f"{folder}/runs/{name}"
        try:
            # Half as dear as to open it `within` the experiment's folder.
            if os.path.islink(run):
                raise FileUnreadable(f"{run}/run.json", "its folder is a symbolic link")
            infos.append(RunInfo.read(run))
        except FileNotFoundError:
            continue
        except FileUnreadable as error:
            problems[run] = str(error)
    return infos


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
