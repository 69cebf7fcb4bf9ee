"""What damage costs those who list a home: 1,000 experiments, then 100 of them harmed."""

from __future__ import annotations

import os
import random
import statistics
import time

from benches.row import Row
from benches.scratch import scratch
from runbus._home import Home
from runbus._ids import run_id_of
from runbus.catalog import UNREADABLE, survey
from runbus.metrics import RunInfo, make_run_folder

EXPERIMENTS, HARMED, ROUNDS = 1_000, 100, 9


def main() -> list[Row]:
    with scratch() as folder:
        homes = [os.path.join(folder, name) for name in ("whole", "damaged")]
        for path in homes:
            fill(Home(path))
        harm(homes[1])
        times: dict[str, list[float]] = {path: [] for path in homes}
        for _ in range(ROUNDS):
            # In turn, so that a noisy moment falls on both.
            for path in homes:
                began = time.perf_counter()
                rows = survey(home=path)
                times[path].append((time.perf_counter() - began) * 1e3)
                unreadable = sum(row.state == UNREADABLE for row in rows)
                assert (len(rows), unreadable) == (EXPERIMENTS, HARMED * (path == homes[1]))
    whole, damaged = (statistics.median(times[path]) for path in homes)
    name = f"ls of {EXPERIMENTS:,} experiments, {HARMED} of them damaged"
    return [Row(name, damaged, "ms", None, {"none damaged": whole}, ratios={"none damaged": 1.2})]


def fill(home: Home) -> None:
    for number in range(EXPERIMENTS):
        experiment_id, folder = home.new_experiment("p")
        info = RunInfo.new(run_id_of(experiment_id, 1), f"n{number}", "p", {"lr": 0.1})
        make_run_folder(folder, info)


def harm(path: str) -> None:
    """Harm a tenth of the records, in each of some ways."""
    folders = sorted(Home(path).run_folders())
    for number, folder in enumerate(random.Random(1).sample(folders, HARMED)):
        record = os.path.join(folder, "run.json")
        os.unlink(record)
        match number % 4:
            case 0:
                write(record, b"")
            case 1:
                write(record, b"[" * 200_000)
            case 2:
                os.mkfifo(record)
            case 3:
                os.symlink("elsewhere", record)


def write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
