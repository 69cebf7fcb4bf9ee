"""The trackers that stand beside ours, each in a process of its own.

`python -m benches.rivals.trackers NAME MODE FOLDER` is how `measured` and `Trainer` start one.
"""

from __future__ import annotations

import glob
import importlib.util
import json
import math
import os
import signal
import sqlite3
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benches.rivals.environments import PACKAGES, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RIVALS", "Trainer", "installed", "measured"]

KEYS = [f"layer{index}/grad_norm" for index in range(20)]
ROW = {key: float(index) for index, key in enumerate(KEYS)}
RIVALS = ("tensorboardX", "trackio", "wandb offline", "aim")
STORED = 20_000
"""How many points are stored and read again; some rivals would take minutes for more."""


class Tracker(Protocol):
    """What a bench does with a tracker."""

    def open(self, folder: str) -> None: ...
    def log(self, value: float, step: int) -> None: ...
    def log_row(self, values: dict[str, float], step: int) -> None: ...
    def count(self, folder: str) -> int: ...


class Runbus:
    def open(self, folder: str) -> None:
        import runbus

        self.run = runbus.init(project="bench", home=folder)
        self.log_one = self.run.log

    def log(self, value: float, step: int) -> None:
        self.log_one("loss", value, step)

    def log_row(self, values: dict[str, float], step: int) -> None:
        self.log_one(values, step=step)

    def count(self, folder: str) -> int:
        import runbus

        os.environ["RUNBUS_HOME"] = folder
        (run,) = runbus.runs()
        return sum(summary.points for summary in run.summaries().values())


class TensorboardX:
    def open(self, folder: str) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(folder)
        self.add = self.writer.add_scalar

    def log(self, value: float, step: int) -> None:
        self.add("loss", value, step)

    def log_row(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.add(name, value, step)

    def close(self) -> None:
        self.writer.close()

    def count(self, folder: str) -> int:
        from tensorboardX.proto import event_pb2

        events = [
            event_pb2.Event.FromString(record)
            for path in glob.glob(f"{folder}/events*")
            for record in tf_records(path)
        ]
        return sum(len(event.summary.value) for event in events)


def tf_records(path: str) -> Iterator[bytes]:
    """Yield the whole records of a file of TensorFlow's."""
    with open(path, "rb") as file:
        data = file.read()
    offset = 0
    while offset + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, offset)
        if offset + 16 + length > len(data):
            return
        yield data[offset + 12 : offset + 12 + length]
        offset += 16 + length


class Tensorboard(TensorboardX):
    """TensorBoard's own reader, of what tensorboardX writes."""

    def read(self, folder: str) -> int:
        import numpy as np
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        found = events.Scalars("loss")
        return len(np.array([(event.step, event.value, event.wall_time) for event in found]))


class Aim:
    def open(self, folder: str) -> None:
        os.environ["AIM_UI_TELEMETRY_ENABLED"] = "0"
        import aim

        repo = aim.Repo.from_path(folder, init=True)
        self.run = aim.Run(
            repo=repo, system_tracking_interval=None, log_system_params=False,
            capture_terminal_logs=False,
        )  # fmt: skip

    def log(self, value: float, step: int) -> None:
        self.run.track(value, name="loss", step=step)

    def log_row(self, values: dict[str, float], step: int) -> None:
        self.run.track(values, step=step)

    def close(self) -> None:
        self.run.close()

    def count(self, folder: str) -> int:
        return self.read(folder)

    def read(self, folder: str) -> int:
        import aim

        # A run is listed only once it is indexed, which `aim up` does.
        aim.Repo(folder)._recreate_index()
        found = 0
        for run in aim.Repo(folder).iter_runs():
            for metric in run.metrics():
                steps, values = metric.values.sparse_numpy()
                found += len(values) if len(steps) == len(values) else 0
        return found


class Dvclive:
    def open(self, folder: str) -> None:
        # It makes the repository that it is started in one of DVC's.
        os.chdir(folder)
        os.environ |= {"DVC_NO_ANALYTICS": "1", "DVC_TEST": "true"}
        from dvclive import Live

        self.live = Live(dir=f"{folder}/live", save_dvc_exp=False, dvcyaml=None, report=None)

    def log(self, value: float, step: int) -> None:
        self.live.step = step
        self.live.log_metric("loss", value)

    def log_row(self, values: dict[str, float], step: int) -> None:
        self.live.step = step
        for name, value in values.items():
            self.live.log_metric(name, value)

    def close(self) -> None:
        self.live.end()

    def count(self, folder: str) -> int:
        paths = glob.glob(f"{folder}/live/plots/metrics/**/*.tsv", recursive=True)
        return sum(len(Path(path).read_bytes().splitlines()) - 1 for path in paths)


class Trackio:
    def open(self, folder: str) -> None:
        os.environ |= {
            "TRACKIO_DIR": folder,
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        import trackio

        trackio.init(project="p", name="r", auto_log_gpu=False, embed=False)
        self.log_one = trackio.log

    def log(self, value: float, step: int) -> None:
        self.log_one({"loss": value}, step=step)

    def log_row(self, values: dict[str, float], step: int) -> None:
        self.log_one(values, step=step)

    def count(self, folder: str) -> int:
        try:
            (path,) = glob.glob(f"{folder}/p*.db")
            rows = sqlite3.connect(path).execute("select count(*) from metrics")
            return int(rows.fetchone()[0])
        except (ValueError, sqlite3.OperationalError):
            return 0


class Wandb:
    def open(self, folder: str) -> None:
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
        os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_DIR": folder}
        import wandb

        settings = wandb.Settings(save_code=False, disable_git=True)
        run = wandb.init(project="p", dir=folder, mode="offline", settings=settings)
        self.log_one, self.close = run.log, run.finish

    def log(self, value: float, step: int) -> None:
        self.log_one({"loss": value})

    def log_row(self, values: dict[str, float], step: int) -> None:
        self.log_one(values)

    def count(self, folder: str) -> int:
        from wandb.proto import wandb_internal_pb2 as proto

        found = 0
        for path in glob.glob(f"{folder}/wandb/*run-*/*.wandb"):
            for data in leveldb_records(path):
                record = proto.Record()  # type: ignore[attr-defined,unused-ignore]
                record.ParseFromString(data)
                items = record.history.item
                found += sum("loss" in (item.key, *item.nested_key) for item in items)
        return found


def leveldb_records(path: str) -> Iterator[bytes]:
    """Yield the whole records of a log of LevelDB's with wandb's header."""
    with open(path, "rb") as file:
        data = file.read()
    offset, record = 7, b""
    while offset + 7 <= len(data):
        left = 32768 - offset % 32768
        if left < 7:
            offset += left
            continue
        length, part = struct.unpack_from("<HB", data, offset + 4)
        offset += 7
        if part == 0 or offset + length > len(data):
            return
        chunk, offset = data[offset : offset + length], offset + length
        record = chunk if part in (1, 2) else record + chunk
        if part in (1, 4):
            yield record


TRACKERS: dict[str, type[Tracker]] = {
    "runbus": Runbus,
    "aim": Aim,
    "dvclive": Dvclive,
    "tensorboard": Tensorboard,
    "tensorboardX": TensorboardX,
    "trackio": Trackio,
    "wandb offline": Wandb,
}


def installed(name: str) -> bool:
    """Return whether the rival can be imported, here or in an environment of its own."""
    return name in PACKAGES or importlib.util.find_spec(name.split()[0]) is not None


def measured(name: str, mode: str, folder: str) -> dict[str, float]:
    """Return what a tracker says of itself in a process of its own."""
    command = [environment(name), "-m", "benches.rivals.trackers", name, mode, folder]
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


class Trainer:
    """A process that logs until its whole tree is killed."""

    def __init__(self, name: str, points: int, hertz: int, folder: str) -> None:
        os.makedirs(folder)
        self.name, self.points, self.folder = name, points, folder
        command = [
            environment(name),
            "-m",
            "benches.rivals.trackers",
            name,
            f"{points}@{hertz}",
            folder,
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def lost_when_killed(self) -> int:
        """Kill the tree with SIGKILL once all is logged; return how many points are gone."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        while line and line.strip() != b"logged":
            line = self._process.stdout.readline()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        assert line, f"{self.name} could not log"
        return self.points - int(measured(self.name, "found", self.folder)["points"])


def speed(tracker: Tracker, folder: str) -> dict[str, float]:
    tracker.open(folder)
    spans: dict[str, list[float]] = {"scalar": [], "row": []}
    for start in range(0, 4_000, 400):
        begin = time.perf_counter_ns()
        for step in range(start, start + 200):
            tracker.log(0.5, step)
        middle = time.perf_counter_ns()
        for step in range(start + 200, start + 400):
            tracker.log_row(ROW, step)
        spans["scalar"].append((middle - begin) / 200)
        spans["row"].append((time.perf_counter_ns() - middle) / 200)
    return {name: statistics.median(times) for name, times in spans.items()}


def footprint(tracker: Tracker, folder: str) -> dict[str, float]:
    rss = resident_mb()
    begin = time.perf_counter_ns()
    tracker.open(folder)
    opened = time.perf_counter_ns()
    for step in range(10):
        tracker.log(0.5, step)
    time.sleep(0.5)  # What it does in the background is part of what it takes.
    with open("/proc/thread-self/children") as file:
        children = len(file.read().split())
    return {
        "init_ms": (opened - begin) / 1e6,
        "rss_mb": resident_mb() - rss,
        "disk_kib": disk_kib(folder),
        "processes": children,
    }


def found(tracker: Tracker, folder: str) -> dict[str, float]:
    return {"points": tracker.count(folder)}


def stored(tracker: Any, folder: str) -> dict[str, float]:
    """Store points of float32's precision, then read them to arrays if it has a reader."""
    tracker.open(folder)
    for step in range(STORED):
        noise = math.sin(step * 12.9898) * 43758.5453 % 1
        value = 2.5 * math.exp(-step / 3e4) + 0.1 * noise
        tracker.log(struct.unpack("f", struct.pack("f", value))[0], step)
    tracker.close()
    figures = {"bytes": disk_kib(folder) * 1024 / STORED}
    if read := getattr(tracker, "read", None):
        begin = time.perf_counter()
        assert read(folder) == STORED
        figures["read_ms"] = (time.perf_counter() - begin) * 1e3
    return figures


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def disk_kib(folder: str) -> float:
    files = (os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
    return sum(os.stat(file).st_blocks for file in files) / 2


def train(tracker: Tracker, folder: str, points: int, hertz: int) -> None:
    tracker.open(folder)
    start = time.perf_counter()
    for step in range(points):
        tracker.log(0.5, step)
        if hertz:
            time.sleep(max(0.0, start + (step + 1) / hertz - time.perf_counter()))
    os.write(1, b"\nlogged\n")
    time.sleep(60)


def main(name: str, mode: str, folder: str) -> None:
    tracker: Any = TRACKERS[name]()
    if "@" in mode:
        points, hertz = mode.split("@")
        train(tracker, folder, int(points), int(hertz))
    modes = {"speed": speed, "footprint": footprint, "found": found, "stored": stored}
    figures = modes[mode](tracker, folder)
    print(f"\n{json.dumps(figures)}", flush=True)
    os._exit(0)  # Trackers take their time to say goodbye.


if __name__ == "__main__":
    main(*sys.argv[1:])
