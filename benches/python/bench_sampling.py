"""What sampling the machine costs, beside psutil in a Python thread and pynvml."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benches.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable

FAKE = Path(__file__).parents[2] / "tests" / "nvml" / "fake_nvml.c"
GPUS = 8
LASTS_S = 10.0
STEADY_S = 300.0
ROW = 40
"""Values of the row whose size is promised."""


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        library = fake_driver(folder)
        return [host(), training(), gpus(library), *rest()]


def host() -> Row:
    """The processor time of the host tier at 10 Hz."""
    from runbus.metrics import System

    # All threads of the process count: those that keep the journal, too.
    without, with_sampler = process_percent(False), process_percent(System(every_s=0.1))
    ours = with_sampler - without
    beside = {}
    if psutil_pass := psutil_reader():
        beside["psutil in a thread"] = thread_percent(psutil_pass)
    if (wandb := wandb_percent()) is not None:
        beside["wandb's sampler"] = wandb
    return Row("host at 10 Hz, of one processor", ours, "%", 0.3, beside)


def process_percent(system: bool | object) -> float:
    """Return what a process that sleeps in a run takes of a processor."""
    import runbus
    from runbus.metrics import System

    assert isinstance(system, bool | System)
    with runbus.init(project="bench", system=system):
        time.sleep(1)
        start, used = time.perf_counter(), time.process_time()
        time.sleep(2 * LASTS_S)
        return 100 * (time.process_time() - used) / (time.perf_counter() - start)


def training() -> Row:
    """What a sampler at 10 Hz adds to a loop that logs."""
    import runbus
    from runbus.metrics import System

    def ns_per_log(system: bool | System) -> float:
        with runbus.init(project="bench", system=system) as run:
            run.log("loss", 0.5, 0)
            start = time.thread_time_ns()
            for step in range(300_000):
                run.log("loss", 0.5, step)
            return (time.thread_time_ns() - start) / 300_000

    pairs = [(ns_per_log(False), ns_per_log(System(every_s=0.1))) for _ in range(31)]
    without, with_sampler = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Row(
        "log(), processor time of the loop, sampled at 10 Hz",
        with_sampler, "ns", beside={"not sampled": without}, ratios={"not sampled": 1.1},
    )  # fmt: skip


def gpus(library: str) -> Row:
    """One pass over the fast tier of eight GPUs whose driver costs nothing."""
    os.environ["RUNBUS_NVML"] = library
    from runbus.metrics import LocalMachine, getter_costs

    passes = [
        sum(
            cost.usual_ns
            for cost in getter_costs()
            if cost.is_fast and cost.is_read and cost.name.startswith("gpu")
        )
        for _ in range(9)
    ]
    del os.environ["RUNBUS_NVML"]
    beside = {}
    if pynvml_pass := pynvml_reader(library):
        # After the host was read, too: what a pass needs is no longer in the caches.
        machine = LocalMachine()
        beside["pynvml"] = statistics.median(
            timed_us(pynvml_pass) for _ in range(45) if machine.read()
        )
    note = f"{GPUS} GPUs: utilization, memory, power, clock, energy; after the host was read"
    return Row("GPUs, one pass", statistics.median(passes) / 1e3, "µs", 20, beside, note)


def rest() -> list[Row]:
    """What a row takes at rest, and whether memory grows: an hour is 360,000 rows at 100 Hz."""
    from runbus.metrics import System

    quick = sampled(System(every_s=0.001, slow_every_s=1), lasts_s=20)
    steady = sampled(System(every_s=0.01, slow_every_s=10), lasts_s=STEADY_S)
    # Each row has all of its tier, as it has at one a second.
    full = sampled(System(every_s=0.01, slow_every_s=1, budget=1), lasts_s=20)
    note = f"of rows that have {full.per_row:.0f} values in the mean, a hundred a second"
    return [
        Row(f"a row of {ROW} values at rest", full.bytes_per_value * ROW, "B", 120, note=note),
        Row("memory after 20,000 rows", quick.grown_mb, "MB", 1),
        Row(f"memory after {STEADY_S / 60:g} minutes at 100 Hz", steady.grown_mb, "MB", 1),
    ]


class Result(NamedTuple):
    """What a run was sampled to."""

    values: dict[str, float]
    bytes_per_value: float
    per_row: float
    grown_mb: float


def sampled(system: object, lasts_s: float = LASTS_S) -> Result:
    """Sample this machine for a while."""
    import runbus
    from runbus.metrics import System

    assert isinstance(system, System)
    with runbus.init(project="bench", system=system) as run:
        time.sleep(lasts_s / 10)
        before = resident_mb()
        time.sleep(lasts_s)
        grown = resident_mb() - before
    stored = runbus.open_run(run.id)
    stored.seal()
    metrics = Path(run.folder, "metrics")
    size = sum(path.stat().st_size for path in metrics.glob("*-s-h.*.parquet"))
    summaries = stored.summaries()
    points = [summary.points for summary in summaries.values()]
    values = {name: summary.mean for name, summary in summaries.items()}
    return Result(values, size / sum(points), sum(points) / max(points), grown)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def fake_driver(folder: str) -> str:
    library = os.path.join(folder, "libnvidia-ml.so.1")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, FAKE], check=True)
    gpu = "gpu Fake GPU-{} util=37 memutil=11 total=1000000 used=25000 power=312000 clock=1755 "
    lines = [gpu.format(number) + "energy=7\n" for number in range(GPUS)]
    Path(f"{library}.state").write_text("".join(lines) + "frozen\n")
    return library


def psutil_reader() -> Callable[[], object] | None:
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    process = psutil.Process()

    def read() -> None:
        psutil.cpu_percent()
        psutil.virtual_memory()
        psutil.swap_memory()
        psutil.disk_io_counters()
        psutil.net_io_counters()
        for one in [process, *process.children(recursive=True)]:
            one.cpu_percent()
            one.memory_info()
            one.num_threads()

    return read


WANDB = """
import sys, time, wandb
settings = wandb.Settings(x_stats_sampling_interval=0.1, console="off", silent=True)
run = wandb.init(mode="offline", dir=sys.argv[1], settings=settings)
print(flush=True)
sys.stdin.read()
run.finish()
"""


def wandb_percent() -> float | None:
    """Return what wandb's processes take of a processor when they sample ten times a second."""
    if importlib.util.find_spec("wandb") is None:
        return None
    import psutil

    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-c", WANDB, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program,
    ):
        assert program.stdout is not None
        program.stdout.readline()

        def used() -> float:
            tree = [*psutil.Process(program.pid).children(recursive=True)]
            times = [one.cpu_times() for one in tree]
            return float(sum(one.user + one.system for one in times))

        time.sleep(1)  # what it does at its start
        start, before = time.perf_counter(), used()
        time.sleep(LASTS_S / 2)
        percent = 100 * (used() - before) / (time.perf_counter() - start)
        program.communicate()
        return percent


def pynvml_reader(library: str) -> Callable[[], object] | None:
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    import ctypes

    pynvml.nvmlLib = ctypes.CDLL(library)
    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(GPUS)]

    def read() -> None:
        for handle in handles:
            pynvml.nvmlDeviceGetUtilizationRates(handle)
            pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
            pynvml.nvmlDeviceGetPowerUsage(handle)
            pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    return read


def timed_us(read: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    read()
    return (time.perf_counter_ns() - start) / 1e3


def thread_percent(read: Callable[[], object]) -> float:
    """Return what reading ten times a second takes of a processor."""
    found: list[float] = []

    def loop() -> None:
        start, used = time.perf_counter(), time.thread_time()
        while time.perf_counter() - start < LASTS_S / 2:
            read()
            time.sleep(0.1)
        found.append(100 * (time.thread_time() - used) / (time.perf_counter() - start))

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    return found[0]
