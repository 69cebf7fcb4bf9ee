"""SQL over runs, by DuckDB."""

from __future__ import annotations

import glob
import importlib
import json
import re
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runbus.catalog._survey import survey
from runbus.errors import ExtraMissing, QueryInvalid
from runbus.metrics import Origin, PointStream

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from runbus.catalog._rows import RunRow

__all__ = ["answering", "loaded_duckdb", "query"]


# A segment has the nearest double and what is missing.
_EXACT = "CASE WHEN value_rest <> 0 THEN (value::HUGEINT + value_rest)::BIGINT END AS exact"
_RUNS = {
    "id": "VARCHAR", "name": "VARCHAR", "project": "VARCHAR", "state": "VARCHAR",
    "created": "TIMESTAMPTZ", "config": "JSON", "folder": "VARCHAR", "command": "VARCHAR",
    "python": "VARCHAR", "commit": "VARCHAR", "changed": "BOOLEAN", "params": "JSON",
    "tags": "VARCHAR[]", "problem": "VARCHAR",
}  # fmt: skip
"""The columns of the table of runs, and their types."""

_GIVEN: dict[str, Any] = {"created": "BIGINT", "changed": "BOOLEAN", "tags": ["VARCHAR"]}
"""The types of those that are not given as texts."""

_SHOW_TABLES = re.compile(r"\s*SHOW\s+(ALL\s+)?TABLES\s*;?\s*", re.IGNORECASE)
_OUR_TABLES = "SELECT name FROM (VALUES ('metrics'), ('runs')) AS tables(name)"

_QUESTIONS = {"SELECT", "MULTI"}
"""DuckDB's kinds of statements that only ask; MULTI is what it makes of PIVOT."""

_ASK = "ask with SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
_EXPLAIN = re.compile(r"\s*EXPLAIN(\s+ANALYZE)?(\s*\([^)]*\))?\s", re.IGNORECASE)
_NO_TABLE = re.compile(r"Catalog Error: Table with name (\S+) does not exist!")

_RANK = "TRY_CAST(regexp_extract(writer, '-r(\\d+)(-h)?$', 1) AS INTEGER) AS rank"


def _writer(path: str) -> str:
    """Return the SQL for the writer whose segment a column names: `WRITER.0.parquet`."""
    return rf"regexp_replace(split_part({path}, '/', -1), '\.\d+\.parquet$', '')"


def query(
    sql: str, *, project: str | None = None, home: str | os.PathLike[str] | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Answer a question about runs: `SELECT run, min(value) FROM metrics GROUP BY run`.

    There are two tables. `runs` has id, name, project, state, created, config (JSON), folder,
    command (the command line), python (the interpreter), commit (of its code, in git), changed
    (whether the code differed from it), params (JSON: the config, flattened, and what was set
    since), tags (a list) and problem (what is wrong with a run that cannot be read, or NULL).
    `metrics` has a row for each point: run (an id), name, step, time, value (a double), exact (an
    integer where no double represents it, or NULL), writer (who logged it) and rank (the number
    that a launcher gave to the writer, or NULL), in no order. The points are read while
    the question is answered, and only if it names them: segments as they lie, journals in batches.
    A question about running runs that reads them twice may find more the second time.

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
    duckdb = loaded_duckdb()
    rows = survey(project, home=home)
    has_metrics = re.search(r"\bmetrics\b", sql, re.IGNORECASE) is not None
    with answering(rows, has_metrics=has_metrics) as connection:
        try:
            if _SHOW_TABLES.fullmatch(sql):  # DuckDB lists also what these are made from
                sql = _OUR_TABLES
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                told = f"are {len(statements)} statements" if statements else "is no statement"
                raise QueryInvalid(f"there {told} in it, and one is answered")
            _check_asks(connection, sql)
            result = connection.execute(sql)
            return [column[0] for column in result.description or ()], result.fetchall()
        except duckdb.Error as error:
            raise QueryInvalid(_with_our_tables(str(error))) from error


@contextmanager
def answering(rows: list[RunRow], *, has_metrics: bool) -> Iterator[Any]:
    """Open a connection of DuckDB that has the tables of `query`.

    Args:
        rows: The runs.
        has_metrics: Whether the table of points is there, too; its points are read when it is.

    Raises:
        ExtraMissing: duckdb, or what it reads Arrow with, is not installed.
    """
    # A table that is not there must not be looked for among the variables of a function.
    with loaded_duckdb().connect(config={"python_enable_replacements": "false"}) as connection:
        _add_runs(connection, rows)
        if has_metrics:
            _loaded("pyarrow")  # which takes as long to load as all else: only where it is needed
            _add_metrics(connection, PointStream([row.run for row in rows if row.run is not None]))
        yield connection


def _check_asks(connection: Any, sql: str) -> None:
    """Make sure that a statement only asks: others would change a copy, or write files.

    Raises:
        QueryInvalid: It does not.
    """
    kind = connection.extract_statements(sql)[0].type.name
    # One that is explained with ANALYZE is executed.
    while kind == "EXPLAIN" and (explained := _EXPLAIN.match(sql)):
        sql = sql[explained.end() :]
        kind = connection.extract_statements(sql)[0].type.name
    if kind not in _QUESTIONS:
        raise QueryInvalid(f"this is no question, but {kind}: runs are only read here; {_ASK}")


def _with_our_tables(text: str) -> str:
    """Return DuckDB's message; instead of its guess at a table's name, which tables there are."""
    if found := _NO_TABLE.match(text):
        return f"there is no table {found[1]!r}; there are runs and metrics"
    return text


def _add_runs(connection: Any, rows: list[RunRow]) -> None:
    """Fill the table of runs: all at once, as JSON.

    Rows that are inserted one by one take a millisecond each, and a table that is registered makes
    DuckDB load pandas and pyarrow, for longer than all else of a small question takes.
    """
    runs = _text(json.dumps([_described(row) for row in rows], ensure_ascii=False))
    columns = ", ".join(f"{name} {kind}" for name, kind in _RUNS.items())
    connection.execute(f"CREATE TABLE runs ({columns})")
    connection.execute(
        "INSERT INTO runs SELECT one.* REPLACE (make_timestamp_ns(one.created) AS created) "
        "FROM (SELECT unnest(from_json(?, ?)) AS one)",
        [runs, json.dumps([{**dict.fromkeys(_RUNS, "VARCHAR"), **_GIVEN}])],
    )


def _described(row: RunRow) -> dict[str, Any]:
    origin = row.run.origin if row.run else Origin()
    return {
        "id": row.id,
        "name": row.name,
        "project": row.project,
        "state": row.state,
        "created": row.created_ns or None,
        # As texts: they may hold what only Python's JSON has, NaN and numbers of any length.
        "config": json.dumps(row.run.config if row.run else {}, ensure_ascii=False),
        "folder": row.folder,
        "command": shlex.join(origin.argv) or None,
        "python": origin.python or None,
        "commit": origin.commit or None,
        "changed": origin.is_changed,
        "params": json.dumps(row.run.params if row.run else {}, ensure_ascii=False),
        "tags": row.tags,
        "problem": row.problem or None,
    }


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


def loaded_duckdb() -> Any:
    """Return the module duckdb.

    Raises:
        ExtraMissing: It is not installed.
    """
    return _loaded("duckdb")


def _loaded(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ExtraMissing("a query", package, "duckdb") from error
