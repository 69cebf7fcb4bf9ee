"""Executors as data: what a batch file says about them, and an experiment remembers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from runbus.errors import UsageError
from runbus.events import Timeouts

__all__ = [
    "ExecutorFields",
    "GitFields",
    "LocalFields",
    "PackagerFields",
    "PatternFields",
    "SSHFields",
    "parse_host",
]


class GitFields(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="git",
):
    """The code of a commit, of the repository that the batch file lies in.

    Attributes:
        ref: The commit, branch or tag.
        subpath: The folder of the repository to package.
        include_submodules: Whether to package submodules, at any depth.
        include_uncommitted: Whether to take tracked files as they lie on disk.
        include_untracked: Whether to take files that git neither tracks nor ignores.
        include_pattern: Patterns of more files, tracked or not.
    """

    ref: str = "HEAD"
    subpath: str = ""
    include_submodules: bool = True
    include_uncommitted: bool = False
    include_untracked: bool = False
    include_pattern: list[str] = []


class PatternFields(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="pattern",
):
    """The files that patterns choose, as they lie on disk; patterns as in a .gitignore file.

    Attributes:
        include: What to take.
        exclude: What of it to leave.
        relative_path: The folder that patterns start from, relative to the batch file's.
    """

    include: Annotated[list[str], msgspec.Meta(min_length=1)]
    exclude: list[str] = []
    relative_path: str = ""


PackagerFields = (
    Literal["git"]
    | GitFields
    | PatternFields
    | Annotated[list[GitFields | PatternFields], msgspec.Meta(min_length=1)]
)
"""What chooses the code that travels with jobs: `git`, the fields of one, or a list of them whose
files lie together."""


class _Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all executors have in common; in a file each of the time-outs is a key of its own."""

    packager: PackagerFields | None = None
    timeouts: Timeouts = Timeouts()


class LocalFields(_Fields, frozen=True, kw_only=True, tag_field="type", tag="local"):
    """Jobs as processes of this machine.

    Attributes:
        gpus: The GPUs it may lend to jobs; those of the machine if absent.
        env_inherit: Whether jobs inherit the environment of the process that launches them, or
            the names of the variables that they inherit.
        packager: What code its jobs get a copy of; without one they run where the code is.
        timeout: Seconds that a job may run which says nothing else.
        queue_timeout: Seconds that it may wait for its start; None for no limit.
        idle_timeout: Seconds that it may run without output; None for no limit.
    """

    gpus: list[str] | None = None
    env_inherit: bool | list[str] = True


class SSHFields(_Fields, frozen=True, kw_only=True, tag_field="type", tag="ssh"):
    """Jobs on other machines, reached as the user's SSH configuration says.

    Attributes:
        hosts: The machines, as `name` or `user@name:port`.
        slots: How many jobs a machine has at a time.
        gpus: The GPUs that each machine may lend to jobs; those that it has if absent.
        job_dir: Under which folder of a machine everything lies.
        identity: The private key file, instead of the configured ones.
        packager: What code is sent there; without one jobs find what is there.
        workdir: The folder where jobs start, instead of their own.
        python: The interpreter there, for jobs that would run under this one.
        timeout: Seconds that a job may run which says nothing else.
        queue_timeout: Seconds that it may wait for its start; None for no limit.
        idle_timeout: Seconds that it may run without output; None for no limit.
    """

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    slots: Annotated[int, msgspec.Meta(ge=1)] = 1
    gpus: list[str] | None = None
    job_dir: str = "~/.runbus/remote"
    identity: str | None = None
    workdir: str | None = None
    python: str | None = None


ExecutorFields = LocalFields | SSHFields


def parse_host(text: str) -> tuple[str, str, int]:
    """Return the user, name and port of a machine; an empty user and port 0 for the usual ones.

    Raises:
        UsageError: The text names no machine.
    """
    user, _, rest = text.rpartition("@")
    name, _, port = rest.partition(":")
    if not name or (port and not (port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536)):
        raise UsageError(f"{text!r} is not a host: write name, user@name or user@name:port")
    return user, name, int(port or 0)
