"""The hub: services and experiments behind plain calls."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from runbus.api import portal
from runbus.catalog import open_run
from runbus.errors import HubExperimentNotFound, StillRunning, UsageError, near_matches
from runbus.hub._config import BUILT_IN_TYPES, Globals, read_hub_config
from runbus.hub._data import Given, take
from runbus.hub._experiments import HubExperiment, TypeTable, copy_model, model_folder, newest_model
from runbus.hub._jobs import GRACE_S
from runbus.hub._mlops import RunbusMLOps
from runbus.hub._plain import check_amount
from runbus.hub._service_hub import ServiceHub
from runbus.hub._tracking import record_training

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from runbus.abc import ServicePlugin
    from runbus.catalog import RunRecord

__all__ = ["ExperimentHub"]


class ExperimentHub(ServiceHub):
    """Services, types of experiments and the experiments of these types.

    Its methods are plain calls that wait; threads may share a hub. What one hub has, no other one
    sees. It is ended by `shutdown`, by the end of a `with` block, or with the process.

    A training is a supervised job of this machine, in a process of its own: its record is a run of
    the project that is called like the experiment, and the model lies in it.

    Args:
        services: What to register, in this order; one of each kind.
        types: The types of experiments by name: classes, or their import paths as `module:name`.
            `time_series` and `fault_detection` if None.
        home: The home folder of its runs; that of an `mlops` service of ours, `$RUNBUS_HOME` or
            `~/.runbus` if None.
        log_level: From which level on the hub and its jobs log: `debug`, `info`, `warning`,
            `error` or `critical`.
        environment: What its runs record as their `environment`.

    Attributes:
        globals: The level and the environment.

    Raises:
        InvalidService: A service is not one.
        FieldInvalid: The types are something else.
        InvalidOption: There is no such level.
        ServiceUnavailable: One cannot be initialized; those before it are shut down.
    """

    def __init__(
        self,
        services: Sequence[ServicePlugin] = (),
        *,
        types: Mapping[str, type | str] | None = None,
        home: str | os.PathLike[str] | None = None,
        log_level: str = "warning",
        environment: str = "",
    ) -> None:
        self._types = TypeTable(BUILT_IN_TYPES if types is None else types)
        self._own_home = None if home is None else os.fspath(home)
        self._lock = threading.RLock()
        self._experiments: dict[str, HubExperiment] = {}
        super().__init__(services, Globals(log_level, environment))

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike[str] = "hub_config.yaml",
        *,
        home: str | os.PathLike[str] | None = None,
        strict: bool = True,
    ) -> Self:
        """Return the hub that a file describes, with its services initialized.

        Args:
            path: The file; docs/concepts/hub.md says what it holds.
            home: See the class.
            strict: Whether a service that cannot be initialized is an error; if not, the hub does
                without it, and `unavailable` says why.

        Raises:
            ConfigInvalid: Something in the file does not fit; every mistake has its line.
            ServiceUnavailable: A service cannot be initialized; the others are shut down.
        """
        config = read_hub_config(path, moved=cls._moved())
        types = {one.name: one.target for one in config.types if one.enabled}
        level, environment = config.globals
        hub = cls(types=types, home=home, log_level=level, environment=environment)
        for hint in config.hints:
            hub._log.warning("%s", hint)
        try:
            for entry in config.services:
                if entry.enabled:
                    hub._services.register_entry(entry, strict=strict)
        except BaseException:
            hub.shutdown()
            raise
        return hub

    @classmethod
    def _moved(cls) -> Mapping[str, str]:
        """Return which classes a file may name that lie elsewhere here."""
        return {}

    # -- experiments

    def available_experiments(self) -> list[str]:
        """Return the names of the types of experiments."""
        return self._types.names

    def experiments(self) -> dict[str, str]:
        """Return the experiments by name, and of each `new`, `training`, `ready` or `failed`."""
        return {name: one.state for name, one in [*self._experiments.items()]}

    def create_experiment(
        self, name: str, experiment_type: str, config: Mapping[str, Any] | None = None
    ) -> str:
        """Make an experiment, which is not trained yet, and return its name.

        Args:
            name: What to call it; its runs are of a project of this name.
            experiment_type: The name of its type.
            config: What the constructor of the type takes; it stays as it is.

        Raises:
            UnknownExperimentType: The hub has no such type; a ValueError.
            ConfigInvalid: The configuration does not fit the type.
            UsageError: The name is taken, or means something else.
            HubClosed: The hub was shut down.
        """
        with self._lock:
            self._services.check_open("create_experiment")
            target = self._types.target(experiment_type)
            if name in self._experiments:
                raise UsageError(f"there is an experiment {name!r} already")
            made = HubExperiment(name, experiment_type, target, dict(config or {}))
            self._experiments[name] = made
        return name

    def train(
        self,
        name: str,
        data: Any = None,
        *,
        queue: str | None = None,
        wait: bool = True,
    ) -> RunRecord:
        """Train an experiment in a job of its own, and use the model once it is trained.

        Until then, and if it fails, the model that it had stays in use. Interrupted, the job is
        ended.

        Args:
            name: The experiment.
            data: An array, or what JSON can hold; the type says of what form.
            queue: The queue of the data stream whose next message is the data, instead of `data`.
                The message is acknowledged when the model is trained, and put back otherwise.
            wait: Whether to wait for the end; `wait_trained` does so later.

        Returns:
            The record of the run.

        Raises:
            HubExperimentNotFound: There is no such experiment.
            TrainingFailed: It was not trained; says why.
            UsageError: It is being trained already, or there is no data.
            ServiceMissing: There is no data stream.
            HomeUnusable: The home folder cannot be written.
            HubClosed: The hub was shut down.
        """
        self._services.check_open("train")
        self._find(name)
        given = take(self._services, f"the training of {name!r}", data, queue)
        return self._train(name, given, wait=wait)

    def _train(self, name: str, given: Given, *, wait: bool) -> RunRecord:
        try:
            with self._lock:
                leader = self._services.leader("train")
                experiment = self._find(name)
                if experiment.is_training:
                    raise UsageError(f"the experiment {name!r} is being trained already")
                job = experiment.prepare(given.data, self.globals, self._home)
                run_id = job.specs[0].run_id

                def finish() -> None:
                    self._finish(experiment, run_id, given, is_awaited=wait)

                experiment.training = portal().call(leader.start, job, finish)
        except BaseException:
            self._settle(given, is_done=False)
            raise
        self._log.info("%s is being trained: run %s", name, run_id)
        if not wait:
            return open_run(run_id, home=self._home)
        try:
            return self.wait_trained(name)
        except KeyboardInterrupt:
            self.kill(name)
            raise

    def _finish(
        self, experiment: HubExperiment, run_id: str, given: Given, *, is_awaited: bool
    ) -> None:
        """Use the model of a training that has ended; runs in a worker thread."""
        try:
            experiment.take(run_id, self._home)
        except Exception as error:  # raised where the training is waited for
            experiment.failure = error
            self._settle(given, is_done=False)
            self._log.log(logging.INFO if is_awaited else logging.ERROR, "%s", error)
            return
        self._settle(given, is_done=True)
        run = open_run(run_id, home=self._home)
        record_training(self._services, experiment.name, experiment.settings, run, self._log)

    def wait_trained(self, name: str, timeout: float | None = None) -> RunRecord:
        """Wait until an experiment is trained, and return the record of the run.

        Args:
            name: The experiment.
            timeout: How many seconds at most; as long as it takes if None.

        Raises:
            HubExperimentNotFound: There is no such experiment.
            UsageError: Nobody trains it.
            TrainingFailed: It was not trained; says why.
            StillRunning: It has not ended in that time; a TimeoutError.
            FieldInvalid: The time is no number.
        """
        if timeout is not None:
            check_amount(timeout, "timeout", least=0)
        experiment = self._find(name)
        training = experiment.training
        if training is None:
            raise UsageError(f"the experiment {name!r} is not being trained: call train()")
        if not portal().call(training.wait, timeout):
            raise StillRunning(f"the training of {name}", timeout or 0.0)
        if training.error is not None:
            raise training.error
        if experiment.failure is not None:
            raise experiment.failure
        return open_run(training.run_id, home=self._home)

    def retrain(
        self,
        name: str,
        data: Any = None,
        *,
        queue: str | None = None,
        unless_score: float | None = None,
        wait: bool = True,
    ) -> RunRecord | None:
        """Train an experiment anew, unless its model is still good.

        Args:
            name: The experiment.
            data: See `train`.
            queue: See `train`.
            unless_score: Leave the model as it is if its score on the data is at least this.
            wait: See `train`.

        Returns:
            The record of the run; None if the model was left as it is.

        Raises:
            NotTrained: It has no model yet.
            FieldInvalid: `unless_score` is no number.
            Exception: See `train`.
        """
        if unless_score is not None:
            check_amount(unless_score, "unless_score")
        model = self._find(name).model
        given = take(self._services, f"the training of {name!r}", data, queue)
        if unless_score is not None:
            try:
                score = float(model.score(model.format_data(given.data)))
            except BaseException:
                self._settle(given, is_done=False)
                raise
            if score >= unless_score:
                self._settle(given, is_done=True)
                self._log.info("%s stays as it is: its score is %g", name, score)
                return None
        return self._train(name, given, wait=wait)

    def predict(self, name: str, data: Any = None, *, queue: str | None = None) -> Any:
        """Return what the model of an experiment says of data, in this process.

        Args:
            name: The experiment.
            data: An array, or what JSON can hold; the type says of what form.
            queue: The queue of the data stream whose next message is the data, instead of `data`.
                The message is acknowledged once the model has answered.

        Raises:
            HubExperimentNotFound: There is no such experiment.
            NotTrained: It has no model yet.
            UsageError: There is no data.
            ServiceMissing: There is no data stream.
            ValueError: The type cannot use the data.
        """
        self._services.check_open("predict")
        model = self._find(name).model
        given = take(self._services, f"the prediction of {name!r}", data, queue)
        try:
            found = model.predict(model.format_data(given.data))
        except BaseException:
            self._settle(given, is_done=False)
            raise
        self._settle(given, is_done=True)
        return found

    def load(self, name: str, run_id: str | None = None) -> RunRecord:
        """Use the model that an earlier run keeps, of this process or another one.

        An experiment that the hub does not have is made as the run has recorded it, if the hub has
        its type.

        Args:
            name: The experiment.
            run_id: The run; the newest of the experiment that keeps a model if None.

        Returns:
            The record of the run.

        Raises:
            RunNotFound: There is no such run.
            ModelUnreadable: Its model is damaged, missing or of another type.
            UnknownExperimentType: The hub has no such type.
        """
        with self._lock:
            self._services.check_open("load")
            home = self._home
            run = open_run(run_id, home=home) if run_id else newest_model(name, home)
            experiment = self._experiments.get(name) or self._recorded(name, run)
            experiment.take(run.id, home)
            self._experiments[name] = experiment
        return run

    def _recorded(self, name: str, run: RunRecord) -> HubExperiment:
        """Return an experiment as a run has recorded it; what is imported is the hub's own type."""
        kind, settings = run.config.get("kind"), run.config.get("settings")
        if not isinstance(kind, str) or not isinstance(settings, dict):
            raise HubExperimentNotFound(name, near_matches(name, self._experiments))
        return HubExperiment(name, kind, self._types.target(kind), settings)

    def save(self, name: str, folder: str | os.PathLike[str]) -> str:
        """Copy the model of an experiment to a new folder, which appears whole or not at all.

        Returns:
            The folder.

        Raises:
            NotTrained: It has no model yet.
            ModelUnreadable: The model that its run keeps is damaged.
            ModelNotSaved: Something is there already, or the folder cannot be made or written.
        """
        self._services.check_open("save")
        experiment = self._find(name)
        _ = experiment.model
        run = open_run(experiment.run_id, home=self._home)
        path = model_folder(run)
        (found,) = (one for one in run.artifacts() if one.path == path)
        copy_model(found, os.fspath(folder))
        return os.fspath(folder)

    def kill(self, name: str) -> bool:
        """End the training of an experiment (TERM, after 5 s KILL), and wait for that.

        Returns:
            Whether it was being trained.

        Raises:
            HubExperimentNotFound: There is no such experiment.
        """
        training = self._find(name).training
        if training is None:
            return False
        leader = self._services.leader("kill")
        return portal().call(leader.cancel, training, "killed", GRACE_S)

    @property
    def _home(self) -> str | None:
        """The home of the runs: the hub's own, or that of an mlops service of ours."""
        service = self.get_plugin("mlops")
        if self._own_home is None and isinstance(service, RunbusMLOps):
            return service.home
        return self._own_home

    def _find(self, name: str) -> HubExperiment:
        found = self._experiments.get(name)
        if found is None:
            raise HubExperimentNotFound(str(name), near_matches(str(name), self._experiments))
        return found

    def _settle(self, given: Given, *, is_done: bool) -> None:
        given.settle(self._services, self._log, is_done=is_done)
