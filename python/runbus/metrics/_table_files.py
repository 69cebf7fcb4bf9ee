"""Tables as files that other tools read as they lie."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from runbus.errors import ExtraMissing
from runbus.metrics._values import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["table_file"]


def table_file(data: Any, columns: Sequence[str] | None) -> tuple[bytes, str]:
    """Return a table as a file's bytes, and the extension: Parquet or JSON lines.

    Args:
        data: What speaks Arrow's PyCapsule interface, such as a data frame: it becomes Parquet, and
            keeps its types. Or rows, as mappings, or as sequences under `columns`; or a mapping of
            names to columns: these become lines of JSON.
        columns: The names of the columns, where rows are sequences.

    Raises:
        ExtraMissing: pyarrow is needed and not installed.
        TypeError: It is something else, a cell holds no data, or a column of a data frame values of
            several types.
        ValueError: Rows and columns do not fit.
    """
    if hasattr(data, "__arrow_c_stream__"):
        return _parquet(data), ".parquet"
    lines = []
    for number, row in enumerate(_rows(data, columns)):
        try:
            lines.append(json.dumps(row, default=plain, ensure_ascii=False) + "\n")
        except TypeError as error:
            raise TypeError(f"row {number} of the table: {error}") from None
    # No other tool reads a lone surrogate, as in a file name that is not UTF-8.
    return "".join(lines).encode("utf-8", "replace"), ".jsonl"


def _parquet(data: Any) -> bytes:
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ExtraMissing("log_table", "pyarrow", "arrow") from error
    _check_columns(data)
    buffer = io.BytesIO()
    try:
        parquet.write_table(arrow.table(data), buffer)
    except arrow.ArrowException as error:
        raise TypeError(f"the table cannot become Parquet: {error}") from error
    return buffer.getvalue()


def _check_columns(data: Any) -> None:
    """Refuse columns of Python's objects, of which polars hands out the addresses."""
    if not type(data).__module__.startswith("polars"):
        return
    schema = getattr(data, "schema", None) or {"": getattr(data, "dtype", None)}
    for name, dtype in schema.items():
        if "Object" in str(dtype):
            raise TypeError(
                f"the column {name!r} holds objects of Python: cast it to a text or number"
            )


def _rows(data: Any, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    if isinstance(data, Mapping):
        listed = {_name(name): _listed(column, f"column {name!r}") for name, column in data.items()}
        lengths = {name: len(column) for name, column in listed.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of the table differ in length: {lengths}")
        names = list(listed)
        yield from (
            dict(zip(names, row, strict=True)) for row in zip(*listed.values(), strict=True)
        )
        return
    columns = None if columns is None else _listed(columns, "the columns")
    for number, given in enumerate(_listed(data, "the table")):
        if isinstance(given, Mapping):
            yield {_name(name): cell for name, cell in given.items()}
            continue
        if columns is None:
            raise TypeError(f"row {number} of the table is not a mapping: name the columns")
        cells = _listed(given, f"row {number}")
        if len(cells) != len(columns):
            raise ValueError(
                f"row {number} of the table has {len(cells)} cells for {len(columns)} columns"
            )
        yield dict(zip(map(_name, columns), cells, strict=True))


def _listed(values: Any, what: str) -> list[Any]:
    if hasattr(values, "tolist"):  # numpy's numbers become Python's
        values = values.tolist()
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{what} must be a list, not {values!r}")
    return list(values)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a column must be a str, not {name!r}")
    return name
