"""Where a run comes from: its command line, its interpreter, the commit of its code.

A training script pays a millisecond for it: the commit is read from git's files, and whether the
code differs from it is found out by git itself, in the background.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._core import Starting
from runbus._files import file_mode, read_file
from runbus._secrets import redacted_value
from runbus.errors import FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

__all__ = ["Origin"]

_CHANGED = "changed"
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder that runbus is imported from."""

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LIMIT = 4 << 20
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "status", "--porcelain", "-uno")

_KEEP = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from runbus._uncommitted import keep_diff; keep_diff(*sys.argv[2:])"
)

# What git says appears whole or not at all, and nobody waits for it. Of so many runs as start in a
# repository for which it needs minutes, none keeps a processor busy for longer than one.
_ASK_GIT = (
    'ulimit -t 60; if said=$(cd "$1" && shift 5 && "$@"); then printf %s "$said" > "$0.new" && '
    'mv -f "$0.new" "$0"; [ -z "$said" ] || [ -z "$2" ] || '
    f'exec "$2" -I -c "{_KEEP}" "$3" "$4" "$1" "$5"; fi &'
)


class Origin(NamedTuple):
    """Where a run comes from; what is not known is empty, or None.

    Attributes:
        argv: The command line.
        python: The interpreter's path; of a job that is not a Python script, empty.
        cwd: The folder it was started in.
        commit: The commit of the git repository that `cwd` is in.
        is_changed: Whether tracked files differed from the commit when it was started; in run.json
            never known, because git answers later: see `StoredRun.origin`.
    """

    argv: tuple[str, ...] = ()
    python: str = ""
    cwd: str = ""
    commit: str = ""
    is_changed: bool | None = None

    @classmethod
    def of_process(cls) -> Self:
        """Return the origin of a run that this process makes."""
        try:
            cwd = os.getcwd()
        except OSError:
            cwd = ""  # it was removed
        argv = _without_secrets(sys.argv)
        return cls(argv, sys.executable or "", cwd, commit_of(cwd) if cwd else "")

    @classmethod
    def of_job(cls, argv: Sequence[str], cwd: str) -> Self:
        """Return the origin of a job's run.

        Args:
            argv: The job's command line.
            cwd: The folder it starts in.
        """
        return cls(cwd=cwd, commit=commit_of(cwd)).with_argv(argv)

    def with_argv(self, argv: Sequence[str]) -> Self:
        """Return the same for another command line; secrets in it are not kept."""
        python = argv[0] if argv and argv[0] == sys.executable else ""
        return self._replace(argv=_without_secrets(argv), python=python)

    @classmethod
    def parse(cls, fields: Any) -> Self:
        """Return what run.json says; what is wrong in it is unknown."""
        if not isinstance(fields, dict):
            return cls()
        argv = fields.get("argv")
        python, cwd, commit = (
            value if isinstance(value := fields.get(name), str) else ""
            for name in ("python", "cwd", "commit")
        )
        return cls(tuple(map(str, argv)) if isinstance(argv, list) else (), python, cwd, commit)

    def ask_git(self, experiment: str) -> Callable[[], None]:
        """Have git note in an experiment's folder whether code differs from the commit, and how.

        Waits for no answer, nor for the shell that starts git.

        Returns:
            What waits until git is being asked: then it answers, too, if this process ends.
        """
        if not self.commit:
            return partial(_see_asked, None)
        # As private as all that runbus writes.
        script = f"umask {0o777 & ~file_mode():o}; {_ASK_GIT}"
        # Whatever Python runs it: with what it reads from here alone.
        python = sys.executable or ""
        keep = (python, _PACKAGES, self._diff(experiment), self.commit)
        words = ("sh", "-c", script, self._note(experiment), self.cwd, *keep, *_GIT)
        variables = [name + b"=" + value for name, value in os.environb.items()]
        try:
            shell = Starting([os.fsencode(word) for word in words], variables, reaps=True)
        except OSError:
            shell = None  # then it is unknown
        return partial(_see_asked, shell)

    def answered(self, experiment: str) -> Self:
        """Return the same with what git has noted in an experiment's folder by now."""
        if not self.commit or "\0" in self.cwd:
            return self
        try:
            said = read_file(self._note(experiment), limit=_LIMIT)
        except (FileNotFoundError, FileUnreadable):
            return self
        return self._replace(is_changed=bool(said))

    def diff(self, experiment: str) -> str | None:
        """Return the file that holds how code differed from the commit; None if it did not.

        Args:
            experiment: The experiment's folder.
        """
        if not self.commit or "\0" in self.cwd:
            return None
        path = self._diff(experiment)
        return path if os.path.isfile(path) and not os.path.islink(path) else None

    def _note(self, experiment: str) -> str:
        """Return the path of git's note: one for each folder that jobs start in."""
        return os.path.join(experiment, self._name)

    def _diff(self, experiment: str) -> str:
        """Return the path of the diff: beside packaged code."""
        return os.path.join(experiment, "code", f"{self._name}.diff")

    @property
    def _name(self) -> str:
        which = zlib.crc32(self.cwd.encode("utf-8", "surrogatepass"))
        return f"{_CHANGED}-{which:08x}"


def _see_asked(shell: Starting | None) -> None:
    if shell is not None:
        with suppress(OSError):  # then it is unknown
            shell.wait()


def commit_of(cwd: str) -> str:
    """Return the commit that is checked out around a folder; empty if none can be told."""
    try:
        folder = _git_folder(cwd)
        head = _text(os.path.join(folder, "HEAD")) if folder else ""
        if not head.startswith("ref: "):
            return head if _COMMIT.fullmatch(head) else ""
        ref = head.removeprefix("ref: ")
        shared = folder
        if common := _text(os.path.join(folder, "commondir")):
            shared = os.path.join(folder, common)
        found = _text(os.path.join(shared, ref)) or _packed(shared, ref)
        return found if _COMMIT.fullmatch(found) else ""
    except (OSError, ValueError, FileUnreadable):
        return ""


def _git_folder(cwd: str) -> str:
    """Return where the repository around a folder keeps its own files; empty if there is none."""
    folder = cwd
    while True:
        place = os.path.join(folder, ".git")
        if os.path.isdir(place):
            return place
        if os.path.isfile(place):  # of a worktree or a submodule
            return os.path.join(folder, _text(place).removeprefix("gitdir: "))
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        folder = above


def _text(path: str) -> str:
    try:
        return os.fsdecode(read_file(path, limit=_LIMIT)).strip()
    except FileNotFoundError:
        return ""


def _packed(folder: str, ref: str) -> str:
    for line in _text(os.path.join(folder, "packed-refs")).splitlines():
        if line.endswith(f" {ref}"):
            return line.partition(" ")[0]
    return ""


def _without_secrets(argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command line without what follows `--token`, and without secrets in its words."""
    return tuple(redacted_value(list(argv), str))
