"""Standard output for us alone, while code of others runs that may print."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

__all__ = ["divert_stdout", "diverted_stdout", "note_own_process"]

_is_own = False


def note_own_process() -> None:
    """Note that this process runs one command, and ends."""
    global _is_own
    _is_own = True


@contextmanager
def diverted_stdout(*, has_all: bool = False) -> Iterator[TextIO]:
    """Have what is printed to standard output in the block go to standard error.

    That holds for what other programs, libraries and threads write, too: for the descriptor itself.

    Args:
        has_all: Whether the command prints nothing to standard output after the block: then it
            holds until the process ends, so that no thread writes behind the result.

    Yields:
        The real standard output.
    """
    kept = os.dup(1)
    divert_stdout()
    try:
        with open(kept, "w", encoding="utf-8", errors="replace", closefd=False) as ours:
            yield ours
    finally:
        sys.stdout.flush()
        if not (has_all and _is_own):
            os.dup2(kept, 1)
        os.close(kept)


def divert_stdout() -> None:
    """Do so for good: what was to be printed to standard output is complete."""
    sys.stdout.flush()
    try:
        os.dup2(2, 1)
    except OSError:  # standard error is closed: so nobody reads it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
