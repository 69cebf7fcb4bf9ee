"""Several metrics as one table."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from runbus.metrics._data_frames import Frame
from runbus.metrics._series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from runbus._core import SeriesData

__all__ = ["MetricTable"]


class MetricTable(Frame):
    """Metrics by name, in the order of their first points; read when it is first looked at.

    What it holds does not change after that. It reads like a `dict` but is no `Mapping`: libraries
    would take it for a dict of columns.
    """

    def __init__(self, read: Callable[[], list[tuple[str, SeriesData]]]) -> None:
        self._read = read

    @cached_property
    def _found(self) -> dict[str, SeriesData]:
        return dict(self._read())

    def _parts(self) -> list[tuple[str, SeriesData]]:
        return list(self._found.items())

    def __getitem__(self, name: str) -> Series:
        return Series(name, self._found[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        points = sum(map(len, self._found.values()))
        return f"<MetricTable of {len(self)} metrics, {points} points>"

    def keys(self) -> list[str]:
        """Return the names."""
        return list(self._found)

    def values(self) -> list[Series]:
        """Return the series."""
        return [Series(name, data) for name, data in self._found.items()]

    def items(self) -> list[tuple[str, Series]]:
        """Return the names with their series."""
        return [(series.name, series) for series in self.values()]

    def to_numpy(
        self,
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]]:
        """Return for each name what `Series.to_numpy` returns: steps, values, times in ns.

        Raises:
            ExtraMissing: numpy is not installed.
        """
        return {name: series.to_numpy() for name, series in self.items()}
