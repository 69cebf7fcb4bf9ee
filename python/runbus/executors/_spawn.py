"""Starting the wrapper program or its script, away from what this process is part of."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["spawn"]

# What Python ignores or the terminal sends must not be inherited by a job.
_DEFAULT_SIGNALS = (
    signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGQUIT, signal.SIGTERM, signal.SIGXFSZ
)  # fmt: skip


def spawn(
    words: Sequence[str], environment: Mapping[bytes, bytes], *, stdin: int | None = None
) -> int:
    """Start a program in a session of its own and return its pid.

    This process stands still until the program is loaded: nothing slow is done before.

    Args:
        words: The program's path and its arguments.
        environment: Its variables.
        stdin: What it reads; nothing if None. Its output goes nowhere.

    Raises:
        OSError: There are not enough processes, or it cannot be run.
    """
    if stdin is None:
        reads: tuple[object, ...] = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    else:
        reads = (os.POSIX_SPAWN_DUP2, stdin, 0)
    return os.posix_spawn(
        words[0],
        tuple(words),
        environment,
        file_actions=(
            reads,
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ),
        setsid=True,
        setsigdef=_DEFAULT_SIGNALS,
        setsigmask=(),
    )
