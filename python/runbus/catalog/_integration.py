"""Integrations that log what has ended, as the kernel takes plugins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.catalog._runs import open_run
from runbus.events import JobEnded
from runbus.plugins import LoggedExperiment, LoggedResults, call_blocking, name_from_class

if TYPE_CHECKING:
    from runbus.abc import Scope
    from runbus.plugins import RunIntegration

__all__ = ["adapt"]


class _IntegrationPlugin:
    """Hands each run on to an integration, once its job has ended."""

    def __init__(self, integration: RunIntegration) -> None:
        self.name: str = getattr(integration, "name", "") or name_from_class(type(integration))
        self.integration = integration

    async def setup(self, scope: Scope) -> None:
        """Listen for the ends of jobs."""
        scope.on(JobEnded, self._ended)

    async def _ended(self, event: JobEnded) -> None:
        await call_blocking(self._log, event, plugin=self.name, doing="log_experiment")

    def _log(self, event: JobEnded) -> None:
        run = open_run(event.run_id)
        experiment = LoggedExperiment(
            id=event.experiment_id,
            project=run.project,
            name=event.job,
            run_id=event.run_id,
            config=run.config,
        )
        results = LoggedResults(
            state=str(event.state),
            exit_code=event.exit_code,
            metrics={name: one.last for name, one in run.summaries().items()},
            artifacts=os.path.join(run.folder, "artifacts"),
        )
        self.integration.log_experiment(experiment, results)


def adapt(integration: RunIntegration) -> _IntegrationPlugin:
    """Return an integration as the kernel takes plugins."""
    return _IntegrationPlugin(integration)
