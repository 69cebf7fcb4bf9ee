"""Errors inside groups."""

from __future__ import annotations


def innermost(error: BaseException) -> BaseException:
    """Return the one error inside groups of one, as task groups make them; else `error` itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
