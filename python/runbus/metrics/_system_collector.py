"""This machine as a collector: what it does, without a run of its own."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from runbus.metrics._machine import LocalMachine
from runbus.metrics._system import System
from runbus.plugins import CollectorPlugin, PluginMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SystemCollector"]

_GPU = re.compile(r"gpu([0-9]+)/")
_SECTOR_BYTES = 512
"""The kernel counts sectors of this size, whatever the disk has."""

_OF_GPU = {
    "load": "util", "memory_used": "mem/used", "memory_total": "mem/total", "power": "power",
    "temperature": "temp",
}  # fmt: skip


class SystemCollector(CollectorPlugin):
    """Collects what the machine of the kernel does, under the names that psutil's users know.

    It needs neither psutil nor a driver. What the machine does not have is not in a sample. Runs
    have samplers of their own, whose metrics are under `sys/`: this one is for kernels that serve
    something else.
    """

    interval_s: ClassVar[float] = 10.0

    def get_metadata(self) -> PluginMetadata:
        """Say what it is and what its configuration holds."""
        return PluginMetadata(
            name="system",
            version="1.0.0",
            description="Processors, memory, disk, network, processes and GPUs of this machine",
            author="runbus",
            plugin_type="collector",
            config_schema={
                "include_processes": {"type": "boolean", "default": False},
                "process_limit": {"type": "integer", "min": 1, "default": 10},
                "include_network": {"type": "boolean", "default": True},
                "folder": {"type": "string", "default": "/"},
            },
        )

    def start(self) -> None:
        """Read everything once: rates are known from the first sample on, 10 ms later."""
        self._folder = self.config.get("folder", "/")
        self._machine = LocalMachine(self._folder, System(gpus="all"))
        self._cores = _physical_cores()
        self._started_s = time.monotonic()

    def collect(self) -> Mapping[str, Any]:
        """Return what the machine does now; rates are those since the sample before."""
        values = self._machine.read()
        sample: dict[str, Any] = {
            "timestamp": time.time(),
            "uptime": time.monotonic() - self._started_s,
            "cpu_count_logical": os.cpu_count(),
            "cpu_count_physical": self._cores,
            **_swap(values.get("swap/used", 0.0)),
            **_disk(self._folder),
        }
        sample |= _renamed(
            values,
            cpu_percent="cpu/util", memory_total="mem/total", memory_available="mem/available",
            memory_used="mem/used", swap_used="swap/used", disk_free="disk/free",
            disk_percent="disk/used", disk_read_bytes_rate="disk/read",
            disk_write_bytes_rate="disk/write", load_average="load",
        )  # fmt: skip
        if "cpu/freq" in values:
            sample["cpu_freq"] = {"current": values["cpu/freq"]}
        if total := values.get("mem/total"):
            sample["memory_percent"] = 100 * values["mem/used"] / total
        if self.config.get("include_network", True):
            sample |= _renamed(
                values, network_bytes_recv_rate="net/recv", network_bytes_sent_rate="net/sent"
            )
            sample |= _network()
        if self.config.get("include_processes", False):
            sample["top_processes"] = self._processes(values)
        if gpus := _gpus(values):
            sample["gpu"] = gpus
        return sample

    def _processes(self, values: Mapping[str, float]) -> list[dict[str, Any]]:
        total = values.get("mem/total") or 1.0
        heavy = sorted(self._machine.heaviest(), key=lambda one: (-one.cpu, one.pid))
        return [
            {
                "pid": one.pid,
                "name": one.name,
                "cpu_percent": one.cpu,
                "memory_percent": 100 * one.memory / total,
            }
            for one in heavy[: self.config.get("process_limit", 10)]
        ]


def _renamed(values: Mapping[str, float], **names: str) -> dict[str, float]:
    return {name: values[known] for name, known in names.items() if known in values}


def _physical_cores() -> int | None:
    """Return the cores, of which each may be several processors; None where nobody tells."""
    cores = set()
    for siblings in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list"):
        with suppress(OSError):
            cores.add(siblings.read_text())
    return len(cores) or None


def _swap(used: float) -> dict[str, float]:
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        (total,) = [float(line.split()[1]) for line in lines if line.startswith("SwapTotal:")]
        percent = 100 * used / (1024 * total) if total else 0.0
        return {"swap_total": 1024 * total, "swap_percent": percent}
    return {}


def _disk(folder: str) -> dict[str, int]:
    """Return how large the disk of a folder is, and what all disks have transferred since boot."""
    found = {}
    with suppress(OSError):
        usage = shutil.disk_usage(folder)
        found = {"disk_total": usage.total, "disk_used": usage.used}
    with suppress(OSError, ValueError):
        stats = [path.read_text().split() for path in Path("/sys/block").glob("*/stat")]
        if stats:
            found["disk_read_bytes"] = sum(_SECTOR_BYTES * int(stat[2]) for stat in stats)
            found["disk_write_bytes"] = sum(_SECTOR_BYTES * int(stat[6]) for stat in stats)
    return found


def _network() -> dict[str, int]:
    """Return what all cards have received and sent since boot."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/net/dev").read_text().splitlines()[2:]
        counts = [line.rpartition(":")[2].split() for line in lines]
        received, sent = (sum(int(count[column]) for count in counts) for column in (0, 8))
        return {"network_bytes_recv": received, "network_bytes_sent": sent}
    return {}


def _gpus(values: Mapping[str, float]) -> list[dict[str, Any]]:
    numbers = sorted({int(found[1]) for name in values if (found := _GPU.match(name))})
    gpus: list[dict[str, Any]] = []
    for number in numbers:
        names = {name: f"gpu{number}/{of}" for name, of in _OF_GPU.items()}
        gpu = {"id": number, **_renamed(values, **names)}
        if total := gpu.get("memory_total"):
            gpu["memory_util"] = 100 * gpu["memory_used"] / total
        gpus.append(gpu)
    return gpus
