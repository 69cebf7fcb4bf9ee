"""Starting the wrapper program or its script, away from what this process is part of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._core import Starting as Starting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Starting", "spawn"]


def spawn(
    words: Sequence[str], environment: Mapping[bytes, bytes], *, stdin: int | None = None
) -> Starting:
    """Start a program in a session of its own; its output goes nowhere.

    Args:
        words: The program's path and its arguments.
        environment: Its variables.
        stdin: What it reads; nothing if None. The caller may close its own at once.

    Raises:
        OSError: There are not enough files.
    """
    variables = [name + b"=" + value for name, value in environment.items()]
    return Starting([os.fsencode(word) for word in words], variables, stdin=stdin)
