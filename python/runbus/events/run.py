"""Facts about runs. The supervisor of jobs publishes them for the runs of its jobs."""

from __future__ import annotations

from typing import Any

from runbus.events._event import Notify

__all__ = [
    "ArtifactLogged",
    "HistogramLogged",
    "NoteAdded",
    "ParamsLogged",
    "RunFinished",
    "RunRecorded",
    "RunStarted",
    "TagsChanged",
    "TextLogged",
]


class RunStarted(Notify, frozen=True, gc=False, kw_only=True, tag="run.started"):
    """A job began to log, or its machine to be sampled; once a run, before its first batch.

    Attributes:
        run_id: The run.
        experiment_id: The experiment it belongs to.
        job: The name of its job.
        time_ns: When it was seen, Unix time in nanoseconds.
    """

    run_id: str
    experiment_id: str
    job: str
    time_ns: int


class RunFinished(Notify, frozen=True, gc=False, kw_only=True, tag="run.finished"):
    """Nothing more will be logged to a run that had started: its job is over.

    Published after its last batch and before `JobEnded`.

    Attributes:
        run_id: The run.
        experiment_id: The experiment it belongs to.
        job: The name of its job.
        state: The terminal state of the job.
        time_ns: When it was seen, Unix time in nanoseconds.
    """

    run_id: str
    experiment_id: str
    job: str
    state: str
    time_ns: int


class RunRecorded(Notify, frozen=True, kw_only=True, tag="run.recorded"):
    """A run recorded something other than a metric; published as one of the classes below.

    After `RunStarted` and before `RunFinished`, those of one process in their order. A process that
    takes over the jobs of a supervisor that died publishes them anew, from the first one on.

    Attributes:
        run_id: The run.
        experiment_id: The experiment it belongs to.
        job: The name of its job.
        time_ns: When it was recorded, Unix time in nanoseconds.
    """

    run_id: str
    experiment_id: str
    job: str
    time_ns: int


class ParamsLogged(RunRecorded, frozen=True, kw_only=True, tag="run.params"):
    """Params were set, in the run's config or later.

    Attributes:
        params: Their values by name; names of nested ones are joined with "/". Secrets are `***`.
    """

    params: dict[str, Any]


class TagsChanged(RunRecorded, frozen=True, kw_only=True, tag="run.tags"):
    """Tags were given or taken away.

    Attributes:
        added: Those that it has now.
        removed: Those that it has no longer.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]


class NoteAdded(RunRecorded, frozen=True, kw_only=True, tag="run.note"):
    """Something was noted.

    Attributes:
        text: What.
    """

    text: str


class TextLogged(RunRecorded, frozen=True, kw_only=True, tag="run.text"):
    """A text was logged.

    Attributes:
        name: What it is.
        step: The step; None if none was given.
        text: The text.
    """

    name: str
    step: int | None
    text: str


class HistogramLogged(RunRecorded, frozen=True, kw_only=True, tag="run.histogram"):
    """A histogram was logged.

    Attributes:
        name: What its values are.
        step: The step; None if none was given.
        counts: How many values each bin has.
        edges: Where the bins begin, and where the last one ends.
        not_finite: How many values were NaN or infinite, and are in no bin.
    """

    name: str
    step: int | None
    counts: tuple[float, ...]
    edges: tuple[float, ...]
    not_finite: int


class ArtifactLogged(RunRecorded, frozen=True, kw_only=True, tag="run.artifact"):
    """A file or folder was kept: it is at `path` as a whole, and does not change.

    Attributes:
        name: What the run calls it.
        artifact_kind: "image", "table", "file", "folder", or what the run says.
        step: The step; None if none was given.
        size: Bytes; of a folder, of all its files.
        sha256: Its hash, as `runbus.metrics.Artifact` says.
        path: Where it lies.
        caption: What to show with it; None if nothing.
    """

    name: str
    artifact_kind: str
    step: int | None
    size: int
    sha256: str
    path: str
    caption: str | None
