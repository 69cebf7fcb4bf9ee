"""Points as the data frames of other libraries, each imported on use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from runbus._core import arrow_stream
from runbus.errors import ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from runbus._core import SeriesData

__all__ = ["Frame"]


class Frame:
    """Points that turn into data frames of four columns, a row for each point.

    `name`, a text (as a dictionary or category); `step`, int64; `time`, a timestamp in nanoseconds,
    UTC; `value`, float64, or int64 where the values of each metric are. The points of each metric
    stand together. Libraries that speak Arrow's
    PyCapsule interface take the object itself, without pyarrow and without a copy:
    `polars.DataFrame(points)`, `pyarrow.table(points)`.
    """

    __slots__ = ()

    def _parts(self) -> list[tuple[str, SeriesData]]:
        raise NotImplementedError

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return arrow_stream(self._parts())

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` that shares the points.

        Raises:
            ExtraMissing: pyarrow is not installed.
        """
        return _library("pyarrow", "arrow").table(self)

    def to_polars(self) -> Any:
        """Return a `polars.DataFrame`.

        Raises:
            ExtraMissing: polars is not installed.
        """
        return _library("polars", "polars").DataFrame(self)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`.

        Raises:
            ExtraMissing: pandas is not installed.
        """
        pandas = _library("pandas", "pandas")
        import numpy as np

        parts = self._parts()
        codes = np.repeat(np.arange(len(parts)), [len(data) for _, data in parts])
        values: list[Any] = [data.whole_values for _, data in parts]
        if None in values:
            values = [data.values for _, data in parts]
        columns = {
            "step": _joined([data.steps for _, data in parts]),
            "time": _joined([data.times for _, data in parts]),
            "value": _joined(values),
        }
        return pandas.DataFrame(
            {
                "name": pandas.Categorical.from_codes(codes, [name for name, _ in parts]),
                "step": columns["step"].astype(np.int64),
                "time": pandas.to_datetime(columns["time"].astype(np.int64), unit="ns", utc=True),
                "value": columns["value"],
            }
        )

    def to_duckdb(self, connection: Any = None) -> Any:
        """Return a relation of DuckDB, to continue with in SQL.

        Args:
            connection: The connection to make it in; DuckDB's default one if not given.

        Raises:
            ExtraMissing: duckdb, or pyarrow which it reads Arrow with, is not installed.
        """
        duckdb = _library("duckdb", "duckdb")
        return duckdb.from_arrow(self.to_arrow(), connection=connection)


def _joined(columns: Sequence[memoryview[Any]]) -> NDArray[Any]:
    import numpy as np

    return np.concatenate([np.asarray(column) for column in columns] or [np.empty(0)])


def _library(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"to_{extra}", package, extra) from error
