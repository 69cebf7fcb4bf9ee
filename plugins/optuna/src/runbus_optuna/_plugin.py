"""The plugin: asks a study for each trial, reports its metric, and tells how it ended."""

from __future__ import annotations

import fnmatch
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import runbus
from runbus.errors import FieldInvalid, RunbusError
from runbus.events import JobEnded, JobTransform, Lagged, MetricBatch
from runbus_optuna._space import distributions, with_values

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

    from runbus.abc import Scope
    from runbus.events import JobDraft

__all__ = ["Optuna"]

logger = logging.getLogger("runbus.plugins.optuna")

_RUN = "runbus_run"
"""The attribute of a trial that says which run it is."""

_GRACE_S = 10.0


class Optuna:
    """Lets an Optuna study choose the values of jobs, each as it begins.

    A job that is a trial of a sweep gets values of the study just before it is submitted: as
    options, or at the config paths of a function. What its run logs of the metric is reported to
    the study, whose pruner may end it. Its best value, as the run's own files have it, is told to
    the study when the job has ended.

    The study is in a file or database, and goes on where it was: trials whose runs have ended
    while nobody watched are told at the start.

    Attributes:
        name: `optuna`.
        goal: What is best: `min:val/loss`.
        study: The study while the plugin runs.
    """

    name = "optuna"
    api = ">=1,<2"

    def __init__(
        self,
        goal: str,
        space: Mapping[str, Any],
        *,
        jobs: str = "*",
        study: str = "runbus",
        storage: str | os.PathLike[str] = "optuna.journal",
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
        seed: int | None = None,
    ) -> None:
        """Prepare the plugin; the study is opened when the kernel starts.

        Args:
            goal: `min:NAME` or `max:NAME` of a metric.
            space: What values are drawn from, by config paths, as `random` of a sweep has it.
            jobs: Which trials get theirs from this study, as a pattern of the names of their jobs,
                such as `train-*`, where an experiment has several such sweeps.
            study: What the study is called in its storage.
            storage: A file for Optuna's journal, or the URL of a database.
            sampler: What chooses the values; a TPE sampler with `seed` if None.
            pruner: What ends trials early; a median pruner if None.
            seed: What the values depend on; if None they differ each time.

        Raises:
            FieldInvalid: The goal names no best, or the space has nothing to draw from.
        """
        which, _, metric = goal.partition(":")
        if which not in ("min", "max") or not metric:
            reason = "it says neither min nor max of a metric"
            raise FieldInvalid("goal", repr(goal), reason, "write min:val/loss")
        self.goal = goal
        self.study: Study | None = None
        self._is_min, self._metric = which == "min", metric
        self._space = distributions(dict(space))
        self._jobs = jobs
        self._study_name = study
        self._storage = storage
        self._sampler, self._pruner, self._seed = sampler, pruner, seed
        self._trials: dict[str, _Trial] = {}

    async def setup(self, scope: Scope) -> None:
        """Open the study, and choose, report and tell until the plugin closes.

        Raises:
            FieldInvalid: The storage cannot be opened.
        """
        self._scope = scope
        await scope.thread(self._open)
        scope.on(JobTransform, self._choose)
        scope.on(JobEnded, self._tell)
        scope.start(self._report_all, scope.stream(MetricBatch, overflow="block"))

    def _open(self) -> None:
        # Half a second: who only lists the plugins must not wait for it.
        import optuna
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        place = str(self._storage)
        try:
            storage = (
                RDBStorage(place)
                if "://" in place
                else JournalStorage(JournalFileBackend(str(Path(place).absolute())))
            )
            self.study = optuna.create_study(
                storage=storage,
                study_name=self._study_name,
                direction="minimize" if self._is_min else "maximize",
                sampler=self._sampler or optuna.samplers.TPESampler(seed=self._seed),
                pruner=self._pruner or optuna.pruners.MedianPruner(),
                load_if_exists=True,
            )
        except Exception as error:  # of the storage, which is not ours
            reason = f"{type(error).__name__}: {error}"
            advice = "write a file in a folder that is there, or the URL of a database"
            raise FieldInvalid("storage", repr(place), reason, advice) from error
        for trial in self._running():
            self._catch_up(trial.number, trial.user_attrs.get(_RUN, ""))

    def _running(self) -> list[FrozenTrial]:
        """Return the trials that have begun, and whose end the study does not know."""
        from optuna.trial import TrialState

        assert self.study is not None
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _catch_up(self, number: int, run_id: str) -> None:
        """Tell of a trial whose leader has died, if its run has ended meanwhile."""
        try:
            run = runbus.open_run(run_id)
            ended = str(run.state)
        except (RunbusError, ValueError):
            ended = "LOST"  # its run was removed
        if ended in ("SUCCEEDED", "FAILED", "CANCELLED", "TIMEOUT", "LOST", "SKIPPED"):
            self._settle(number, run_id, ended == "SUCCEEDED", is_pruned=False)

    async def _choose(self, event: JobTransform) -> JobDraft:
        if not event.is_trial or not fnmatch.fnmatchcase(event.job, self._jobs):
            return event.value
        if (trial := self._trials.get(event.run_id)) is None:
            trial = await self._scope.thread(self._ask, event)
            self._trials[event.run_id] = trial
        return with_values(event.value, trial.values)

    def _ask(self, event: JobTransform) -> _Trial:
        """Return the trial of a run: the one that it has already, or a new one."""
        from optuna.trial import Trial

        assert self.study is not None
        for known in self._running():
            if known.user_attrs.get(_RUN) == event.run_id:
                again = Trial(self.study, known._trial_id)
                return _Trial(again, event.experiment_id, event.job, dict(known.params))
        trial = self.study.ask(self._space)
        trial.set_user_attr(_RUN, event.run_id)
        try:
            runbus.open_run(event.run_id).set_params(trial.params)
        except RunbusError as error:
            logger.warning("the values of %s are not in its record: %s", event.run_id, error)
        return _Trial(trial, event.experiment_id, event.job, dict(trial.params))

    async def _report_all(self, batches: Any) -> None:
        async for batch in batches:
            if isinstance(batch, Lagged) or batch.run_id not in self._trials:
                continue
            trial = self._trials[batch.run_id]
            points = [point for point in batch.points() if point[0] == self._metric]
            if not points:
                continue
            _, step, _, value = points[-1]
            async with trial.asks:
                if not trial.is_ending and await self._scope.thread(
                    _is_hopeless, trial.trial, float(value), step
                ):
                    trial.is_ending = True
                    self._scope.start(self._end, trial, step)

    async def _end(self, trial: _Trial, step: int) -> None:
        reason = f"stopped early: pruned by optuna at step {step}"
        await runbus.api.cancel(trial.experiment, trial.job, reason, _GRACE_S)

    async def _tell(self, event: JobEnded) -> None:
        trial = self._trials.pop(event.run_id, None)
        if trial is not None:
            is_pruned = event.reason.startswith("stopped early: ")
            succeeded = event.state == "SUCCEEDED"
            number = trial.trial.number
            trial.is_ending = True
            # The study takes no report of a trial whose end it knows.
            async with trial.asks:
                await self._scope.thread(self._settle, number, event.run_id, succeeded, is_pruned)

    def _settle(self, number: int, run_id: str, succeeded: bool, is_pruned: bool) -> None:
        from optuna.trial import TrialState

        assert self.study is not None
        value = self._value(run_id) if succeeded else None
        if value is not None:
            self.study.tell(number, value, skip_if_finished=True)
        else:
            state = TrialState.PRUNED if is_pruned else TrialState.FAIL
            self.study.tell(number, state=state, skip_if_finished=True)

    def _value(self, run_id: str) -> float | None:
        """Return the best value of a run; None if it has logged no number."""
        try:
            summary = runbus.open_run(run_id).summaries().get(self._metric)
        except RunbusError as error:
            logger.warning("the metric of %s cannot be read: %s", run_id, error)
            return None
        if summary is None:
            return None
        value = float(summary.min if self._is_min else summary.max)
        return value if math.isfinite(value) else None

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell how many trials are on their way."""
        return True, {"study": self._study_name, "running": len(self._trials)}


class _Trial:
    """A trial that is on its way."""

    def __init__(self, trial: Trial, experiment: str, job: str, values: dict[str, Any]) -> None:
        self.trial = trial
        self.experiment = experiment
        self.job = job
        self.values = values
        # Who only looks for commands among plugins does not pay for an event loop.
        import asyncio

        self.is_ending = False
        self.asks = asyncio.Lock()


def _is_hopeless(trial: Trial, value: float, step: int) -> bool:
    """Report a value, and ask whether the trial is to end."""
    trial.report(value, step)
    return trial.should_prune()
