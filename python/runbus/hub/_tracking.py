"""Telling a tracking server of a training that our own run records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus._revealed import unrevealed
from runbus._secrets import redacted_text
from runbus.hub._experiments import model_folder
from runbus.hub._mlops import RunbusMLOps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from logging import Logger

    from runbus.abc import MLOpsPlugin
    from runbus.catalog import RunRecord
    from runbus.hub._services import HubServices

__all__ = ["record_training"]

_LIMIT_S = 300.0
"""A model may be large, and a server far away."""


def record_training(
    services: HubServices, name: str, settings: Mapping[str, Any], run: RunRecord, log: Logger
) -> None:
    """Record a training with the `mlops` service, if that is not ours, which has the run itself.

    A service that fails, or lacks what this needs, fails no training: that is logged.
    """
    service = services.get("mlops")
    if service is None or isinstance(service, RunbusMLOps):
        return

    def record(mlops: MLOpsPlugin) -> None:
        run_id = mlops.start_run(mlops.create_experiment(name))
        try:
            mlops.log_params(settings)
            for metric, summary in run.summaries().items():
                mlops.log_metric(metric, summary.last)
            mlops.log_artifact(model_folder(run), "model")
        except BaseException:
            mlops.kill_run(run_id)
            raise
        mlops.end_run(run_id)

    try:
        services.call("mlops", "the record of a training", record, limit_s=_LIMIT_S)
    except Exception as error:
        told = redacted_text(unrevealed(f"{type(error).__name__}: {error}"))
        log.warning("run %s is not recorded by the mlops service: %s", run.id, told)
