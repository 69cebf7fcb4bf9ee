"""`nemo_run.executors`: what runs jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003 - the configuration reads the signature
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

import runbus
from runbus.executors import FunctionExecutor as Executor

if TYPE_CHECKING:
    from runbus.abc import JobSpec, Request, Tunnel

__all__ = ["Executor", "LocalExecutor", "SlurmExecutor"]


class LocalExecutor(runbus.LocalExecutor):
    """Runs each job on this machine; see `runbus.LocalExecutor`.

    Args:
        name: What jobs call it.
        env_vars: What is added to the environment of its jobs, where they do not say it themselves.
        working_dir: The folder where jobs start, instead of their own.
        more: As for `runbus.LocalExecutor`.
    """

    def __init__(
        self,
        name: str = "local",
        *,
        env_vars: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(name, **more)
        self.env_vars = dict(env_vars or {})
        self.working_dir = working_dir and os.path.abspath(working_dir)

    def plan(self, job: JobSpec) -> Request:
        """Return what the wrapper would be given."""
        env = {**self.env_vars, **job.env}
        return super().plan(replace(job, env=env, cwd=self.working_dir or job.cwd))


def SlurmExecutor(*, tunnel: Tunnel | None = None, **options: Any) -> runbus.SlurmExecutor:
    """Return an executor of a Slurm cluster; see `runbus.SlurmExecutor`.

    Args:
        tunnel: The way to the login node; this machine if None.
        options: As there.
    """
    return runbus.SlurmExecutor(host=tunnel, **options)
