"""One attempt of a job, while it is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runbus.abc import JobRef, JobSpec

__all__ = ["Attempt"]


class Attempt(NamedTuple):
    """An attempt that a backend has: the job as of it, and what the backend finds it by."""

    job: JobSpec
    ref: JobRef
