"""SQL over runs, by DuckDB."""

from __future__ import annotations

import importlib
import json
import re
from typing import TYPE_CHECKING

from runbus.errors import ExtraMissing, QueryInvalid
from runbus.experiment._catalog import runs

if TYPE_CHECKING:
    from typing import Any

    from runbus._home import Home

__all__ = ["query"]

_TABLES = """
CREATE TABLE runs (
    id TEXT, name TEXT, project TEXT, state TEXT, created TIMESTAMPTZ, config JSON, folder TEXT,
    params JSON, tags TEXT[]
);
CREATE TABLE metrics (run TEXT, name TEXT, step BIGINT, time TIMESTAMPTZ, value DOUBLE);
"""


def query(
    sql: str, *, project: str | None = None, home: Home | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Answer a question about runs: `SELECT run, min(value) FROM metrics GROUP BY run`.

    There are two tables. `runs` has id, name, project, state, created, config (JSON), folder,
    params (JSON: the config, flattened, and what was set since) and tags (a list). `metrics` has a
    row for each point: run (an id), name, step, time and value. They are read into memory for the
    question; the points only if it names them.

    Args:
        sql: One statement in DuckDB's SQL.
        project: Only the runs of this project.
        home: The home folder, instead of the usual one.

    Returns:
        The names of the columns, and the rows.

    Raises:
        ExtraMissing: duckdb, or what it reads Arrow with, is not installed.
        QueryInvalid: DuckDB cannot answer it.
        HomeUnusable: The home folder cannot be read.
    """
    duckdb = _duckdb()
    found = runs(project, home=home)
    with duckdb.connect() as connection:
        connection.execute(_TABLES)
        for run in found:
            connection.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, make_timestamp_ns(?)::TIMESTAMP, ?, ?, ?, ?)",
                [
                    run.id,
                    run.name,
                    run.project,
                    str(run.state),
                    run.info.created_ns,
                    json.dumps(run.config),
                    run.folder,
                    json.dumps(run.params),
                    run.tags,
                ],
            )
        if re.search(r"\bmetrics\b", sql, re.IGNORECASE):
            for run in found:
                connection.register("points", run.metrics().to_arrow())
                connection.execute(
                    "INSERT INTO metrics SELECT ?, name, step, time, value FROM points", [run.id]
                )
                connection.unregister("points")
        try:
            result = connection.execute(sql)
            return [column[0] for column in result.description or ()], result.fetchall()
        except duckdb.Error as error:
            raise QueryInvalid(str(error).splitlines()[0]) from error


def _duckdb() -> Any:
    for package in ("pyarrow", "duckdb"):
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise ExtraMissing("a query", package, "duckdb") from error
    return module
