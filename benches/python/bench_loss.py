"""What is gone after SIGKILL, and what a small run costs: ours and the rivals'."""

from __future__ import annotations

import os
import tempfile

from benches.rivals.trackers import RIVALS, Trainer, installed, measured
from benches.row import Row

FLOOD, HERTZ, SECONDS = 20_000, 100, 2


def main() -> list[Row]:
    names = ("runbus", *(name for name in RIVALS if installed(name)))
    with tempfile.TemporaryDirectory() as folder:
        flood = {name: lost(name, FLOOD, 0, folder) for name in names}
        trainers = [
            Trainer(name, HERTZ * SECONDS, HERTZ, os.path.join(folder, f"{name} paced"))
            for name in names
        ]
        paced = {trainer.name: trainer.lost_when_killed() for trainer in trainers}
        feet = {
            name: measured(name, "footprint", os.path.join(folder, f"{name} foot"))
            for name in names
        }

    def foot(figure: str) -> dict[str, float]:
        return {name: figures[figure] for name, figures in feet.items()}

    return [
        row(f"points lost on SIGKILL, of {FLOOD:,} at full speed", flood, "points", 0),
        row(f"points lost on SIGKILL, of {HERTZ * SECONDS} at {HERTZ} Hz", paced, "points", 0),
        row("import and init", foot("init_ms"), "ms", 40),
        row("memory above the start", foot("rss_mb"), "MB", 50),
        row("extra processes", foot("processes"), "", 0),
        row("disk of a run of ten points, while it runs", foot("disk_kib"), "KiB", 1024),
    ]


def lost(name: str, points: int, hertz: int, folder: str) -> int:
    return Trainer(name, points, hertz, os.path.join(folder, f"{name} flood")).lost_when_killed()


def row(name: str, figures: dict[str, float] | dict[str, int], unit: str, limit: float) -> Row:
    beside = {rival: float(figure) for rival, figure in figures.items() if rival != "runbus"}
    return Row(name, figures["runbus"], unit, limit, beside)
