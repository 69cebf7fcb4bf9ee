"""Where things are on disk: one place that knows the folders.

$RUNBUS_HOME (default ~/.runbus)
  newest                       the newest experiment's id; found again if it is lost
  experiments/<project>/<experiment_id>/
    experiment.json            what was asked
    events.journal             every fact, in order
    leader                     who leads it, and when anything was heard of it last
    jobs/<job>/<attempt>/      request, stdout.log, stderr.log, pid.json, exit.json,
                               result.json
    code/                      packaged code, and what it holds; the diffs of uncommitted changes
    runs/<run_id>/             run.json, {metrics,records}/<writer>.journal, artifacts/
  trash/<run_id>/              a run that was removed, with its job, until it is purged

Plain paths as strings: `init()` must not pay for pathlib.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from runbus._files import absolute_path, make_folder, make_folders, open_file, read_file, write_file
from runbus._ids import is_experiment_id, new_experiment_id, slug, split_run_id
from runbus.errors import AmbiguousId, FileUnreadable, HomeUnusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "ENV_ATTEMPT",
    "ENV_HOME",
    "ENV_RESULT",
    "ENV_RUN",
    "ENV_SAMPLER",
    "ENV_SYSTEM",
    "GIVEN",
    "RESULT",
    "RESULT_BYTES",
    "Home",
    "is_there",
]

ENV_HOME = "RUNBUS_HOME"
_LONGEST_PATH = 4096
_LETTERS_AT = len("20261121-142530-")
_SHORTEST = 4
ENV_RUN = "RUNBUS_RUN"
"""Names the folder of the run that was made for this process."""

ENV_ATTEMPT = "RUNBUS_ATTEMPT"
"""Names the folder of the attempt of a job that this process is part of; the wrapper sets it."""

ENV_RESULT = "RUNBUS_RESULT"
"""Names the file that a job's program may write its result to, as JSON."""

ENV_SAMPLER = "RUNBUS_SAMPLER"
"""Names the program that samples beside tasks, where a launcher starts those."""

ENV_SYSTEM = "RUNBUS_SYSTEM"
"""Says whether and how runs have their machine sampled, where the call does not."""

GIVEN = "given"
"""The file there with the text that is given to the program."""

RESULT = "result.json"
"""The file there that `RUNBUS_RESULT` names."""

RESULT_BYTES = 1 << 20
"""How large that may be: it is a value, not a data set."""


class Home:
    """The folder under which runbus keeps everything."""

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        chosen = os.fspath(path) if path else os.environ.get(ENV_HOME) or "~/.runbus"
        self.path = absolute_path(os.path.expanduser(chosen))

    def __repr__(self) -> str:
        return f"Home({self.path!r})"

    def __fspath__(self) -> str:
        return self.path

    @property
    def experiments(self) -> str:
        """The folder that holds a folder for each project."""
        return os.path.join(self.path, "experiments")

    def new_experiment(self, project: str) -> tuple[str, str]:
        """Make the folder of a new experiment.

        Its id follows all that there are in the home, also where the clock was set back: what is
        newest is told by the ids.

        Returns:
            The new id and the folder's path.

        Raises:
            HomeUnusable: The home folder cannot be made or written.
        """
        parent = os.path.join(self.experiments, slug(project))
        try:
            make_folders(parent)
            newest = self._newest_id()
            while True:
                experiment_id = new_experiment_id(after=newest)
                folder = os.path.join(parent, experiment_id)
                try:
                    make_folder(folder)
                except FileExistsError:
                    continue
                make_folder(os.path.join(folder, "runs"))
                self._note_newest(experiment_id)
                return experiment_id, folder
        except OSError as error:
            raise HomeUnusable(self.path, _reason(self.path, error)) from None

    def _newest_id(self) -> str:
        """Return the newest id in the home; empty if there is none."""
        try:
            noted = read_file(os.path.join(self.path, "newest"), limit=64).decode(
                "ascii", "replace"
            )
        except (FileNotFoundError, FileUnreadable):
            noted = ""
        if is_experiment_id(noted):
            return noted
        # The note is only a short cut.
        names = (os.path.basename(folder) for folder in self.experiment_folders(problems={}))
        return max(filter(is_experiment_id, names), default="")

    def _note_newest(self, experiment_id: str) -> None:
        path = os.path.join(self.path, "newest")
        try:
            if not _write_over(path, experiment_id.encode()):
                write_file(path, experiment_id.encode(), is_durable=False)
        except OSError:
            # An older note would be worse than none.
            try:
                os.unlink(path)
            except OSError:
                pass

    @classmethod
    def of(cls, experiment: str) -> Home:
        """Return the home that the folder of an experiment lies in."""
        return cls(os.path.dirname(os.path.dirname(os.path.dirname(experiment))))

    def find_experiment(self, experiment_id: str) -> str | None:
        """Return the folder of an experiment, whatever its project; None if there is none.

        Raises:
            HomeUnusable: The home folder cannot be read.
            FileUnreadable: It may be in a project that this user may not read.
        """
        for project in self._subfolders(self.experiments):
            folder = os.path.join(project, experiment_id)
            if is_there(folder) and os.path.isdir(folder):
                return folder
        return None

    def note_open(self, experiment: str) -> None:
        """Note that an experiment has jobs that are not over: for those who look for work.

        The note is only a short cut; the experiment's own journal tells the truth.
        """
        folder = os.path.join(self.path, "open")
        make_folders(folder)
        note = os.path.join(folder, os.path.basename(experiment))
        write_file(note, os.fsencode(os.path.relpath(experiment, self.path)), is_durable=False)

    def note_closed(self, experiment: str) -> None:
        """Take the note back; safe to repeat."""
        try:
            os.unlink(os.path.join(self.path, "open", os.path.basename(experiment)))
        except FileNotFoundError:
            pass

    def open_notes(self) -> list[str]:
        """Return the names of the notes of open experiments, their ids, oldest first."""
        try:
            return sorted(os.listdir(os.path.join(self.path, "open")))
        except FileNotFoundError:
            return []

    def open_experiments(self) -> list[str]:
        """Return the folders of the experiments that are noted as open, oldest first."""
        found = []
        for name in self.open_notes():
            path = os.path.join(self.path, "open", name)
            try:
                experiment = os.fsdecode(read_file(path, limit=_LONGEST_PATH))
            except (FileNotFoundError, FileUnreadable):
                # It was closed meanwhile, or is no note: the experiment's own journal counts.
                continue
            if experiment and "\0" not in experiment:
                found.append(os.path.join(self.path, experiment))
        return [path for path in found if os.path.isdir(path)]

    def find_run(self, run_id: str) -> str | None:
        """Return the folder of a run; None if there is none. Costs one look per project.

        Raises:
            HomeUnusable: The home folder cannot be read.
            FileUnreadable: It may be in a folder that this user may not read.
        """
        parts = split_run_id(run_id)
        experiment = self.find_experiment(parts[0]) if parts else None
        if experiment is None:
            return None
        folder = os.path.join(experiment, "runs", run_id)
        return folder if is_there(folder) else None

    def experiment_folders(
        self, project: str | None = None, *, problems: dict[str, str] | None = None
    ) -> Iterator[str]:
        """Yield the folders of experiments, oldest first within a project.

        Args:
            project: The project; all if None.
            problems: Takes up why the folder of a project cannot be read, by its path; such a
                project is left out.

        Raises:
            HomeUnusable: The home folder exists but cannot be read.
        """
        if project is None:
            projects = self._subfolders(self.experiments)
        else:
            projects = [os.path.join(self.experiments, slug(project))]
        for folder in projects:
            try:
                yield from self._subfolders(folder)
            except HomeUnusable as error:
                if problems is not None:
                    problems[folder] = error.reason

    def run_folders(self, project: str | None = None) -> Iterator[str]:
        """Yield the folders of runs, in the order of their experiments."""
        for experiment in self.experiment_folders(project):
            try:
                yield from self.runs_of(experiment)
            except FileUnreadable:
                continue

    def runs_of(self, experiment: str) -> list[str]:
        """Return the folders of an experiment's runs, in their order.

        Whatever lies among them is returned, too: reading it tells what is wrong.

        Raises:
            FileUnreadable: They cannot be listed.
        """
        parent = os.path.join(experiment, "runs")
        try:
            if os.path.islink(parent):
                raise FileUnreadable(parent, "it is a symbolic link")
            names = os.listdir(parent)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FileUnreadable(parent, _reason(parent, error)) from error
        return sorted((f"{parent}/{name}" for name in names if name[0] != "."), key=_natural)

    def _subfolders(self, parent: str) -> list[str]:
        try:
            with os.scandir(parent) as entries:
                return sorted((e.path for e in entries if e.is_dir()), key=_natural)
        except FileNotFoundError as error:
            if not _dangling(parent):
                return []
            raise HomeUnusable(self.path, _reason(parent, error)) from None
        except OSError as error:
            raise HomeUnusable(self.path, _reason(parent, error)) from None


def abbreviated(text: str, ids: Iterable[str]) -> str | None:
    """Return the one id that a text is a part of, from its beginning or from its letters on.

    `20261121-1425` and `k3x9qd` are parts of `20261121-142530-k3x9qd-1`; less than four characters
    are none.

    Args:
        text: The part.
        ids: The ids of experiments or runs.

    Raises:
        AmbiguousId: It is a part of several ids.
    """
    if len(text) < _SHORTEST:
        return None
    found = [one for one in ids if one.startswith(text) or one.startswith(text, _LETTERS_AT)]
    # The first run of a batch, k3x9qd-1, is not the tenth one.
    found = [one for one in found if one[_LETTERS_AT:] == text] or found
    if len(found) > 1:
        batches = {one.rpartition("-")[0] for one in found}
        is_batch = len(batches) == 1 and batches.pop().endswith(text)
        raise AmbiguousId(text, tuple(sorted(found, key=_natural)), is_batch)
    return found[0] if found else None


def is_there(path: str) -> bool:
    """Whether there is something of a name.

    Raises:
        FileUnreadable: This user may not look.
    """
    try:
        os.lstat(path)
    except PermissionError as error:
        raise FileUnreadable(os.path.dirname(path), "permission denied") from error
    except (OSError, ValueError):
        return False
    return True


def _write_over(path: str, data: bytes) -> bool:
    """Write into a file of that many bytes; return whether there is one, and under no other name.

    For a note that need not outlive the machine: to put another file in its place takes ext4 half a
    millisecond, and more on a busy disk, since it writes the new one's blocks first.

    Raises:
        OSError: It could not be written.
    """
    try:
        file = open_file(path, os.O_WRONLY)
    except (FileNotFoundError, FileUnreadable):
        return False
    try:
        found = os.fstat(file)
        is_fit = (found.st_size, found.st_nlink) == (len(data), 1)
        return is_fit and os.pwrite(file, data, 0) == len(data)
    finally:
        os.close(file)


def _natural(path: str) -> tuple[str, int]:
    """Order `…-2` before `…-10`."""
    stem, dash, index = path.rpartition("-")
    return (stem, int(index)) if dash and index.isdigit() and index.isascii() else (path, -1)


def _dangling(path: str) -> str:
    """Return the link to nothing that a path leads through; empty if there is none."""
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path if os.path.islink(path) and not os.path.exists(path) else ""


def _reason(path: str, error: OSError) -> str:
    if error.errno in {errno.ENOENT, errno.EEXIST} and (link := _dangling(path)):
        return f"{link} is a symbolic link to {os.readlink(link)}, which does not exist"
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return "it is not a folder"
    if error.errno in {errno.EACCES, errno.EPERM} and (owner := _other_owner(path)):
        return f"permission denied: it belongs to the user {owner}"
    where = "" if error.filename in {None, path} else f" ({error.filename})"
    return f"{os.strerror(error.errno or 0).lower()}{where}"


def _other_owner(path: str) -> str:
    """Return the user whose folder it is; empty if that is this one, or it cannot be determined."""
    while True:
        try:
            owner = os.stat(path).st_uid
            break
        except OSError:
            # What is above it, then, is what cannot be entered.
            if path == (path := os.path.dirname(path)):
                return ""
    if owner == os.geteuid():
        return ""
    import pwd  # only here: `init()` must not pay for it

    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)
