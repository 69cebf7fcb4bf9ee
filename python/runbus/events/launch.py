"""Requests to plugins on the way from a task to its start."""

from __future__ import annotations

import msgspec

from runbus.events._event import Around, Collector, Pipeline

__all__ = ["Bootstrap", "Image", "ImageTransform", "TaskStart"]


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine of a task must hold before the task can start.

    Attributes:
        base: Name of the base image or module; empty for the machine as it is.
        python: Python version, such as `3.12`; empty for the one that is there.
        packages: Python requirements, in pip's notation.
        system_packages: Packages of the operating system.
        env: Environment variables.
        secrets: Environment variables whose values are secrets, as references: see `Secret`.
    """

    base: str = ""
    python: str = ""
    packages: tuple[str, ...] = ()
    system_packages: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()


class ImageTransform(Pipeline[Image], frozen=True, kw_only=True, tag="launch.image"):
    """Lets each plugin add to the image of a task. Applied before a task is submitted.

    A handler returns a new image, usually `msgspec.structs.replace(event.value, ...)`.

    Attributes:
        job: Name of the job that will run the task.
        executor: Name of the executor it goes to.
    """

    job: str = ""
    executor: str = ""


class Bootstrap(Collector[str], frozen=True, gc=False, kw_only=True, tag="launch.bootstrap"):
    """Collects shell lines that prepare the machine of a task. Applied before it is submitted.

    A handler returns lines of POSIX shell; they run in plugin order, and the first that fails
    fails the job.

    Attributes:
        job: Name of the job that will run the task.
        executor: Name of the executor it goes to.
    """

    job: str = ""
    executor: str = ""


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
