"""Removing runs: into the trash of the home, back from it, and for good.

$RUNBUS_HOME/trash/<run_id>/
  removed.json           what was removed, and where it was
  job/                   the folder of its job: all attempts
  run/                   the run's folder
  experiment/            the rest of its experiment, if this was its last run

Everything is moved by renaming, the run last: a removal that is cut short is finished by the next
one, and so is a restoring. Links are moved or removed themselves, never what they lead to.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from runbus._files import add_check, make_folder, read_file, take_check, write_file
from runbus._home import Home, abbreviated
from runbus._ids import is_experiment_id, split_run_id
from runbus.errors import (
    FileUnreadable,
    HomeUnusable,
    RunBusy,
    RunNotFound,
    near_matches,
    os_reason,
)
from runbus.jobs import leader_of, read_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.catalog._runs import RunRecord

__all__ = ["Trashed", "find_trashed", "purge_run", "remove_run", "restore_run", "trashed"]

_TRASH = "trash"
_NOTE = "removed.json"
_VERSION = 1
_RUN, _JOB, _EXPERIMENT = "run", "job", "experiment"


class Trashed(NamedTuple):
    """A run in the trash.

    Attributes:
        id: Its id.
        name: What people called it.
        project: The name of its project's folder.
        job: The name of its job's folder; empty for a run without one.
        removed_ns: When it was removed, Unix time in nanoseconds.
        folder: Where it lies now.
    """

    id: str
    name: str
    project: str
    job: str
    removed_ns: int
    folder: str


def remove_run(run: RunRecord, *, purge: bool = False) -> None:
    """Remove a run that is over, with all that its job wrote.

    It goes to the trash of its home, from which `restore_run` brings it back. The experiment goes
    with its last run. That the job was there stays in the record of the others.

    Args:
        run: The run.
        purge: Remove it for good: there is no way back.

    Raises:
        RunBusy: It is not over, a process still writes to it, or somebody leads its experiment.
        HomeUnusable: Something of it cannot be removed, or it lies outside of its home.
    """
    _check_over(run)
    experiment = run.experiment_folder
    home = os.path.dirname(os.path.dirname(os.path.dirname(experiment)))
    try:
        _check_inside(experiment, home)
        job = os.path.dirname(run.job_folder) if run.job_folder is not None else ""
        about = {"id": run.id, "name": run.name, "project": _name_of_project(experiment),
                 "job": os.path.basename(job)}  # fmt: skip
        entry = _new_entry(home, about)
        if job:
            _move(job, os.path.join(entry, _JOB))
        _move(run.folder, os.path.join(entry, _RUN))
        if _is_empty(experiment):
            Home(home).note_closed(experiment)
            _move(experiment, os.path.join(entry, _EXPERIMENT))
        if purge:
            _purge(entry)
    except OSError as error:
        raise _unusable(error, run.folder) from None


def trashed(home: str | os.PathLike[str] | None = None) -> list[Trashed]:
    """Return the runs in the trash, those first that were removed first.

    Left out are folders that do not say what they hold, and runs whose removal was cut short.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        HomeUnusable: The trash cannot be read.
    """
    whole = (one for one in _entries(Home(home).path) if os.path.lexists(f"{one.folder}/{_RUN}"))
    return sorted(whole, key=lambda one: (one.removed_ns, one.id))


def find_trashed(text: str, *, home: str | os.PathLike[str] | None = None) -> Trashed:
    """Return the run in the trash of an id, a part of one, or a name: the last one removed.

    Raises:
        RunNotFound: There is none; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
        HomeUnusable: The trash cannot be read.
    """
    for one in _entries(Home(home).path):
        if one.id == text:
            return one  # also one whose removal was cut short
    found = {one.id: one for one in trashed(home)}
    if named := [one for one in found.values() if one.name == text]:
        return named[-1]
    if (part := abbreviated(text, found)) is not None:
        return found[part]
    names = dict.fromkeys([*found, *(one.name for one in found.values())])
    raise RunNotFound(text, near_matches(text, names), bool(found))


def restore_run(one: Trashed) -> str:
    """Bring a run back from the trash, to where it was, and return its folder.

    Raises:
        HomeUnusable: It cannot be moved, something lies where it was, or the rest of its experiment
            is gone for good.
    """
    home = os.path.dirname(os.path.dirname(one.folder))
    experiments = os.path.join(home, "experiments")
    experiment_id = _experiment_of(one.id)
    experiment = os.path.join(experiments, one.project, experiment_id)
    try:
        _make(experiments)
        _make(os.path.dirname(experiment))
        if not os.path.lexists(experiment):
            _move(_rest_of(one.folder), experiment)
        _check_inside(experiment, home)
        # What people see comes last.
        if one.job:
            _make(os.path.join(experiment, "jobs"))
            _move(os.path.join(one.folder, _JOB), os.path.join(experiment, "jobs", one.job))
        runs = os.path.join(experiment, "runs")
        _make(runs)
        folder = os.path.join(runs, one.id)
        _move(os.path.join(one.folder, _RUN), folder)
        _remove(one.folder)
    except OSError as error:
        raise _unusable(error, one.folder) from None
    return folder


def purge_run(one: Trashed) -> None:
    """Remove a run in the trash for good.

    Raises:
        HomeUnusable: Something of it cannot be removed.
    """
    try:
        _purge(one.folder)
    except OSError as error:
        raise _unusable(error, one.folder) from None


def _purge(entry: str) -> None:
    """Remove an entry; what it has of the experiment goes to another run of that in the trash."""
    rest = os.path.join(entry, _EXPERIMENT)
    if os.path.lexists(rest) and (others := [one for one in _siblings(entry) if one != entry]):
        _move(rest, os.path.join(others[0], _EXPERIMENT))
    _remove(entry)


def _rest_of(entry: str) -> str:
    """Return where in the trash the rest of an entry's experiment lies.

    Raises:
        OSError: Nowhere.
    """
    for one in _siblings(entry):
        if os.path.lexists(rest := os.path.join(one, _EXPERIMENT)):
            return rest
    raise OSError(errno.ENOENT, "the rest of its experiment was removed for good", entry)


def _siblings(entry: str) -> list[str]:
    """Return the folders of all runs in the trash that are of an entry's experiment."""
    trash, run_id = os.path.split(entry)
    of = f"{_experiment_of(run_id)}-"
    return [os.path.join(trash, name) for name in sorted(os.listdir(trash)) if name.startswith(of)]


def _check_over(run: RunRecord) -> None:
    is_over = run.state.is_terminal and not run.is_being_written()
    if not is_over or leader_of(run.experiment_folder) is not None:
        raise RunBusy(run.id)


def _check_inside(experiment: str, home: str) -> None:
    """Make sure that no link leads out of the home on the way to an experiment's folder.

    Raises:
        OSError: One does.
    """
    above = os.path.join(home, "experiments"), os.path.dirname(experiment), experiment
    for folder in (*above, f"{experiment}/runs", f"{experiment}/jobs"):
        if os.path.islink(folder):
            raise OSError(errno.ELOOP, "it is a symbolic link", folder)


def _new_entry(home: str, about: dict[str, str]) -> str:
    """Make, or find again, the folder of a run in the trash."""
    trash = os.path.join(home, _TRASH)
    _make(trash)
    entry = os.path.join(trash, about["id"])
    _make(entry)
    text = json.dumps({"version": _VERSION, **about, "removed_ns": time.time_ns()}, indent=2)
    write_file(os.path.join(entry, _NOTE), add_check(text.encode()))
    return entry


def _make(folder: str) -> None:
    """Make a folder; one that is there must be one, and no link.

    Raises:
        OSError: It cannot be made.
    """
    try:
        make_folder(folder)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise OSError(errno.ENOTDIR, "it is not a folder", folder) from None


def _move(source: str, target: str) -> None:
    """Rename a folder; does nothing if that was done before.

    Raises:
        OSError: It cannot be moved, or something else is there.
    """
    if not os.path.lexists(source):
        return
    if os.path.lexists(target):
        raise OSError(errno.EEXIST, "there is something in its place", target)
    os.rename(source, target)


def _is_empty(experiment: str) -> bool:
    """Whether an experiment has no more runs, and no job of it is to run yet."""
    if os.listdir(os.path.join(experiment, "runs")):
        return False
    return all(job.state.is_terminal for job in read_jobs(experiment).values())


def _entries(home: str) -> Iterator[Trashed]:
    trash = os.path.join(home, _TRASH)
    try:
        if os.path.islink(trash):
            raise OSError(errno.ELOOP, "it is a symbolic link", trash)
        names = os.listdir(trash)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(error, trash) from None
    for name in names:
        folder = os.path.join(trash, name)
        if split_run_id(name) is None or os.path.islink(folder):
            continue
        try:
            path = os.path.join(folder, _NOTE)
            about = json.loads(take_check(read_file(path, limit=1 << 20), path))
            one = Trashed(folder=folder, **{field: about[field] for field in Trashed._fields[:-1]})
        except (FileNotFoundError, FileUnreadable, ValueError, KeyError, TypeError):
            continue
        if _is_plausible(one, name):
            yield one


def _is_plausible(one: Trashed, name: str) -> bool:
    """Whether what a note says cannot lead anywhere else: it is input like any other."""
    kinds: list[object] = [one.id, one.name, one.project, one.job]
    if not all(isinstance(text, str) for text in kinds) or type(one.removed_ns) is not int:
        return False
    return one.id == name and _is_a_name(one.project) and (not one.job or _is_a_name(one.job))


def _is_a_name(text: str) -> bool:
    return bool(text) and "/" not in text and "\0" not in text and text not in {".", ".."}


def _experiment_of(run_id: str) -> str:
    parts = split_run_id(run_id)
    assert parts is not None
    assert is_experiment_id(parts[0])
    return parts[0]


def _name_of_project(experiment: str) -> str:
    return os.path.basename(os.path.dirname(experiment))


def _remove(folder: str) -> None:
    """Remove a folder, into which the answer of git about a short run may still be written."""
    for _ in range(3):
        try:
            return shutil.rmtree(folder)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    return shutil.rmtree(folder)


def _unusable(error: OSError, folder: str) -> HomeUnusable:
    where = os.fsdecode(error.filename) if error.filename else folder
    return HomeUnusable(where, os_reason(error))
