"""Names that may have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def near_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `known` that read almost like `name`, best first."""
    import difflib  # a millisecond that only a mistake should cost

    return tuple(difflib.get_close_matches(name, dict.fromkeys(known), n=3, cutoff=0.6))


def did_you_mean(names: Iterable[str]) -> str | None:
    """Return the hint that names what may have been meant; None if there is nothing to name."""
    shown = " or ".join(map(repr, names))
    return f"did you mean {shown}" if shown else None
