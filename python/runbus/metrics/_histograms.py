"""How many values fell where."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.errors import ExtraMissing

if TYPE_CHECKING:
    from runbus.metrics._records import Record

__all__ = ["Histogram", "counted", "to_array"]

_MAX_BINS = 4096
_TINY, _MANY, _FAR, _GREATEST = 1e-290, 1e6, 1e300, sys.float_info.max


class Histogram(NamedTuple):
    """Values of one step, counted.

    Attributes:
        name: What they are.
        step: The step; None if none was given.
        time_ns: When it was logged, Unix time in nanoseconds.
        counts: How many values, or how much weight, each bin has.
        edges: Where the bins begin, and where the last one ends: one more than there are counts.
        not_finite: How many values were NaN or infinite, and are in no bin.
    """

    name: str
    step: int | None
    time_ns: int
    counts: list[float]
    edges: list[float]
    not_finite: int

    @classmethod
    def of(cls, record: Record) -> Histogram:
        """Return the histogram of a record."""
        return cls._make(record.get(field) for field in cls._fields)


def counted(values: Any, bins: int) -> dict[str, Any]:
    """Return counts, edges and how many values are not finite.

    Args:
        values: Numbers in any shape; or a tuple of counts and edges.
        bins: Into how many bins of equal width values are to be counted.

    Raises:
        ExtraMissing: Values are to be counted, and numpy is not installed.
        TypeError: They are not numbers.
        ValueError: There are none, or counts and edges do not fit.
    """
    if isinstance(values, tuple) and len(values) == 2 and not _is_number(values[0]):
        return _checked(*(_floats(part, what) for part, what in zip(values, _PARTS, strict=True)))
    if not 1 <= bins <= _MAX_BINS:
        raise ValueError(f"bins must be an int from 1 to {_MAX_BINS}, not {bins!r}")
    array = to_array(values, "log_histogram")
    import numpy as np

    if array.dtype.kind not in "fiub":
        raise TypeError(f"values of a histogram must be real numbers, not {array.dtype}")
    finite = array[np.isfinite(array)].astype(np.float64)
    if array.size == 0:
        raise ValueError("a histogram needs at least one value")
    counts, edges = np.histogram(finite, bins=_edges(finite, bins))
    return {
        "counts": counts.tolist(),
        "edges": edges.tolist(),
        "not_finite": int(array.size - finite.size),
    }


def _edges(finite: Any, bins: int) -> Any:
    """Return how many bins, or their edges where numpy finds none that differ or are finite."""
    if finite.size == 0:
        return bins
    import numpy as np

    least, greatest = float(finite.min()), float(finite.max())
    # Halved, so that the widest range is a number, too.
    half, middle = greatest / 2 - least / 2, greatest / 2 + least / 2
    size = max(abs(least), abs(greatest))
    if 1e-9 * size < half < _FAR or (least == greatest and size < _MANY):
        return bins
    if half >= _FAR:
        return np.linspace(least / 2, greatest / 2, bins + 1) * 2
    # Values that nearly are one: it is in the middle.
    half = max(size, _TINY) * 1e-9
    return np.linspace(max(middle - half, -_GREATEST), min(middle + half, _GREATEST), bins + 1)


_PARTS = ("counts", "edges")


def to_array(values: Any, what: str) -> Any:
    """Return numbers as a numpy array; a tensor is fetched from its device first.

    Raises:
        ExtraMissing: numpy is not installed.
    """
    try:
        import numpy as np
    except ModuleNotFoundError as error:
        raise ExtraMissing(what, "numpy", "numpy") from error
    if callable(detach := getattr(values, "detach", None)):
        values = detach().cpu()
        if "bfloat16" in str(values.dtype):
            values = values.float()  # numpy has no such type
    array = np.asarray(values)
    # The narrow types of JAX, such as bfloat16, are not numbers to numpy itself.
    return array.astype(np.float64) if array.dtype.type.__module__ == "ml_dtypes" else array


def _checked(counts: list[float], edges: list[float]) -> dict[str, Any]:
    if not 1 <= len(counts) <= _MAX_BINS or len(edges) != len(counts) + 1:
        raise ValueError(
            f"{len(counts)} counts and {len(edges)} edges do not fit: "
            f"there must be 1 to {_MAX_BINS} counts and one edge more"
        )
    if not all(0 <= count < float("inf") for count in counts):
        raise ValueError("the counts of a histogram must be finite and not negative")
    ascending = all(a < b for a, b in pairwise(edges))
    if not ascending or abs(edges[0]) == float("inf") or abs(edges[-1]) == float("inf"):
        raise ValueError("the edges of a histogram must be finite and ascend")
    return {"counts": counts, "edges": edges, "not_finite": 0}


def _floats(values: Any, what: str) -> list[float]:
    listed = values.tolist() if hasattr(values, "tolist") else values
    try:
        numbers = list(listed)
    except TypeError:
        raise TypeError(f"the {what} of a histogram must be a list, not {values!r}") from None
    for number in numbers:
        if not _is_number(number):
            raise TypeError(f"the {what} of a histogram must be numbers, not {number!r}")
    return [number if isinstance(number, int) else float(number) for number in numbers]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (
        hasattr(value, "__float__") and getattr(value, "ndim", None) == 0
    )
