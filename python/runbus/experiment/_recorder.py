"""The folders of jobs, and the records of their runs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from runbus._files import make_folder, make_folders
from runbus.errors import FileUnreadable
from runbus.metrics import Origin, RunInfo, make_run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runbus.abc import JobSpec
    from runbus.experiment._job import Job

__all__ = ["MANY", "Recorder"]

MANY = 16
"""For fewer jobs than these a second thread is not worth its start."""


class Recorder:
    """Makes what lies on disk of jobs before they begin."""

    def __init__(self) -> None:
        self._origins: dict[str, Origin] = {}
        self._asked: list[Callable[[], None]] = []

    @property
    def has_asked(self) -> bool:
        """Whether git is being asked for something, and nobody has seen to that yet."""
        return bool(self._asked)

    def record(self, folder: str, project: str, jobs: Sequence[tuple[Job, JobSpec]]) -> None:
        """Make the folders of jobs, and their runs; `see_asked` follows.

        Args:
            folder: The experiment's folder.
            project: What its runs are gathered under.
            jobs: The jobs, each with what its executor gets.

        Raises:
            OSError: They cannot be written.
        """
        self._asked += self._ask_git(folder, [spec for _, spec in jobs])
        with ExitStack() as stack:
            if len(jobs) > MANY:
                # The disk makes what two threads ask for in little more than half the time.
                thread = stack.enter_context(ThreadPoolExecutor(1, "job folders"))
                made = thread.submit(_make_job_folders, jobs)
                self._record_runs(folder, project, jobs)
                made.result()
            else:
                self._record_runs(folder, project, jobs)
                _make_job_folders(jobs)

    def see_asked(self) -> None:
        """Wait until git is being asked: then it answers, too, if this process ends."""
        while self._asked:
            self._asked.pop()()

    def _ask_git(self, folder: str, specs: Sequence[JobSpec]) -> Iterator[Callable[[], None]]:
        """Ask git about the folders that jobs start in, once about each."""
        for spec in specs:
            if spec.cwd not in self._origins:
                origin = self._origins[spec.cwd] = Origin.of_job(spec.argv, spec.cwd)
                if origin.commit:
                    yield origin.ask_git(folder)

    def _record_runs(self, folder: str, project: str, jobs: Sequence[tuple[Job, JobSpec]]) -> None:
        for job, spec in jobs:
            origin = self._origins[spec.cwd].with_argv(spec.argv)
            config = job.config
            info = RunInfo.new(spec.run_id, job.name, project, config, job=job.name, origin=origin)
            run = make_run_folder(folder, info)
            if job.takes_over:
                _take_over(run, info, job.takes_over)


def _make_job_folders(jobs: Sequence[tuple[Job, JobSpec]]) -> None:
    for _, spec in jobs:
        make_folders(os.path.dirname(spec.folder))
        make_folder(spec.folder)


def _take_over(folder: str, info: RunInfo, of: str) -> None:
    """Have a run take over what is said of another, unless that is gone or cannot be read."""
    from runbus.metrics import StoredRun  # only for jobs that are run again

    try:
        other = StoredRun(of)
    except (FileNotFoundError, FileUnreadable):
        return
    StoredRun(folder, info).take_over(other)
