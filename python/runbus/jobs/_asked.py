"""experiment.json: what was asked, enough to continue with it after a crash of anything."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from msgspec.structs import replace

from runbus import codec
from runbus._files import add_check, read_file, take_check, write_file
from runbus._home import ENV_RUN
from runbus.abc import JobSpec
from runbus.config import ExecutorEntry
from runbus.errors import ExperimentNotFound, FileUnreadable
from runbus.events import Timeouts
from runbus.jobs._sweeps import SweepAsked

__all__ = ["Asked", "ChangedBy", "sweeps_asked"]

_FILE = "experiment.json"
_VERSION = 6

_VALUES_SINCE_3 = {
    "resources": {"gpus": "gpus", "cpus": "cpus", "nice": "nice"},
    "timeouts": {"timeout_s": "run_s", "queue_timeout_s": "queue_s", "idle_timeout_s": "idle_s"},
    "retry": {"retries": "retries", "retry_on": "on", "backoff_s": "backoff_s"},
}  # fmt: skip
"""What stood among the fields of a job in version 2."""


class _Versioned(msgspec.Struct):
    version: int = 0


class _Swept(msgspec.Struct):
    sweeps: list[SweepAsked] = []


class ChangedBy(msgspec.Struct, frozen=True):
    """What changed every job of an experiment when it was recorded.

    Attributes:
        plugin: The name of a task plugin.
        data: What it is made from; empty where no other process could make it.
        reason: Why none could.
    """

    plugin: str
    data: dict[str, Any] = {}
    reason: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of an experiment.

    On disk the folders in it are relative to the experiment's own: a home folder may be moved.

    Attributes:
        id: The experiment's id.
        project: What its runs are gathered under.
        created_ns: When it was prepared, Unix time in nanoseconds.
        max_parallel: How many jobs run at a time.
        only_here: Nobody has said how many: those that run elsewhere are not counted
            (`Capabilities.elsewhere`).
        jobs: The jobs, as of their first attempts.
        executors: What the executors that come with the experiment are made from, by name.
        timeouts: What those say of the time-outs of their jobs, by name.
        root: The folder whose code is packaged for executors that take code along.
        plugins: The plugins that its leader loads: names, and what others are made from.
        fail_fast: The first job that fails ends all others.
        tasks: What the command lines of the jobs were made from, as data, in the order of the jobs:
            empty for a command, and where no other process could make it.
        settings: What its leader gives to plugins, by their names, before variables and files do;
            secrets as `{secret: …}`.
        again_of: The experiment whose jobs it runs again; empty if it is the first.
        sweeps: The sweeps that its jobs belong to.
        executor: Where jobs run that say nothing else, those that are added later, too.
        changed_by: What changed every job, and changes those that are added later.
    """

    id: str
    project: str
    created_ns: int
    max_parallel: int
    jobs: list[JobSpec]
    only_here: bool = False
    executors: dict[str, dict[str, Any]] = {}
    timeouts: dict[str, Timeouts] = {}
    root: str = ""
    plugins: list[str | dict[str, Any]] = []
    fail_fast: bool = False
    tasks: list[dict[str, Any]] = []
    settings: dict[str, dict[str, Any]] = {}
    again_of: str = ""
    sweeps: list[SweepAsked] = []
    executor: str = "local"
    changed_by: list[ChangedBy] = []

    @property
    def bound(self) -> int | None:
        """How many jobs run at a time, if somebody has said so."""
        return None if self.only_here else self.max_parallel

    @property
    def executor_entries(self) -> dict[str, ExecutorEntry]:
        """The executors that come with the experiment, with the time-outs of their jobs."""
        times = self.timeouts
        return {
            name: ExecutorEntry(data, times.get(name, Timeouts()))
            for name, data in self.executors.items()
        }

    @classmethod
    def read(cls, folder: str) -> Asked:
        """Read experiment.json in an experiment's folder; folders in it are relative.

        Raises:
            ExperimentNotFound: It does not exist.
            FileUnreadable: It cannot be read, is damaged, or is about another experiment.
        """
        path = os.path.join(folder, _FILE)
        try:
            data = take_check(read_file(path), path)
            version = codec.decode_json(data, _Versioned).version
            if version not in range(2, _VERSION + 1):
                reason = f"its version is {version!r}, this runbus reads 2 to {_VERSION}"
                raise FileUnreadable(path, reason)
            asked = (
                codec.decode_json(data, cls) if version == _VERSION else _read_old(data, version)
            )
        except FileNotFoundError as error:
            raise ExperimentNotFound(os.path.basename(folder), ()) from error
        except codec.DecodeError as error:
            raise FileUnreadable(path, f"it does not describe an experiment: {error}") from error
        if asked.id != os.path.basename(folder):
            raise FileUnreadable(path, f"it describes the experiment {asked.id!r}")
        return asked

    def write(self, folder: str) -> None:
        """Write experiment.json, whole or not at all; on the disk it is with the first intents.

        Raises:
            OSError: The disk is full or failing.
        """
        relative = replace(self, jobs=[_relative(job, folder) for job in self.jobs])
        fields = {"version": _VERSION, **codec.to_plain(relative)}
        data = add_check(codec.encode_json(fields, indent=2))
        write_file(os.path.join(folder, _FILE), data, is_durable=False)

    def absolute(self, folder: str) -> Asked:
        """Return the same with the folders as paths, the experiment being in `folder`."""
        return replace(self, jobs=[_absolute(job, folder) for job in self.jobs])


def sweeps_asked(folder: str) -> list[SweepAsked]:
    """Return the sweeps of an experiment; none if its record is not there, or cannot be read.

    Quicker than to read all that was asked: most have none.
    """
    path = os.path.join(folder, _FILE)
    try:
        return codec.decode_json(take_check(read_file(path), path), _Swept).sweeps
    except (FileNotFoundError, FileUnreadable, codec.DecodeError):
        return []


def _read_old(data: bytes, version: int) -> Asked:
    """Read what an older runbus wrote.

    Before version 3 resources, time-outs and retries were among the fields of a job; before version
    4 the time-outs of an executor's jobs, which have them, were among its own; before version 5 the
    fields of an image had other names, its variables were pairs, and no job waited for another;
    before version 6 nothing told what command lines were made from, nor settings of plugins.
    """
    old = codec.decode_json(data, dict[str, Any])
    jobs, executors = old.get("jobs"), old.get("executors", {})
    if not isinstance(jobs, list) or not isinstance(executors, dict):
        raise codec.DecodeError("it has no list of jobs, or no table of executors")
    if version == 2:
        jobs = [_gathered(job, "resources", "timeouts", "retry") for job in jobs]
    if version < 4:
        executors = {name: _without_times(one) for name, one in executors.items()}
    jobs = [_with_new_image(job) for job in jobs]
    return codec.convert({**old, "jobs": jobs, "executors": executors}, Asked)


def _without_times(executor: Any) -> Any:
    if not isinstance(executor, dict):
        return executor
    times = ("timeouts", "timeout", "queue_timeout", "idle_timeout")
    return {key: one for key, one in executor.items() if key not in times}


def _with_new_image(job: Any) -> Any:
    """Return the fields of a job with those of its image as of version 5."""
    if not isinstance(job, dict) or not isinstance(image := job.get("image"), dict):
        return job
    names = {"packages": "pip", "system_packages": "apt"}
    renamed = {names.get(name, name): one for name, one in image.items()}
    for name in ("env", "secrets"):
        pairs = renamed.get(name, [])
        if isinstance(pairs, list) and all(isinstance(p, list) and len(p) == 2 for p in pairs):
            renamed[name] = {str(key): value for key, value in pairs}
    return {**job, "image": renamed}


def _gathered(fields: Any, *values: str) -> Any:
    """Return fields of version 2 with those of some values in them."""
    if not isinstance(fields, dict):
        return fields
    rest = dict(fields)
    for value in values:
        old = _VALUES_SINCE_3[value]
        rest[value] = {new: rest.pop(key) for key, new in old.items() if key in rest}
    return rest


def _relative(job: JobSpec, folder: str) -> JobSpec:
    env = {name: value for name, value in job.env.items() if name != ENV_RUN}
    package = job.package
    return replace(
        job,
        folder=_within(job.folder, folder),
        run_folder=_within(job.run_folder, folder),
        env=env,
        package=package and replace(package, path=os.path.relpath(package.path, folder)),
    )


def _within(path: str, folder: str) -> str:
    # What its own process has named is made of it; `relpath` takes apart and compares both.
    inside = path.removeprefix(f"{folder}/")
    return inside if inside != path else os.path.relpath(path, folder)


def _absolute(job: JobSpec, folder: str) -> JobSpec:
    run_folder = os.path.join(folder, job.run_folder)
    package = job.package
    return replace(
        job,
        folder=os.path.join(folder, job.folder),
        run_folder=run_folder,
        env={**job.env, ENV_RUN: run_folder},
        package=package and replace(package, path=os.path.join(folder, package.path)),
    )
