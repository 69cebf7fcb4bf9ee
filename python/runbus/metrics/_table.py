"""Several metrics as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runbus.metrics._series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from runbus._core import SeriesData

__all__ = ["MetricTable"]


class MetricTable(Mapping[str, Series]):
    """Metrics by name, in the order of their first points; read when it is first looked at.

    What it holds does not change after that.
    """

    def __init__(self, read: Callable[[], list[tuple[str, SeriesData]]]) -> None:
        self._read = read
        self._series: dict[str, Series] | None = None

    def _all(self) -> dict[str, Series]:
        if self._series is None:
            self._series = {name: Series(name, data) for name, data in self._read()}
        return self._series

    def __getitem__(self, name: str) -> Series:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        points = sum(map(len, self.values()))
        return f"<MetricTable of {len(self)} metrics, {points} points>"

    def to_numpy(
        self,
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]]:
        """Return for each name what `Series.to_numpy` returns: steps, values, times in ns.

        Raises:
            ModuleNotFoundError: numpy is not installed.
        """
        return {name: series.to_numpy() for name, series in self.items()}
