"""SQL over runs, by DuckDB."""

from __future__ import annotations

import glob
import importlib
import json
import re
import shlex
from typing import TYPE_CHECKING

from runbus.catalog._runs import survey
from runbus.errors import ExtraMissing, QueryInvalid
from runbus.metrics import Origin, PointStream

if TYPE_CHECKING:
    import os
    from typing import Any

    from runbus.catalog._runs import RunRow

__all__ = ["query"]


# A segment has the nearest double and what is missing.
_EXACT = "CASE WHEN value_rest <> 0 THEN (value::HUGEINT + value_rest)::BIGINT END AS exact"
_RANK = "TRY_CAST(regexp_extract(writer, '-r(\\d+)(-h)?$', 1) AS INTEGER) AS rank"


def _writer(path: str) -> str:
    """Return the SQL for the writer whose segment a column names: `WRITER.0.parquet`."""
    return rf"regexp_replace(split_part({path}, '/', -1), '\.\d+\.parquet$', '')"


def query(
    sql: str, *, project: str | None = None, home: str | os.PathLike[str] | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Answer a question about runs: `SELECT run, min(value) FROM metrics GROUP BY run`.

    There are two tables. `runs` has id, name, project, state, created, config (JSON), folder,
    command (the command line), commit (of its code, in git), changed (whether the code differed
    from it), params (JSON: the config, flattened, and what was set since), tags (a list) and
    problem (what is wrong with a run that cannot be read, or NULL). `metrics` has a row for
    each point: run (an id), name, step, time, value (a double), exact (an integer where no double
    represents it, or
    NULL), writer (who logged it) and rank (the number that a launcher gave to the writer, or NULL),
    in no order. The points are read while the question is answered, and
    only if it names them: segments as they lie, journals in batches. A question about running runs
    that reads them twice may find more the second time.

    Args:
        sql: One statement in DuckDB's SQL.
        project: Only the runs of this project.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Returns:
        The names of the columns, and the rows.

    Raises:
        ExtraMissing: duckdb, or what it reads Arrow with, is not installed.
        QueryInvalid: DuckDB cannot answer it.
        HomeUnusable: The home folder cannot be read.
    """
    duckdb = _duckdb()
    rows = survey(project, home=home)
    found = [row.run for row in rows if row.run is not None]
    # A table that is not there must not be looked for among the variables of this function.
    with duckdb.connect(config={"python_enable_replacements": "false"}) as connection:
        _add_runs(connection, rows)
        if re.search(r"\bmetrics\b", sql, re.IGNORECASE):
            _add_metrics(connection, PointStream(found))
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                count = f"{len(statements)} statements" if statements else "no statement"
                raise QueryInvalid(f"there is {count} in it, and one is answered")
            result = connection.execute(sql)
            return [column[0] for column in result.description or ()], result.fetchall()
        except duckdb.Error as error:
            raise QueryInvalid(str(error)) from error


def _add_runs(connection: Any, rows: list[RunRow]) -> None:
    """All at once: rows that are inserted one by one take a millisecond each."""
    import pyarrow as pa

    origins = [row.run.origin if row.run else Origin() for row in rows]
    text, texts = pa.string(), pa.list_(pa.string())
    columns = {
        "id": ([_text(row.id) for row in rows], text),
        "name": ([_text(row.name) for row in rows], text),
        "project": ([_text(row.project) for row in rows], text),
        "state": ([row.state for row in rows], text),
        "created": ([row.created_ns or None for row in rows], pa.timestamp("ns", "UTC")),
        "config": ([_json(row.run.config if row.run else {}) for row in rows], text),
        "folder": ([_text(row.folder) for row in rows], text),
        "command": ([_text(shlex.join(origin.argv)) or None for origin in origins], text),
        "commit": ([origin.commit or None for origin in origins], text),
        "changed": ([origin.is_changed for origin in origins], pa.bool_()),
        "params": ([_json(row.run.params if row.run else {}) for row in rows], text),
        "tags": ([list(map(_text, row.tags)) for row in rows], texts),
        "problem": ([_text(row.problem) or None for row in rows], text),
    }
    table = pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()})
    connection.register("found", table)
    connection.execute(
        "CREATE TABLE runs AS "
        "SELECT * REPLACE (created::TIMESTAMPTZ AS created, config::JSON AS config, "
        "params::JSON AS params) FROM found"
    )
    connection.unregister("found")


def _json(values: dict[str, Any]) -> str:
    return _text(json.dumps(values, ensure_ascii=False))


def _text(text: str) -> str:
    """Return text that DuckDB takes: the names of files may be no Unicode."""
    return text.encode("utf-8", "replace").decode()


def _add_metrics(connection: Any, points: PointStream) -> None:
    connection.register("unsealed", points)
    columns = f"run, name, step, time::TIMESTAMPTZ AS time, value, exact, writer, {_RANK}"
    parts = [f"SELECT {columns} FROM unsealed"]
    if points.segments:
        files = ", ".join(_quoted(glob.escape(path), "'") for path in points.segments)
        parts.append(
            f"SELECT split_part(filename, '/', -3), name, step, time, value, {_EXACT}, "
            f"{_writer('filename')} AS writer, {_RANK} "
            f"FROM read_parquet([{files}], filename = true)"
        )
    connection.execute(f"CREATE VIEW metrics AS {' UNION ALL '.join(parts)}")


def _quoted(text: str, mark: str) -> str:
    return mark + text.replace(mark, mark * 2) + mark


def _duckdb() -> Any:
    for package in ("pyarrow", "duckdb"):
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise ExtraMissing("a query", package, "duckdb") from error
    return module
