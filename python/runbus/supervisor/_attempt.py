"""One attempt of a job, while it is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.abc import JobRef, JobSpec
    from runbus.supervisor._output import JobOutput

__all__ = ["Attempt"]


class Attempt:
    """An attempt that a backend has, and what it writes.

    Attributes:
        job: The job, as of this attempt.
        ref: What the backend finds it by.
        output: Its logs.
        is_open: Whether its start has been told: what it writes comes after that.
    """

    __slots__ = ("is_open", "job", "output", "ref")

    def __init__(self, job: JobSpec, ref: JobRef, output: JobOutput) -> None:
        self.job = job
        self.ref = ref
        self.output = output
        self.is_open = False
