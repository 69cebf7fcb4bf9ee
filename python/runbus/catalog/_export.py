"""Runs as files that other programs read: a table of the runs, and one of their points."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any, Literal

from runbus.catalog._query import answering, loaded_duckdb
from runbus.errors import HomeUnusable, UsageError, os_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.catalog._rows import RunRow

__all__ = ["FORMATS", "Format", "export"]

Format = Literal["parquet", "csv", "json"]

FORMATS: dict[Format, str] = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": "FORMAT csv, HEADER",
    "json": "FORMAT json, ARRAY true",
}
"""What DuckDB is told for each format."""

_CREATED = "epoch_ns(created) AS created_ns"
_RUNS = {
    "parquet": f"* EXCLUDE (created), {_CREATED}",
    # A cell is a text: a list is its JSON, as config and params are.
    "csv": f"* EXCLUDE (created) REPLACE (to_json(tags)::VARCHAR AS tags), {_CREATED}",
    "json": f"* EXCLUDE (created), {_CREATED}",
}

_ORDER = "run, name, step, time"
_VALUE = {
    "parquet": "value",
    "csv": "value",
    # JSON has no NaN and no infinities: they are texts, which float() of Python reads.
    "json": "CASE WHEN isfinite(value) THEN to_json(value) ELSE to_json(value::VARCHAR) END "
    "AS value",
}


def export(
    rows: Sequence[RunRow],
    kind: Format,
    folder: str | os.PathLike[str],
    metrics: Sequence[str] = ("*",),
) -> list[str]:
    """Write runs and their points as two files, `runs.<kind>` and `metrics.<kind>`.

    Their columns are those of the tables of `query`, but times are `created_ns` and `time_ns`:
    Unix times in nanoseconds, of whole microseconds. Points are in the order of runs, names, steps
    and times. The folder appears whole or not at all. Points are streamed: they need not fit into
    memory.

    Args:
        rows: The runs, as `survey` returns them.
        kind: The format.
        folder: The folder to make for them; it must not be there, but the one above must.
        metrics: Names of metrics, or patterns, in which `*` stands for any characters and `?` for
            any one.

    Returns:
        The paths of the files.

    Raises:
        UsageError: There is something in the place of the folder.
        ExtraMissing: duckdb, or what it reads Arrow with, is not installed.
        HomeUnusable: The disk is full or failing, or the folder cannot be made.
    """
    target = os.path.abspath(folder)
    if os.path.lexists(target):
        raise UsageError(f"there is something at {target}: name another folder")
    new = f"{os.path.dirname(target)}/.{os.path.basename(target)}.{os.urandom(6).hex()}.new"
    try:
        os.mkdir(new)
        try:
            _write(rows, kind, new, metrics)
            os.rename(new, target)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    except OSError as error:
        raise HomeUnusable(target, os_reason(error)) from None
    return [os.path.join(target, f"{table}.{kind}") for table in ("runs", "metrics")]


def _write(rows: Sequence[RunRow], kind: Format, folder: str, metrics: Sequence[str]) -> None:
    duckdb = loaded_duckdb()
    spill = f"{folder}/.spill"
    wanted = " OR ".join("regexp_full_match(name, ?, 's')" for _ in metrics) or "false"
    columns = f"run, name, step, epoch_ns(time) AS time_ns, {_VALUE[kind]}, exact, writer, rank"
    with answering(list(rows), has_metrics=True) as connection:
        try:
            # What memory has no room for is sorted where the files are to be.
            connection.execute(f"SET temp_directory = {_quoted(spill)}")
            _copy(connection, f"SELECT {_RUNS[kind]} FROM runs", [], f"{folder}/runs.{kind}", kind)
            question = (
                f"SELECT {columns} FROM metrics WHERE {wanted} ORDER BY run, name, step, time"
            )
            patterns = [_regexp(one) for one in metrics]
            _copy(connection, question, patterns, f"{folder}/metrics.{kind}", kind)
        except duckdb.Error as error:
            raise OSError(str(error).splitlines()[0]) from error
    shutil.rmtree(spill, ignore_errors=True)


def _copy(connection: Any, question: str, given: list[str], path: str, kind: Format) -> None:
    connection.execute(f"COPY ({question}) TO {_quoted(path)} ({FORMATS[kind]})", given)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _regexp(pattern: str) -> str:
    """Return a pattern of names as a regular expression."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in pattern)
    return "".join(parts)
