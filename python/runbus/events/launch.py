"""Requests to plugins on the way from a task to its start, and in the process that runs it."""

from __future__ import annotations

import msgspec

from runbus.events._event import Around, Collector, Decorate, Pipeline, Sensitive
from runbus.events.cluster import Cluster, InstanceInfo
from runbus.events.image import Image
from runbus.events.values import Resources

__all__ = [
    "Bootstrap",
    "ImageTransform",
    "JobDraft",
    "JobTransform",
    "TaskCall",
    "TaskStart",
    "WorkerLife",
]


class JobDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What may still be changed of a job just before it is submitted.

    Attributes:
        argv: The program and its arguments, as the operating system gets them.
        given: A text that the program finds in the file `given` of the folder `RUNBUS_ATTEMPT`; of
            a function, its arguments as JSON.
        cwd: The folder it starts in.
        env: What is added to the environment it inherits.
        secrets: What else is added, as references by the names of the variables: see `Secret`.
        resources: Which share of a machine it gets.
    """

    argv: tuple[str, ...]
    given: Sensitive[str] = ""
    cwd: str = ""
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    resources: Resources = Resources()


class JobTransform(Pipeline[JobDraft], frozen=True, kw_only=True, tag="launch.job"):
    """Lets each plugin change a job. Applied before each attempt, before `ImageTransform`.

    A handler returns a new draft, usually `msgspec.structs.replace(event.value, ...)`. Each attempt
    begins with the job as it was recorded, not with what the one before was made of.

    Attributes:
        experiment_id: The experiment it belongs to.
        job: Name of the job.
        run_id: The run that records what it measures.
        attempt: Number of the attempt, from 1.
        executor: Name of the executor it goes to.
        is_trial: Whether it is a trial of a sweep, whose values a plugin chooses.
    """

    experiment_id: str = ""
    job: str = ""
    run_id: str = ""
    attempt: int = 1
    executor: str = ""
    is_trial: bool = False


class ImageTransform(Pipeline[Image], frozen=True, kw_only=True, tag="launch.image"):
    """Lets each plugin add to the image of a task. Applied before a task is submitted.

    A handler returns a new image, usually `dataclasses.replace(event.value, ...)`.

    Attributes:
        job: Name of the job that will run the task.
        executor: Name of the executor it goes to.
        cluster: The machines that are asked for.
    """

    job: str = ""
    executor: str = ""
    cluster: Cluster = Cluster()


class Bootstrap(Collector[str], frozen=True, gc=False, kw_only=True, tag="launch.bootstrap"):
    """Collects shell lines that prepare the machine of a task. Applied before it is submitted.

    A handler returns lines of POSIX shell; they run in plugin order, and the first that fails
    fails the job.

    Attributes:
        job: Name of the job that will run the task.
        executor: Name of the executor it goes to.
        cluster: The machines that are asked for.
    """

    job: str = ""
    executor: str = ""
    cluster: Cluster = Cluster()


class TaskStart(Around, frozen=True, gc=False, kw_only=True, tag="launch.task"):
    """Wraps one attempt of a job, from before it is submitted until it has ended.

    Attributes:
        job: Name of the job.
        attempt: Number of the attempt, from 1.
        executor: Name of the executor.
    """

    job: str
    attempt: int = 1
    executor: str = ""


class WorkerLife(Around, frozen=True, gc=False, kw_only=True, tag="worker.life"):
    """Wraps the tasks of a worker process: from its first task until the process ends.

    Attributes:
        info: The process.
    """

    info: InstanceInfo = InstanceInfo()


class TaskCall(Decorate, frozen=True, gc=False, kw_only=True, tag="worker.task"):
    """Wraps the function of a task in the worker process that calls it.

    Attributes:
        info: The process.
    """

    info: InstanceInfo = InstanceInfo()
