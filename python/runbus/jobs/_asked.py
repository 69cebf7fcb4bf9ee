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
from runbus.errors import ExperimentNotFound, FileUnreadable

__all__ = ["Asked"]

_FILE = "experiment.json"
_VERSION = 4

_VALUES_SINCE_3 = {
    "resources": {"gpus": "gpus", "cpus": "cpus", "nice": "nice"},
    "timeouts": {"timeout_s": "run_s", "queue_timeout_s": "queue_s", "idle_timeout_s": "idle_s"},
    "retry": {"retries": "retries", "retry_on": "on", "backoff_s": "backoff_s"},
}  # fmt: skip
"""What stood among the fields of a job in version 2."""


class _Versioned(msgspec.Struct):
    version: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of an experiment.

    On disk the folders in it are relative to the experiment's own: a home folder may be moved.

    Attributes:
        id: The experiment's id.
        project: What its runs are gathered under.
        created_ns: When it was prepared, Unix time in nanoseconds.
        max_parallel: How many jobs run at a time.
        jobs: The jobs, as of their first attempts.
        executors: What the executors that come with the experiment are made from, by name.
        root: The folder whose code is packaged for executors that take code along.
        plugins: The names of installed plugins that its leader loads.
    """

    id: str
    project: str
    created_ns: int
    max_parallel: int
    jobs: list[JobSpec]
    executors: dict[str, dict[str, Any]] = {}
    root: str = ""
    plugins: list[str] = []

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
            if version not in (2, 3, _VERSION):
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


def _read_old(data: bytes, version: int) -> Asked:
    """Read what an older runbus wrote.

    Before version 3 resources, time-outs and retries were among the fields of a job; before version
    4 the time-outs of an executor's jobs, which have them, were among its own.
    """
    old = codec.decode_json(data, dict[str, Any])
    jobs, executors = old.get("jobs"), old.get("executors", {})
    if not isinstance(jobs, list) or not isinstance(executors, dict):
        raise codec.DecodeError("it has no list of jobs, or no table of executors")
    if version == 2:
        jobs = [_gathered(job, "resources", "timeouts", "retry") for job in jobs]
    executors = {name: _without_times(one) for name, one in executors.items()}
    return codec.convert({**old, "jobs": jobs, "executors": executors}, Asked)


def _without_times(executor: Any) -> Any:
    if not isinstance(executor, dict):
        return executor
    times = ("timeouts", "timeout", "queue_timeout", "idle_timeout")
    return {key: one for key, one in executor.items() if key not in times}


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
        folder=os.path.relpath(job.folder, folder),
        run_folder=os.path.relpath(job.run_folder, folder),
        env=env,
        package=package and replace(package, path=os.path.relpath(package.path, folder)),
    )


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
