"""Facts about runs. The supervisor of jobs publishes them for the runs of its jobs."""

from __future__ import annotations

from runbus.events._event import Notify

__all__ = ["RunFinished", "RunStarted"]


class RunStarted(Notify, frozen=True, gc=False, kw_only=True, tag="run.started"):
    """The first process of a job began to log; published once a run, before its first batch.

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
