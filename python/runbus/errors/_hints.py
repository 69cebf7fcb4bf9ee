"""Names that may have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def near_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `known` that read almost like `name`, or begin with it, best first.

    The name itself is never one of them: it was not mistyped, whatever else is wrong.
    """
    import difflib  # a millisecond that only a mistake should cost

    names = dict.fromkeys(one for one in known if one != name)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    # Who remembers how a name begins has written only that.
    begun = [one for one in names if len(name) > 2 and one.startswith(name)]
    return tuple(dict.fromkeys([*sorted(begun, key=len), *near]))[:3]


def did_you_mean(names: Iterable[str]) -> str | None:
    """Return the hint that names what may have been meant; None if there is nothing to name."""
    shown = " or ".join(map(repr, names))
    return f"did you mean {shown}" if shown else None
