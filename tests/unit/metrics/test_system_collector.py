"""This machine as a collector, under the names of psutil's users."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from runbus.metrics import LocalMachine, SystemCollector
from runbus.plugins import managed
from runbus.testing._waiting import wait_until
from runbus.testing.conformance.collector import CollectorContract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

NVML = Path(__file__).parents[2] / "nvml" / "fake_nvml.c"


class TestSystemCollector(CollectorContract):
    @pytest.fixture
    def make(self) -> Callable[[float], Any]:
        return lambda interval_s: managed(SystemCollector(), {"interval_s": interval_s})


def collected(**config: Any) -> dict[str, Any]:
    collector = SystemCollector()
    collector.initialize(config)
    collector.start()
    return ticked("cpu_percent", collector.collect)


def ticked(name: str, read: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Read until the kernel has counted what processors did: it does so each 10 ms."""
    return wait_until(lambda: values if name in (values := dict(read())) else None)


def test_a_sample_has_the_names_that_users_of_psutil_know() -> None:
    sample = collected(include_processes=True, process_limit=3)
    assert {
        "timestamp", "uptime", "cpu_percent", "cpu_count_logical", "memory_total",
        "memory_available", "memory_percent", "swap_used", "disk_percent",
        "network_bytes_recv_rate", "top_processes",
    } <= {*sample}  # fmt: skip
    assert 0 < sample["memory_percent"] < 100
    assert len(sample["top_processes"]) == 3
    assert {*sample["top_processes"][0]} == {"pid", "name", "cpu_percent", "memory_percent"}


def test_counts_and_sizes_are_those_of_psutil() -> None:
    sample = collected()
    network, disk = psutil.net_io_counters(), psutil.disk_usage("/")
    if (cores := psutil.cpu_count(logical=False)) is not None:
        assert sample["cpu_count_physical"] == cores
    assert sample["swap_total"] == psutil.swap_memory().total
    assert sample["disk_total"] == disk.total
    assert sample["disk_used"] == pytest.approx(disk.used, rel=0.2)
    # Bytes that came meanwhile, on a machine that does other things, too.
    slack = 1e9
    assert abs(network.bytes_recv - sample["network_bytes_recv"]) < slack
    assert abs(network.bytes_sent - sample["network_bytes_sent"]) < slack
    if (transferred := psutil.disk_io_counters()) is not None:
        assert abs(transferred.read_bytes - sample["disk_read_bytes"]) < slack
        assert abs(transferred.write_bytes - sample["disk_write_bytes"]) < slack


def test_what_is_not_asked_for_is_not_there() -> None:
    sample = collected(include_network=False)
    assert not [name for name in sample if name.startswith(("network", "top_", "gpu"))]


def test_gpus_are_told_with_load_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, NVML], check=True)
    Path(f"{library}.state").write_text("gpu Fake GPU-1 util=20 total=1000 used=10 temp=61\n")
    monkeypatch.setenv("RUNBUS_NVML", str(library))
    (gpu,) = collected()["gpu"]
    assert gpu == {
        "id": 0, "load": 20.0, "memory_used": 10.0, "memory_total": 1000.0,
            "memory_util": 1.0, "temperature": 61.0,
    }  # fmt: skip


def test_the_machine_of_this_process_is_read_without_a_run() -> None:
    machine = LocalMachine("/")
    values = ticked("cpu/util", machine.read)
    assert 0 <= values["cpu/util"] <= 100
    assert values["mem/total"] > values["mem/used"] > 0
    heavy = machine.heaviest()
    assert heavy
    assert all(one.is_own for one in heavy if one.pid == os.getpid())
