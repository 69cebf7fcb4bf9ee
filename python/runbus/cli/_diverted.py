"""Standard output for us alone, while code of others runs that may print."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

__all__ = ["OwnProcess", "divert_stdout", "diverted_stdout"]


class OwnProcess:
    """The object of the contexts of a command whose process ends with it."""


@contextmanager
def diverted_stdout() -> Iterator[TextIO]:
    """Have what is printed to standard output in the block go to standard error.

    That holds for what other programs, libraries and threads write, too: for the descriptor itself.

    Yields:
        The real standard output.
    """
    ours = divert_stdout()
    try:
        yield ours
    finally:
        sys.stdout.flush()
        os.dup2(ours.fileno(), 1)
        ours.close()


def divert_stdout() -> TextIO:
    """Do so for good, and return the real standard output."""
    sys.stdout.flush()
    ours = open(os.dup(1), "w", encoding="utf-8", errors="replace")  # noqa: SIM115
    try:
        os.dup2(2, 1)
    except OSError:  # standard error is closed: so nobody reads it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    return ours
