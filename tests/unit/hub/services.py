"""Services that do as they are told, and count what is asked of them."""

from __future__ import annotations

import threading
from typing import Any

from runbus.hub import DataStreamPlugin, MLOpsPlugin

__all__ = ["Counting", "Hanging", "Tracker"]


class Counting(MLOpsPlugin):
    """Remembers the calls of its life; `fails` names one that raises."""

    def __init__(self, name: str = "", *, fails: str = "", log: list[str] | None = None) -> None:
        self.name = name
        self.fails = fails
        self.log = [] if log is None else log
        self.details: Any = {"status": "connected"}

    def _note(self, method: str) -> None:
        self.log.append(f"{self.name}{method}")
        if self.fails == method:
            raise OSError(f"cannot reach amqp://guest:hunter2@localhost:5672// ({method})")

    def initialize(self) -> None:
        self._note("initialize")

    def shutdown(self) -> None:
        self._note("shutdown")

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        self._note("health_check")
        return True, self.details


class Hanging(DataStreamPlugin):
    """Its health check does not return before `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked = 0

    def initialize(self) -> None:
        """Do nothing."""

    def shutdown(self) -> None:
        self.release.set()

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        self.asked += 1
        self.release.wait(120)
        return True, {}


class Tracker(Counting):
    """A tracking server in a list."""

    def create_experiment(self, name: str) -> str:
        self.log.append(f"experiment {name}")
        return "7"

    def start_run(self, experiment_id: str) -> str:
        self.log.append(f"run of {experiment_id}")
        return "run-1"

    def log_params(self, params: Any) -> None:
        self.log.append(f"params {dict(params)}")

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        self.log.append(f"metric {key}={value:g}")

    def log_artifact(self, path: str, artifact_path: str) -> None:
        self.log.append(f"artifact {artifact_path}")

    def end_run(self, run_id: str) -> None:
        self.log.append(f"end of {run_id}")
