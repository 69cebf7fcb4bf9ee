"""The points of one metric."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Literal, NamedTuple

from runbus.errors import ExtraMissing
from runbus.metrics._data_frames import Frame

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from runbus._core import SeriesData

__all__ = ["DownsampleMethod", "Series", "SeriesSummary", "Steps", "range_of", "width_of"]

_SHOWN = 5
"""So many points at either end are shown in a notebook."""

DownsampleMethod = Literal["m4", "minmax", "lttb"]
Steps = slice | range

_FEWEST = {"m4": 4, "minmax": 2, "lttb": 3}


class SeriesSummary(NamedTuple):
    """What the points of one series add up to.

    NaN counts as a point, and may be the first or last one, but has no part in the rest. The
    infinities take part in the extremes and quantiles, not in mean and standard deviation. What has
    no number to be made of is NaN, and its step 0. Integers that no double represents are ints as
    first, last, smallest and largest value; mean, deviation and quantiles are of the nearest
    doubles.

    Attributes:
        points: How many there are.
        last_step: The step of the last one.
        last: The value of the last one.
        min: The smallest value.
        max: The largest value.
        first: The value of the first point.
        mean: The mean.
        std: The standard deviation, as of a whole population.
        p50: The median. Exact up to 128 points, then off by at most 0.4 % of itself; so are the
            other quantiles.
        p95: The value that 95 % of all do not exceed.
        p99: The value that 99 % of all do not exceed.
        min_step: The step at which the smallest value was first logged.
        max_step: The step at which the largest value was first logged.
    """

    points: int
    last_step: int
    last: float
    min: float
    max: float
    first: float
    mean: float
    std: float
    p50: float
    p95: float
    p99: float
    min_step: int
    max_step: int


class Series(Frame):
    """All points of one metric, in the order in which they were logged.

    The columns are read-only arrays of numpy, or memoryviews where it is not installed. They are
    shared: slices, arrays and data frames made of them copy nothing. `numpy.asarray(series)` is
    that of the values. Smoothing, windows and axes are of doubles.

    Attributes:
        name: The metric's name.
    """

    __slots__ = ("_data", "name")

    def __init__(self, name: str, data: SeriesData) -> None:
        self.name = name
        self._data = data

    @property
    def steps(self) -> NDArray[np.int64]:
        """The steps: `int64 (n,)`."""
        return _column(self._data.steps)

    @property
    def values(self) -> NDArray[np.float64] | NDArray[np.int64]:
        """The values: `float64 (n,)`, bit for bit as logged.

        Where all are integers and no double represents some of them: `int64 (n,)`. Beside values
        that are not integers, such an integer is the nearest double here; `integers` has it.
        """
        whole = self._data.whole_values
        return _column(self._data.values if whole is None else whole)

    @property
    def integers(self) -> dict[int, int]:
        """The integers that no double represents, each by the place of its point."""
        return self._data.integers

    @property
    def times(self) -> NDArray[np.int64]:
        """The times, Unix time in nanoseconds: `int64 (n,)`."""
        return _column(self._data.times)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        import numpy as np

        values: NDArray[Any] = np.asarray(self.values, dtype)
        return values.copy() if copy else values

    def _parts(self) -> list[tuple[str, SeriesData]]:
        return [(self.name, self._data)]

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"<Series {self.name!r} of {len(self)} points>"

    def _repr_html_(self) -> str:
        """Return the first and the last points as a table, as a notebook shows them."""
        import html

        shown = [*range(len(self))]
        if len(shown) > 2 * _SHOWN:
            shown = shown[:_SHOWN] + shown[-_SHOWN:]
        rows = [f"<tr><td>{self.steps[at]}</td><td>{self.values[at]}</td></tr>" for at in shown]
        if len(shown) < len(self):
            rows.insert(_SHOWN, "<tr><td>…</td><td>…</td></tr>")
        head = f"<tr><th>step</th><th>{html.escape(self.name)}</th></tr>"
        return f"<table>{head}{''.join(rows)}</table><p>{len(self):,} points</p>"

    def to_numpy(self) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
        """Return steps `(n,) int64`, values `(n,) float64`, Unix times in ns `(n,) int64`.

        The values are int64 where `values` is. The arrays are read-only views of the series;
        `.copy()` makes one that can be changed.

        Raises:
            ExtraMissing: numpy is not installed.
        """
        try:
            import numpy as np
        except ModuleNotFoundError as error:
            raise ExtraMissing("an array", "numpy", "numpy") from error
        return (
            np.asarray(self._data.steps, np.int64),
            np.asarray(self.values),
            np.asarray(self._data.times, np.int64),
        )

    def downsample(self, n: int, method: DownsampleMethod = "m4") -> Series:
        """Return at most `n` of the points, which draw nearly the same picture.

        The series is cut into buckets of equally many points, in the order of logging. NaN is
        neither smallest nor largest, infinities are.

        Args:
            n: How many points, at least 4 for m4, 2 for minmax, 3 for lttb.
            method: "m4" keeps the first, last, smallest and largest value of each bucket: a line
                drawn `n / 4` pixels wide looks as if all were there. "minmax" keeps the smallest
                and the largest. "lttb" looks smoothest, but is the one that may lose a spike.

        Raises:
            TypeError: `n` is no whole number.
            ValueError: `n` is too small, or there is no such method.
        """
        try:
            count = index(n)
        except TypeError:
            raise TypeError(f"n must be a whole number, not {n!r}") from None
        fewest = _FEWEST.get(method, 0)
        if count < fewest:
            raise ValueError(f"n must be at least {fewest} for {method}, not {n}")
        # More than there can be is no limit.
        return Series(self.name, self._data.downsample(min(max(count, 0), 2**63 - 1), method))

    def smooth(self, alpha: float) -> Series:
        """Return the series with its values averaged exponentially, as charts show them.

        The average is corrected for its start (as Adam does it): the first value is the first
        value, not a share of it. Points that are not finite stay, and do not touch the others.

        Args:
            alpha: The weight of the newest value: above 0, and 1 changes nothing. TensorBoard's
                slider of 0.9 is an alpha of 0.1.

        Raises:
            ValueError: `alpha` is not above 0 and at most 1.
        """
        return Series(self.name, self._data.smooth(alpha))

    def over(self, axis: Series) -> NDArray[np.float64]:
        """Return where the points lie on another axis than their steps: `float64 (n,)`.

        An axis is a metric like others, of the same run: the epoch, say, logged with each point or
        once when it begins.

        Args:
            axis: Its points.

        Returns:
            For each point the value of the axis at its step: the last one that was logged under
            that step, or else under the nearest one below it. NaN where there is none.
        """
        return _column(self._data.over(axis._data))

    def windows(self, seconds: float) -> list[tuple[int, SeriesSummary]]:
        """Return what the points of each span of time amount to, oldest first; no empty ones.

        Args:
            seconds: The length of a span.

        Returns:
            For each span its start, Unix time in nanoseconds, a multiple of its length; and its
            summary.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is less than a nanosecond, or more than 292 years.
        """
        spans = self._data.windows(width_of("seconds", seconds))
        return [(start, SeriesSummary(*fields)) for start, fields in spans]


def _column(view: memoryview[Any]) -> NDArray[Any]:
    column: Any = view
    try:
        import numpy as np
    except ModuleNotFoundError:
        pass
    else:
        column = np.asarray(view)
    array: NDArray[Any] = column
    return array


def width_of(name: str, seconds: float) -> int:
    """Return how many nanoseconds a window is long; `name` is that of the argument.

    Raises:
        TypeError: It is not a number.
        ValueError: It is less than a nanosecond, or more than a time has room for.
    """
    try:
        fits = 0.5 < seconds * 1e9 < 2**63  # NaN does not
    except OverflowError:
        fits = False
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds, not {seconds!r}") from None
    if not fits:
        raise ValueError(f"{name} is {seconds!r}; a window is a nanosecond to 292 years long")
    return round(seconds * 1e9)


def range_of(steps: Steps | None) -> tuple[int, int | None, int] | None:
    """Return the first step, the one behind the last and their distance; None for all steps.

    Raises:
        TypeError: `steps` is neither a slice nor a range.
        ValueError: `steps` does not ascend.
    """
    if steps is None:
        return None
    if not isinstance(steps, Steps):
        raise TypeError(f"steps must be a slice or a range, not {steps!r}")
    first, end, stride = steps.start, steps.stop, steps.step
    stride = 1 if stride is None else stride
    if stride < 1:
        raise ValueError(f"steps must ascend: {steps!r}")
    if first is None:
        if stride != 1:
            raise ValueError(f"steps that are not next to each other need a first one: {steps!r}")
        first = -(2**63)
    # What lies beyond every step is no limit, or leaves none.
    if first >= 2**63 or (end is not None and end < -(2**63)):
        first, end = 0, 0
    end = None if end is None or end >= 2**63 else end
    return max(first, -(2**63)), end, min(stride, 2**63 - 1)
