"""What a job inherits from the process that launches it, and what it may not ask for by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._home import ENV_ATTEMPT
from runbus.errors import UsageError
from runbus.executors._gpus import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    variables = _variables()
    if inherit is not True:
        names = _NEEDED if inherit is False else map(os.fsencode, inherit)
        variables = {name: variables[name] for name in names if name in variables}
    kept = dict(variables)
    for name in (ENV_ATTEMPT, *(job.withheld if job else ())):
        kept.pop(os.fsencode(name), None)
    for secret in [name for name in kept if name.startswith(b"RUNBUS_SECRET_")]:
        del kept[secret]
    return kept


def _variables() -> Mapping[bytes, bytes]:
    """Return the variables of this process.

    The mapping that `os` offers calls Python three times for each of them, which is a twentieth of
    what a short job costs; they lie in a plain dict below it.
    """
    data = getattr(os.environb, "_data", None)
    return data if type(data) is dict else dict(os.environb)


def check_gpu_variable(job: JobSpec) -> None:
    """Refuse a job that is lent GPUs and says by itself which ones it uses.

    Raises:
        UsageError: It does.
    """
    given = {**job.image.env, **job.env}
    if (count := job.resources.gpus) and VARIABLE in given:
        raise UsageError(
            f"job {job.name!r} asks for {count} GPUs and sets {VARIABLE} itself: its executor "
            "sets it to those that it lends"
        )
