"""Executors that are one function, which runs in a supervised process of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus.config import Config, import_folder_of, plain_words_of, to_data
from runbus.errors import TargetUnusable
from runbus.executors.local import LocalExecutor
from runbus.plugins import name_from_class, plugin_file_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.abc import JobSpec, Request
    from runbus.config import Task

__all__ = ["FunctionExecutor"]

RUNNER = "runbus.executors.execute"


class FunctionExecutor(LocalExecutor):
    """Runs each job by calling `execute` in a process of its own on this machine.

        class Traced(FunctionExecutor):
            def __init__(self, options="-f", **kwargs):
                super().__init__(**kwargs)
                self.options = options

            def execute(self, task, config):
                return super().execute(Command(("strace", self.options, *task.argv)), config)

    That process makes the executor anew from what it was made from, which therefore is data, and
    its class can be imported there. It is a job like any other: it writes its logs, is ended by a
    cancellation with all that it has started, and leaves its exit code.

    Args:
        name: What jobs call it; from the name of the class if empty.
        env_vars: What is added to the environment of its jobs, where they do not say it themselves.
        more: As for a `LocalExecutor`.
    """

    def __new__(cls, *args: Any, **values: Any) -> FunctionExecutor:
        self: FunctionExecutor = super().__new__(cls, *args, **values)
        # A subclass need not call `__init__`.
        FunctionExecutor.__init__(self)
        return self

    def __init__(
        self, name: str = "", *, env_vars: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(name or name_from_class(type(self)), **more)
        self.env_vars = dict(env_vars or {})

    def execute(self, task: Task, config: dict[str, Any]) -> Any:
        """Run a task: here, in this process' folder and environment, to its end.

        Called in the job's process. A subclass overrides it, and may call it with another task.

        Args:
            task: A `Command`: what the job runs.
            config: What the run has recorded as its config.

        Returns:
            The exit code of the job: a whole number, 0 for anything else. That of a command which
            a signal has ended is the negative number of the signal, and so ends the job.

        Raises:
            TaskInvalid: It is no task.
        """
        del config
        return subprocess.call(plain_words_of(task))

    def plan(self, job: JobSpec) -> Request:
        """Return what the wrapper would be given.

        Raises:
            UsageError: The class cannot be imported by another process, or it was made from what
                is no data.
        """
        args, values = self.made_from
        data = to_data(Config(type(self), *args, **values))
        path = str(data["_target_"])
        if path.startswith("__main__."):
            advice = "write it to a file such as executors.py, and import it from there"
            raise TargetUnusable(path, "no other process can import it", advice)
        where = plugin_file_of(type(self)) or import_folder_of(type(self))
        words = (sys.executable, "-m", RUNNER, where, json.dumps(data))
        env = {**self.env_vars, **job.env}
        return super().plan(replace(job, argv=(*words, *job.argv), env=env))
