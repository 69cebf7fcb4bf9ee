"""Integrations that only log what has ended: the form that NeMo Run's page gives them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar
from weakref import WeakSet

import msgspec

__all__ = ["LoggedExperiment", "LoggedResults", "RunIntegration"]


class LoggedExperiment(msgspec.Struct, frozen=True, kw_only=True):
    """What ran.

    Attributes:
        id: The experiment.
        project: What its runs are gathered under.
        name: The name of the job.
        run_id: Its run.
        config: What the run has recorded as its config.
    """

    id: str
    project: str
    name: str
    run_id: str
    config: dict[str, Any]


class LoggedResults(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        state: How the job ended, such as `SUCCEEDED`.
        exit_code: Its exit code; None if it has none.
        metrics: The last value of each metric.
        artifacts: The folder of the files that the run keeps; it may be missing.
    """

    state: str
    exit_code: int | None
    metrics: dict[str, float]
    artifacts: str


class RunIntegration(ABC):
    """Logs each run somewhere else, once its job has ended.

    A class that is registered as an integration and has this method, but no `setup`, counts as a
    subclass. A kernel that is given such an object calls it in a worker thread.

    Attributes:
        registered: The classes that count as subclasses.
    """

    registered: ClassVar[WeakSet[type]] = WeakSet()

    @abstractmethod
    def log_experiment(self, experiment: Any, results: Any) -> object:
        """Log a run that has ended.

        Args:
            experiment: What ran, a `LoggedExperiment`.
            results: What came of it, a `LoggedResults`.
        """
