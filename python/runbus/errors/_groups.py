"""Errors inside groups."""

from __future__ import annotations


def innermost(error: BaseException, cause: type[BaseException] | None = None) -> BaseException:
    """Return the one error inside groups of one, as task groups make them; else `error` itself.

    Args:
        error: An error, or a group.
        cause: Where a group holds several errors, the first of this kind is returned: the others
            follow from it, or say the same.
    """
    while isinstance(error, BaseExceptionGroup):
        if cause is not None and (same := error.subgroup(cause)) is not None:
            error = same.exceptions[0]
        elif len(error.exceptions) == 1:
            error = error.exceptions[0]
        else:
            break
    return error
