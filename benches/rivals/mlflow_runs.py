"""MLflow's runs in its default store, SQLite: made, and listed as `runbus ls` lists ours.

`python -m benches.rivals.mlflow_runs make|search FOLDER COUNT`; `search` prints a row of each run.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing

PROJECTS = 10


def uri(folder: str) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def make(folder: str, count: int) -> None:
    """Make a run of each project by MLflow itself, and the others as copies of its rows.

    Made by the API, ten thousand take many minutes.
    """
    import mlflow

    mlflow.set_tracking_uri(uri(folder))
    for project in range(PROJECTS):
        mlflow.set_experiment(f"p{project}")
        with mlflow.start_run(run_name=f"run-{project}"):
            mlflow.log_params({"lr": project / 1000, "batch": 32})
            for step in range(3):
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
    with closing(sqlite3.connect(f"{folder}/mlflow.db")) as database, database:
        tables = [
            table
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if "run_uuid" in columns(database, table)
        ]
        for table in tables:
            names = columns(database, table)
            rows = database.execute(f'SELECT * FROM "{table}"').fetchall()
            uuids = sorted({row[names.index("run_uuid")] for row in rows})
            marks = ", ".join("?" * len(names))
            database.executemany(
                f'INSERT INTO "{table}" VALUES ({marks})',
                (
                    [
                        f"{number:08x}{row[at][8:]}" if name == "run_uuid" else row[at]
                        for at, name in enumerate(names)
                    ]
                    for number in range(PROJECTS, count)
                    for row in rows
                    if row[names.index("run_uuid")] == uuids[number % len(uuids)]
                ),
            )


def columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]


def search(folder: str, count: int) -> None:
    """Print every run: its id, name, project, state and start."""
    import mlflow

    mlflow.set_tracking_uri(uri(folder))
    projects = {one.experiment_id: one.name for one in mlflow.search_experiments()}
    runs = mlflow.search_runs(list(projects), output_format="list", max_results=count + 1)
    for run in runs:
        info = run.info
        project = projects[info.experiment_id]
        print(info.run_id, info.run_name, project, info.status, info.start_time)


if __name__ == "__main__":
    what, where, how_many = sys.argv[1:]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    {"make": make, "search": search}[what](where, int(how_many))
