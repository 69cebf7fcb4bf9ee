"""What it takes to list 10,000 experiments: from the index, and from their folders alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from subprocess import DEVNULL
from typing import TYPE_CHECKING

import runbus
from benches.rivals.environments import environment
from benches.row import Row
from benches.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT, ROUNDS = 10_000, 7
RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def main() -> list[Row]:
    with scratch() as folder:
        os.environ["RUNBUS_HOME"] = folder
        make_runs()
        index = os.path.join(folder, "index.db")
        list_runs()

        def without_index() -> None:
            with suppress(FileNotFoundError):  # few runs are not worth one
                os.unlink(index)
            list_runs()

        cold = seconds(without_index)
        warm = seconds(list_runs)
        chosen = seconds(lambda: list_runs("--where", "loss<0.1 and lr<5", "--sort", "loss:min"))
        bare = seconds(lambda: subprocess.run([RUNBUS, "version"], check=True, stdout=DEVNULL))
    with scratch() as folder:
        mlflow("make", folder)
        rival = seconds(lambda: mlflow("search", folder), rounds=3)
    note = "processes from their start, all rows printed"
    of = f"runbus ls over {COUNT:,} experiments"
    return [
        Row(
            of,
            warm * 1e3,
            "ms",
            300,
            {"mlflow.search_runs, SQLite": rival * 1e3, "runbus version": bare * 1e3},
            note,
        ),
        Row(f"{of}, from their folders alone", cold * 1e3, "ms", 5_000),
        Row(f"{of}, chosen and ordered by what they measured", chosen * 1e3, "ms", 1_500),
    ]


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    spans = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        spans.append(time.perf_counter() - start)
    return statistics.median(spans)


def list_runs(*words: str) -> None:
    subprocess.run([RUNBUS, "ls", *words], check=True, stdout=DEVNULL, stderr=DEVNULL)


def mlflow(what: str, folder: str) -> None:
    command = [environment("mlflow"), "-m", "benches.rivals.mlflow_runs", what, folder, str(COUNT)]
    subprocess.run(command, check=True, stdout=DEVNULL, stderr=DEVNULL)


def make_runs() -> None:
    for number in range(COUNT):
        config = {"lr": number / 1000, "batch": 32}
        with runbus.init(f"p{number % 10}", f"run-{number}", config, sync_ms=None) as run:
            for step in range(3):
                run.log({"loss": 1 / (step + 1)}, step=step)
