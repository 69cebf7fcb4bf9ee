"""The experiments of a hub: what each is of, and the model that it has."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from runbus._home import Home
from runbus._listed import check_mapping
from runbus._revealed import cause_of, unrevealed
from runbus._secrets import redacted_text
from runbus.catalog import open_run, runs
from runbus.config import Config, Partial, function_task, import_target, make
from runbus.errors import (
    FieldInvalid,
    HomeUnusable,
    ModelNotSaved,
    ModelUnreadable,
    NotTrained,
    RecordNotFound,
    RunNotFound,
    TrainingFailed,
    UnknownExperimentType,
    UsageError,
    near_matches,
    os_reason,
)
from runbus.experiment import ExperimentDraft, Job, StoredExperiment
from runbus.hub._mlops import experiment_id
from runbus.hub._plain import plain_json
from runbus.hub._train import MODEL, train, write_data
from runbus.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.catalog import RunRecord
    from runbus.hub._config import Globals
    from runbus.hub._jobs import Led
    from runbus.hub.experiments import ExperimentType
    from runbus.metrics import Artifact

__all__ = ["HubExperiment", "TypeTable"]


class TypeTable:
    """The types of experiments that a hub has, by name.

    Args:
        types: Classes, or their import paths.

    Raises:
        FieldInvalid: They are something else.
    """

    def __init__(self, types: Mapping[str, type | str]) -> None:
        check_mapping(types, "types", "classes")
        for name, one in types.items():
            given: tuple[object, object] = name, one
            if not isinstance(given[0], str) or not isinstance(given[1], str | type):
                reason = "expected names, and for each a class or its import path"
                raise FieldInvalid("types", repr({name: one}), reason)
        self._types = {
            name: one if isinstance(one, str) else f"{one.__module__}:{one.__qualname__}"
            for name, one in types.items()
        }

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [*self._types]

    def target(self, name: str) -> str:
        """Return the import path of the class of a name.

        Raises:
            UnknownExperimentType: There is none.
        """
        if name not in self._types:
            known = tuple(self._types)
            raise UnknownExperimentType(str(name), known, near_matches(str(name), known))
        return self._types[name]


class HubExperiment:
    """An experiment of a hub.

    Attributes:
        name: What the hub calls it; its runs are of a project of this name.
        kind: What the hub calls its type.
        target: The import path of the type's class.
        settings: What the constructor of the type takes, as data.
        training: The training that is under way, or was last; None if there was none.
        run_id: The run whose model is in use; empty if there is none.
        failure: Why the last training has brought no model; None if it has.

    Raises:
        UsageError: It cannot be called so.
        ConfigInvalid: The settings do not fit the type.
        FieldInvalid: JSON cannot hold them.
        TargetUnusable: The class of the type cannot be imported.
    """

    def __init__(self, name: str, kind: str, target: str, settings: Mapping[str, Any]) -> None:
        experiment_id(name)
        if redacted_text(name) != name:
            raise UsageError("the name of the experiment holds what looks like a secret")
        self.name = name
        self.kind = kind
        self.target = target
        self._type: Any = import_target(target)
        # As it was given: each process converts it as the type wants it.
        self.settings: dict[str, Any] = json.loads(plain_json(dict(settings), "config"))
        Config(self._type, **self.settings).complete()
        self.training: Led | None = None
        self.run_id = ""
        self.failure: Exception | None = None
        self._model: ExperimentType | None = None

    @property
    def is_training(self) -> bool:
        """Whether it is being trained."""
        return self.training is not None and not self.training.is_over

    @property
    def state(self) -> str:
        """`new`, `training`, `ready` or `failed`; one that failed may have an earlier model."""
        if self.is_training:
            return "training"
        if self.failure is not None:
            return "failed"
        return "ready" if self._model is not None else "new"

    @property
    def model(self) -> ExperimentType:
        """What predicts.

        Raises:
            NotTrained: There is none yet.
        """
        if self._model is None:
            raise NotTrained(self.name)
        return self._model

    def prepare(self, data: Any, globals_: Globals, home: str | None) -> StoredExperiment:
        """Make the job that trains it, with a copy of the data, and its run; nothing runs yet.

        Raises:
            TaskInvalid: No other process can import the class of the type.
            HomeUnusable: The home folder cannot be written.
            FieldInvalid: JSON cannot hold the data.
        """
        # The job imports the class from where this process has it.
        folder = function_task(Partial(self._type, **self.settings)).folder
        call = Partial(
            train,
            kind=self.kind,
            target=self.target,
            settings=self.settings,
            log_level=globals_.log_level,
        )
        task = function_task(call, folder)
        config = {"environment": globals_.environment} if globals_.environment else {}
        job = Job(name=f"train-{self.kind}", task=task, config=config)
        stored = ExperimentDraft(self.name, [job], home=home, max_parallel=1).prepare()
        try:
            write_data(stored.folder, data)
        except BaseException as error:
            # Nobody is to lead a job whose data is missing.
            Home(home).note_closed(stored.folder)
            shutil.rmtree(stored.folder, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            reason = os_reason(error) if error.errno else f"no room for the data: {error}"
            raise HomeUnusable(Home(home).path, reason) from error
        return stored

    def take(self, run_id: str, home: str | None) -> None:
        """Use the model of a run from now on.

        Raises:
            TrainingFailed: The run did not succeed.
            ModelUnreadable: It keeps no model, or one of another type or other settings.
            RunNotFound: There is no such run.
        """
        run = open_run(run_id, home=home)
        if run.state is not JobState.SUCCEEDED:
            raised = run.error
            reason = f"{raised['type']}: {raised['text']}" if raised else run.reason
            raise TrainingFailed(self.name, run.id, str(run.state), reason)
        self._model, self.run_id = self.read(model_folder(run)), run.id
        self.failure = None

    def read(self, folder: str) -> ExperimentType:
        """Return what predicts by the model in a folder.

        Raises:
            ModelUnreadable: It cannot be read.
        """
        model: ExperimentType = make(self._type, self.settings)
        try:
            model.load(folder)
        except ModelUnreadable:
            raise
        except Exception as error:  # of the type, which need not be ours
            reason = redacted_text(unrevealed(f"{type(error).__name__}: {error}"))
            raise ModelUnreadable(folder, reason) from cause_of(error)
        return model


def model_folder(run: RunRecord) -> str:
    """Return where the model of a run lies, once it is known to be whole.

    Raises:
        ModelUnreadable: It keeps none, or what lies there is not what was kept.
    """
    try:
        found = run.artifacts(MODEL, kind=MODEL)[-1]
        is_whole = os.path.isdir(found.path) and found.is_whole()
    except (RecordNotFound, IndexError):
        raise ModelUnreadable(run.folder, "the run keeps no model") from None
    except OSError as error:
        raise ModelUnreadable(run.folder, f"its model cannot be read: {error}") from error
    if not is_whole:
        raise ModelUnreadable(found.path, "it is not what was kept: its SHA-256 does not fit")
    return found.path


def copy_model(model: Artifact, folder: str) -> None:
    """Copy a model to a new folder, which appears whole or not at all.

    Raises:
        ModelNotSaved: Something is there already, or the folder cannot be made or written.
        FileUnreadable: The model is not what was kept.
    """
    parent = os.path.dirname(folder.rstrip(os.sep)) or "."
    if os.path.lexists(folder):
        raise ModelNotSaved(folder, "it is there already", "name a folder that is new")
    if not os.path.isdir(parent):
        raise ModelNotSaved(folder, f"there is no folder {parent}", "make that folder before")
    try:
        model.copy_to(folder.rstrip(os.sep))
    except OSError as error:
        # The place that the system names is a temporary one.
        raise ModelNotSaved(folder, os_reason(error)) from error


def newest_model(project: str, home: str | None) -> RunRecord:
    """Return the newest run of a project that succeeded and keeps a model.

    Raises:
        RunNotFound: There is none.
    """
    for run in reversed(runs(experiment_id(project), home=home)):
        if run.info.job is None or run.state is not JobState.SUCCEEDED:
            continue
        if any(one.kind == MODEL for one in run.artifacts()):
            return run
    raise RunNotFound(project, ())
