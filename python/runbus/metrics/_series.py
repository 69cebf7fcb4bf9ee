"""The points of one metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runbus._core import SeriesData

__all__ = ["DownsampleMethod", "Series", "Steps", "select"]

DownsampleMethod = Literal["m4", "minmax", "lttb"]
Steps = slice | range


class Series:
    """All points of one metric, in the order in which they were logged.

    The columns are read-only and shared: slices, arrays and data frames made of them copy nothing.

    Attributes:
        name: The metric's name.
        steps: `int64 (n,)`.
        values: `float64 (n,)`.
        times: `int64 (n,)`: Unix time in nanoseconds.
    """

    __slots__ = ("_data", "name", "steps", "times", "values")

    def __init__(self, name: str, data: SeriesData) -> None:
        self.name = name
        self._data = data
        self.steps: memoryview[int] = data.steps
        self.values: memoryview[float] = data.values
        self.times: memoryview[int] = data.times

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"<Series {self.name!r} of {len(self)} points>"

    def to_numpy(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return steps `(n,) int64`, values `(n,) float64`, Unix times in ns `(n,) int64`.

        The arrays are read-only views of the series; `.copy()` makes one that can be changed.

        Raises:
            ModuleNotFoundError: numpy is not installed.
        """
        import numpy as np

        return (
            np.asarray(self.steps, np.int64),
            np.asarray(self.values, np.float64),
            np.asarray(self.times, np.int64),
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
            ValueError: `n` is too small, or there is no such method.
        """
        return Series(self.name, self._data.downsample(n, method))

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


def select(data: SeriesData, steps: Steps | None) -> SeriesData:
    """Return the points whose steps lie in a slice or range of steps."""
    if steps is None:
        return data
    first, end, stride = steps.start, steps.stop, steps.step
    stride = 1 if stride is None else stride
    if stride < 1:
        raise ValueError(f"steps must ascend: {steps!r}")
    if first is None:
        if stride != 1:
            raise ValueError(f"steps that are not next to each other need a first one: {steps!r}")
        first = -(2**63)
    return data.select(max(first, -(2**63)), end, stride)
