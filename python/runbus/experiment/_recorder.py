"""The folders of jobs, and the records of their runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._files import make_folder, make_folders
from runbus.errors import FileUnreadable
from runbus.metrics import Origin, RunInfo, make_run_folder

if TYPE_CHECKING:
    from runbus.abc import JobSpec
    from runbus.experiment._job import Job

__all__ = ["Recorder"]


class Recorder:
    """Makes what lies on disk of a job before it begins."""

    def __init__(self) -> None:
        self._origins: dict[str, Origin] = {}

    def record(self, folder: str, project: str, job: Job, spec: JobSpec) -> None:
        """Make the folders of a job, and its run.

        Args:
            folder: The experiment's folder.
            project: What its runs are gathered under.
            job: The job.
            spec: What its executor gets.

        Raises:
            OSError: They cannot be written.
        """
        origin = self._origin(spec.argv, spec.cwd, folder)
        info = RunInfo.new(spec.run_id, job.name, project, job.config, job=job.name, origin=origin)
        run = make_run_folder(folder, info)
        if job.takes_over:
            _take_over(run, info, job.takes_over)
        make_folders(os.path.dirname(spec.folder))
        make_folder(spec.folder)

    def _origin(self, argv: tuple[str, ...], cwd: str, folder: str) -> Origin:
        """Return where a job comes from; git is asked once for each folder."""
        if cwd not in self._origins:
            self._origins[cwd] = Origin.of_job(argv, cwd)
            self._origins[cwd].ask_git(folder)
        return self._origins[cwd].with_argv(argv)


def _take_over(folder: str, info: RunInfo, of: str) -> None:
    """Have a run take over what is said of another, unless that is gone or cannot be read."""
    from runbus.metrics import StoredRun  # only for jobs that are run again

    try:
        other = StoredRun(of)
    except (FileNotFoundError, FileUnreadable):
        return
    StoredRun(folder, info).take_over(other)
