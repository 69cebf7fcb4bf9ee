"""index.db: what is known of experiments that are over, so that thousands need not be read again.

Only a short cut. An entry counts while every file that it was made of is the same one, and was not
changed since, to the nanosecond, and each is looked at each time; without the index, or with a
damaged one, every answer is the same. It is extended after many runs were read, and never on a
network file system.

There are three tables. Listings are what a list shows of runs, in as few bytes as possible, with
the stamps of their files; entries are all that is known of the same experiments; the third one has
what runs are chosen and ordered by. All are in the order of time, so that the newest experiments
lie side by side.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import msgspec

from runbus import codec
from runbus.catalog._index_file import write_rows
from runbus.catalog._listings import (
    INDEX_FILE,
    ListedRun,
    Listing,
    Listings,
    key_of,
    keys_of,
)
from runbus.catalog._stamps import are_settled, files_of, packed, stamps
from runbus.errors import FileUnreadable, JournalError, RunbusError
from runbus.jobs import JobRecord, JobState, read_jobs, sweeps_asked
from runbus.metrics import Origin, RunInfo, StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from runbus._home import Home

__all__ = ["Contents", "Index", "Seen", "Sweeps"]

_WORTH = 200
"""So many runs must have been read from their folders before the index is extended by them."""

_ENTRIES = "SELECT key, crc, entry FROM entries WHERE key BETWEEN ? AND ?"


class Seen(NamedTuple):
    """What a list shows of a run that is over, beside what run.json says.

    Attributes:
        state: How it ended: a `JobState`.
        tags: Its tags.
    """

    state: str
    tags: list[str]


class Sweeps(NamedTuple):
    """The sweeps of an experiment.

    Attributes:
        sweeps: The sweeps: name, total, points before and goal, as a `Sweep` has them.
        of_job: Which one a job belongs to, by its name.
    """

    sweeps: list[tuple[str, int, int, str]]
    of_job: dict[str, int]

    @classmethod
    def read(cls, folder: str) -> Self:
        """Read them in an experiment's folder; there are none if they cannot be read."""
        asked = sweeps_asked(folder)
        return cls(
            [(one.title, one.total, len(one.done), one.goal) for one in asked],
            {job: number for number, one in enumerate(asked) for job in one.jobs},
        )


class _Entry(msgspec.Struct, frozen=True):
    """An experiment that is over.

    Attributes:
        runs: Its runs, in their order: see `_packed`.
        jobs: Its jobs.
    """

    runs: list[RunInfo | str]
    jobs: list[JobRecord]


# What an entry looks like is told by its fields, and its checksum begins with them: one of another
# version of runbus is as good as damaged.
_SHAPE = crc32(repr([JobRecord.__struct_fields__, RunInfo._fields, Origin._fields]).encode())


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
        listings: What has the index open already.
    """

    def __init__(self, home: Home, listings: Listings | None = None) -> None:
        self._home = home
        self._path = os.path.join(home.path, INDEX_FILE)
        self._opened_ns = time.time_ns()
        self._listings = Listings(home) if listings is None else listings
        self._entries: dict[str, _Entry | None] = {}
        self._fresh: dict[str, tuple[list[RunInfo], dict[str, JobRecord]]] = {}
        self._sweeps: dict[str, Sweeps] = {}
        self._noted: dict[str, Seen] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listings.close()

    def look_at(self, folders: Iterable[str]) -> None:
        """Look for experiments that will be asked for: all at once, which is quicker."""
        self._entries = dict.fromkeys(folders)
        self._listings.look_at(self._entries)
        by_key = keys_of(self._entries)
        for key, wanted, data in self._listings.rows(_ENTRIES, by_key):
            folder = by_key[key]
            if (
                self._listings.of(folder)
                and isinstance(data, bytes)
                and crc32(data, _SHAPE) == wanted
            ):
                with suppress(codec.DecodeError):
                    self._entries[folder] = codec.decode_json(data, _Entry)

    def experiment(self, folder: str) -> Contents:
        """Return what is in an experiment's folder.

        A run that is just being made, or whose maker died half-way, is left out.
        """
        if folder not in self._entries:
            self.look_at([folder])
        if (entry := self._entries[folder]) is None:
            return self.read(folder)
        infos = map(_unpacked, entry.runs)
        runs = [(_run(folder, info.id), info) for info in infos]
        return Contents(runs, {job.name: job for job in entry.jobs}, {})

    def sweeps(self, folder: str) -> Sweeps:
        """Return the sweeps of an experiment; they are read once."""
        if (known := self._sweeps.get(folder)) is None:
            known = self._sweeps[folder] = Sweeps.read(folder)
        return known

    def note(self, run: str, seen: Seen) -> None:
        """Remember what a run looks like that is over and was just read."""
        self._noted[run] = seen

    def read(self, folder: str) -> Contents:
        """Read an experiment, and keep it in mind if nothing more will happen to it."""
        problems: dict[str, str] = {}
        try:
            names = [os.path.basename(path) for path in self._home.runs_of(folder)]
        except FileUnreadable as error:
            return Contents([], {}, {folder: str(error)})
        try:
            jobs = read_jobs(folder)
        except JournalError as error:
            jobs = {}
            problems[folder] = str(error)
        infos = _read_infos(folder, names, problems)
        if names and len(infos) == len(names) and not problems and _is_over(infos, jobs):
            self._fresh[folder] = infos, jobs
        return Contents([(_run(folder, info.id), info) for info in infos], jobs, problems)

    def save(self, *, worth: int = _WORTH) -> int:
        """Remember what was read from folders, if it was `worth` runs; gives up where it cannot.

        Returns:
            How many experiments were added.
        """
        self._listings.close()  # nobody may be writing while somebody reads
        known = {
            folder: one
            for folder, one in self._fresh.items()
            if one[1] or all(_run(folder, info.id) in self._noted for info in one[0])
        }
        count = sum(len(infos) for infos, _ in known.values())
        if count < worth:
            return 0
        rows = [row for folder in known if (row := self._row(folder))]
        if not rows:
            return 0
        listings = [(key, crc32(shown, crc32(made)), made, shown) for key, made, shown, _ in rows]
        entries = [(key, crc32(entry, _SHAPE), entry) for key, _, _, entry in rows]
        is_done = write_rows(self._path, {"listings": listings, "entries": entries})
        return len(rows) if is_done else 0

    def _row(self, folder: str) -> tuple[str, bytes, bytes, bytes] | None:
        """Return what is kept of an experiment: its key, stamps, listing and entry.

        None if a file of it was changed just now, or since it was read; and for what has names
        that are no Unicode. If all were last changed well before it was read, none was meanwhile.
        """
        infos, jobs = self._fresh[folder]
        try:
            made = stamps(folder, files_of(folder, infos))
            if not are_settled(made.values(), self._opened_ns):
                return None
            key = key_of(folder)
            key.encode()
            listing = self._listed(folder, infos, jobs).encoded()
            entry = codec.encode_json(_Entry([*map(_packed, infos)], [*jobs.values()]))
            return key, packed(made), listing, entry
        except (OSError, ValueError, RunbusError):
            return None

    def _listed(self, folder: str, infos: list[RunInfo], jobs: dict[str, JobRecord]) -> Listing:
        sweeps = self.sweeps(folder) if jobs else Sweeps([], {})
        runs = []
        for info in infos:
            if (seen := self._noted.get(run := _run(folder, info.id))) is None:
                seen = Seen(str(jobs[info.job or ""].state), StoredRun(run, info).tags)
            sweep = sweeps.of_job.get(info.job or "", -1)
            about = info.id, info.name, info.project
            runs.append(ListedRun(*about, *seen, info.created_ns, sweep))
        return Listing(runs, sweeps.sweeps)


def _is_over(infos: list[RunInfo], jobs: dict[str, JobRecord]) -> bool:
    """Whether nothing more will happen to an experiment, as far as its journal tells.

    Of a job that was lost something may come to light yet.
    """
    states = (job.state for job in jobs.values())
    return {info.job for info in infos} <= (jobs.keys() or {None}) and all(
        state.is_terminal and state is not JobState.LOST for state in states
    )


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
