"""What a job inherits from the process that launches it, and what it may not ask for by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._home import ENV_ATTEMPT
from runbus.errors import UsageError
from runbus.executors._gpus import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runbus.abc import JobSpec

__all__ = ["check_gpu_variable", "inherited_environment"]

_NEEDED = (b"PATH", b"HOME", b"LANG", b"LC_ALL", b"LC_CTYPE", b"TMPDIR", b"USER", b"LOGNAME", b"TZ")
"""What is inherited although nothing is: without these few hardly any program works."""


def inherited_environment(
    inherit: bool | Sequence[str] = True, job: JobSpec | None = None
) -> dict[bytes, bytes]:
    """Return the variables of this process that a job gets.

    Left out are the mark of an attempt that this process may be part of itself, what holds secrets
    on their way to a job, and the variables that jobs of the experiment name as their secrets.

    Args:
        inherit: Whether it gets any, or their names. With False it gets those that hardly any
            program can do without, such as PATH and HOME.
        job: The job; None for a program that is not a job.
    """
    pairs: Iterable[tuple[bytes, bytes]] = os.environb.items()
    if inherit is not True:
        names = _NEEDED if inherit is False else map(os.fsencode, inherit)
        pairs = [(name, os.environb[name]) for name in names if name in os.environb]
    left_out = {os.fsencode(name) for name in (ENV_ATTEMPT, *(job.withheld if job else ()))}
    return {
        name: value
        for name, value in pairs
        if name not in left_out and not name.startswith(b"RUNBUS_SECRET_")
    }


def check_gpu_variable(job: JobSpec) -> None:
    """Refuse a job that is lent GPUs and says by itself which ones it uses.

    Raises:
        UsageError: It does.
    """
    given = {**dict(job.image.env), **job.env}
    if (count := job.resources.gpus) and VARIABLE in given:
        raise UsageError(
            f"job {job.name!r} asks for {count} GPUs and sets {VARIABLE} itself: its executor "
            "sets it to those that it lends"
        )
