"""Going on with a run that is there."""

from __future__ import annotations

import os

from runbus._home import ENV_RUN
from runbus.metrics._folder import is_helper, rank_of, writers_of
from runbus.metrics._rank import rank

__all__ = ["ALLOW", "MUST", "last_step", "named_run"]

MUST, ALLOW = "must", "allow"
"""What `resume` may say of a run that something else names."""


def named_run(id: str | None, resume: str | None) -> tuple[str, bool]:
    """Return what names the run to go on with, and whether that is the environment.

    Args:
        id: As the caller gave it.
        resume: As the caller gave it: an id, too, or "must" or "allow".

    Returns:
        An id, a part of one, or a folder; empty where nothing names a run.

    Raises:
        TypeError: Both name one.
        ValueError: The run must be there, and nothing names one.
    """
    if resume and resume not in (MUST, ALLOW):
        if id:
            raise TypeError("id and resume both name a run: give one")
        id = resume
    if id:
        return id, False
    named = os.environ.get(ENV_RUN, "")
    if resume == MUST and not named:
        raise ValueError(f"resume={MUST!r}, and nothing names a run: give id, or set {ENV_RUN}")
    return named, True


def last_step(folder: str) -> int | None:
    """Return the last step that earlier processes of this rank logged; None if they did not.

    Of several metrics it is the greatest of their last steps.
    """
    from runbus._core import summarize

    steps = []
    for writer, files in writers_of(folder).items():
        if rank_of(writer) != rank() or is_helper(writer):
            continue
        try:
            steps += [about[1] for _, about in summarize([files])]
        except (OSError, ValueError) as error:
            import logging  # which few scripts that log have loaded

            logger = logging.getLogger("runbus.metrics")
            logger.warning("the steps of %s are not gone on with: %s", writer, error)
    return max(steps, default=None)
