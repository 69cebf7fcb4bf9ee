"""Elements of an array that was asked for: what each is told, and how many run at a time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runbus.abc import JobRef, JobSpec, Request
    from runbus.executors._slurm.options import SlurmOptions

__all__ = ["Bounded", "numbered"]


def numbered(options: SlurmOptions, job: JobSpec) -> JobSpec:
    """Return a job that finds in its environment which element of the whole array it is.

    Slurm tells it of those that were sent with it: of a part of the array, say, or of an element
    that is tried again by itself.
    """
    if job.copy is None or (array := options.elements) is None:
        return job
    told = {
        "ID": job.copy.index,
        "COUNT": len(array.indices),
        "MIN": array.indices[0],
        "MAX": array.indices[-1],
        "STEP": array.step,
    }
    env = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in told.items()}
    return replace(job, env={**job.env, **env})


class Bounded:
    """Holds back elements of an array of which only so many run at a time, where Slurm cannot.

    Slurm bounds what it gets in one `sbatch`. Where the elements do not all go in one, because one
    is tried again or there is no room for all, those that come later wait until so few of the
    others are left that all of them may run at once.
    """

    def __init__(self) -> None:
        self._sending: dict[str, tuple[str, str]] = {}

    @contextmanager
    def within(
        self, limit: int | None, groups: Sequence[Sequence[Request]], open_jobs: Iterable[JobRef]
    ) -> Iterator[list[Sequence[Request]]]:
        """Yield which of some jobs may be handed over while this lasts, in the same groups.

        Args:
            limit: How many elements run at a time; None for any number.
            groups: The jobs; those of a group go in one `sbatch`.
            open_jobs: The attempts that have been handed over and have not ended.
        """
        if limit is None:
            yield list(groups)
            return
        there = {ref.folder: _array_of(ref.folder, ref.name) for ref in open_jobs}
        going: dict[str, tuple[str, str]] = {}
        found: list[Sequence[Request]] = []
        for group in groups:
            array = _array_of(group[0].job.folder, group[0].job.name)
            others = {**there, **self._sending, **going}
            for request in group:
                others.pop(request.job.folder, None)
            count = sum(one == array for one in others.values())
            may_go = group[: max(0, limit - count)] if count else group
            going |= dict.fromkeys((one.job.folder for one in may_go), array)
            if may_go:
                found.append(may_go)
        self._sending |= going
        try:
            yield found
        finally:
            for folder in going:
                self._sending.pop(folder, None)


def _array_of(folder: str, name: str) -> tuple[str, str]:
    """Return what is the same for the elements of an array: their experiment, and their name."""
    return os.path.dirname(os.path.dirname(folder)), name.rpartition("[")[0]
