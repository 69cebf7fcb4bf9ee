"""What a batch file asks for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runbus._files import absolute_path
from runbus.config import load_batch
from runbus.experiment import ExperimentDraft, jobs_of_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.experiment import Job

__all__ = ["BatchFile"]


class BatchFile:
    """A batch file that was read, and nothing done about it.

    Args:
        path: The file.
        executor: The executor of the jobs that name none, instead of the file's.
        plugins: What the leader of its experiment loads.
        settings: What it gives to them, by their names.
        with_secrets: Whether a secret that is not there counts as a mistake.

    Attributes:
        project: What its runs are gathered under.
        jobs: Its jobs.

    Raises:
        BatchInvalid: Something in it is wrong.
        SpaceInvalid: The file of a sweep is another by now.
    """

    def __init__(
        self,
        path: str,
        *,
        executor: str | None,
        plugins: Sequence[str],
        settings: dict[str, dict[str, Any]] | None = None,
        with_secrets: bool,
    ) -> None:
        self._folder = os.path.dirname(absolute_path(path))
        self._batch = load_batch(path, executor=executor, with_secrets=with_secrets)
        self._plugins = plugins
        self._settings = settings
        self.project = self._batch.project
        self.jobs = jobs_of_batch(self._batch, self._folder)

    def draft(self, jobs: Sequence[Job] | None = None) -> ExperimentDraft:
        """Return the experiment of some of the jobs; of all of them if None.

        Raises:
            UsageError: The jobs cannot be run as asked.
        """
        return ExperimentDraft(
            self.project,
            self.jobs if jobs is None else jobs,
            executors=self._batch.executors,
            max_parallel=self._batch.max_parallel,
            fail_fast=self._batch.fail_fast,
            root=self._folder,
            plugins=self._plugins,
            settings=self._settings,
        )
