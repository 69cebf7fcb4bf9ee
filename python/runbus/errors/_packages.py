"""Code that should be packaged."""

from __future__ import annotations

import shlex

from runbus.errors._hints import did_you_mean
from runbus.errors._usage import UsageError


class PackageUnreadable(UsageError):
    """A file or folder that should be packaged cannot be read.

    Attributes:
        path: Which one.
        reason: What is wrong with it.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"cannot package {self.path!r}: {self.reason}"


class NothingToPackage(UsageError):
    """What should be packaged chooses no file at all.

    Attributes:
        root: Where was looked.
        patterns: What was looked for.
        similar: What would choose something and reads almost the same, best first.
        passed: How many files were there.
        reason: Why nothing could be chosen, where more is known than that.
    """

    root: str
    patterns: tuple[str, ...]
    similar: tuple[str, ...] = ()
    passed: int = 0
    reason: str = ""

    def __str__(self) -> str:
        return f"nothing to package: no file in {self.root} matches {', '.join(self.patterns)}"

    @property
    def hint(self) -> str:
        if near := did_you_mean(self.similar):
            return near
        if self.reason:
            return self.reason
        if self.passed:
            return f"there are {self.passed} files that are neither included nor excluded"
        return "there is no file that is not excluded"


class NotARepository(UsageError):
    """A folder is in no git repository.

    Attributes:
        path: The folder.
        reason: What git said.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is in no git repository: {self.reason}"

    @property
    def hint(self) -> str:
        return "use a PatternPackager for a folder without git"


class RepositoryNotTrusted(UsageError):
    """A git repository belongs to another user, and git reads none of those unless told to.

    Attributes:
        path: The folder that should be packaged.
        repository: The repository, as git's setting `safe.directory` must name it.
    """

    path: str
    repository: str

    def __str__(self) -> str:
        return f"git does not read {self.repository}: the repository belongs to another user"

    @property
    def hint(self) -> str:
        quoted = shlex.quote(self.repository)
        return f"if you trust it: git config --global --add safe.directory {quoted}"


class GitMissing(UsageError):
    """The program `git` cannot be run.

    Attributes:
        path: The folder that should be packaged.
        reason: Why not.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"cannot package {self.path}: git cannot be run: {self.reason}"

    @property
    def hint(self) -> str:
        return "install git or put it in PATH, or use a PatternPackager, which needs none"


class PackageChanged(UsageError):
    """Packaged code that is to be run again is not what it was.

    Attributes:
        path: The archive.
        reason: What is wrong with it.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"the code in {self.path} cannot be run again: {self.reason}"

    @property
    def hint(self) -> str:
        return "runbus retry, or a new submit, packages what is there now"


class SubmoduleMissing(UsageError):
    """A submodule, or the commit of it that is needed, is not there.

    Attributes:
        path: The submodule.
        repository: The repository that names it.
    """

    path: str
    repository: str

    def __str__(self) -> str:
        return f"the submodule {self.path!r} of {self.repository} is not checked out"

    @property
    def hint(self) -> str:
        return "git submodule update --init --recursive, or include_submodules=False"


class TreeDirty(UsageError):
    """A working tree is not as the commit says, and that was to be refused.

    Attributes:
        repository: The repository.
        files: What differs, the first hundred.
        what: How it differs.
    """

    repository: str
    files: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        return f"{self.repository} has {self.what}: {', '.join(self.files[:5])}"

    @property
    def hint(self) -> str:
        return "commit or stash them, or package them on purpose"


class GitFailed(UsageError):
    """Git failed.

    Attributes:
        command: What it should do.
        repository: Where.
        reason: What it said.
    """

    command: str
    repository: str
    reason: str

    def __str__(self) -> str:
        return f"git {self.command} failed in {self.repository}: {self.reason}"
