"""Samples of a machine that become alerts, each told once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from runbus.abc import JobSpec
from runbus.events import DiskNearlyFull, GpuLost, MachineAlert, MemoryNearlyFull
from runbus.plugins._batches import batch_of
from runbus.supervisor._alerts import Alerts

if TYPE_CHECKING:
    from collections.abc import Mapping

GB = 1e9
JOB = JobSpec(
    experiment_id="e", name="j", run_id="r", executor="local", argv=("true",), env={}, cwd="/",
    folder="/", run_folder="/",
)  # fmt: skip


class Machine:
    """Has samples, one row a second."""

    def __init__(self) -> None:
        self.alerts = Alerts(JOB)
        self.now_ns = 1_700_000_000_000_000_000

    def row(self, values: Mapping[str, float], *, after_s: float = 1) -> list[MachineAlert]:
        self.now_ns += int(after_s * 1e9)
        points = [(name, value, 0, self.now_ns) for name, value in values.items()]
        return list(self.alerts.of(batch_of(points, "r", "w-s-h")))

    def memory(self, left: float, total: float = 100 * GB) -> list[MachineAlert]:
        return self.row({"sys/mem/available": left, "sys/mem/total": total})


def test_a_lost_gpu_is_told_once_with_its_node() -> None:
    machine = Machine()
    assert machine.row({"sys/gpu0/util": 5.0}) == []
    (alert,) = machine.row({"sys/gpu0/lost": 1.0})
    assert isinstance(alert, GpuLost)
    assert (alert.gpu, alert.node, alert.run_id, alert.job) == ("gpu0", "", "r", "j")
    assert alert.time_ns == machine.now_ns
    assert [machine.row({"sys/gpu0/lost": 1.0}) for _ in range(3)] == [[]] * 3
    (second,) = machine.row({"sys/gpu0/lost": 1.0, "sys/gpu1/lost": 1.0})
    assert isinstance(second, GpuLost)
    assert second.gpu == "gpu1"
    (other,) = machine.row({"sys/node3/gpu0/lost": 1.0})
    assert isinstance(other, GpuLost)
    assert (other.gpu, other.node) == ("gpu0", "node3")


def test_memory_that_is_nearly_used_up_is_told_again_only_after_it_was_enough() -> None:
    machine = Machine()
    assert machine.memory(50 * GB) == []
    (alert,) = machine.memory(4 * GB)
    assert isinstance(alert, MemoryNearlyFull)
    assert (alert.left, alert.total, alert.is_limit) == (4 * GB, 100 * GB, False)
    assert [machine.memory(left * GB) for left in (3, 6, 4, 9, 1)] == [[]] * 5
    assert machine.memory(11 * GB) == []
    assert len(machine.memory(2 * GB)) == 1


def test_the_limit_of_the_control_group_counts_by_itself() -> None:
    machine = Machine()
    row = {"sys/mem/available": 50 * GB, "sys/mem/total": 100 * GB}
    (alert,) = machine.row({**row, "sys/cgroup/mem": 7.8 * GB, "sys/cgroup/mem_limit": 8 * GB})
    assert isinstance(alert, MemoryNearlyFull)
    assert alert.is_limit
    assert math.isclose(alert.left, 0.2 * GB)


@pytest.mark.parametrize(("pace", "is_told"), [(0.4 * GB, True), (0.1 * GB, False)])
def test_memory_that_will_be_used_up_within_a_minute_is_told(pace: float, is_told: bool) -> None:
    machine = Machine()
    told = [alert for second in range(10) for alert in machine.memory(20 * GB - second * pace)]
    assert bool(told) is is_told


@pytest.mark.parametrize("pace", [0.0, 0.4 * GB], ids=["as it was", "more and more"])
def test_memory_that_does_not_become_less_is_not_told(pace: float) -> None:
    machine = Machine()
    assert [machine.memory(8 * GB + second * pace) for second in range(20)] == [[]] * 20


def test_each_machine_and_each_thing_that_is_low_there_is_told_by_itself() -> None:
    machine = Machine()
    low = {
        "mem/available": 1 * GB, "mem/total": 100 * GB, "cgroup/mem": 9.9 * GB,
        "cgroup/mem_limit": 10 * GB, "disk/free": 1 * GB, "disk/used": 99.0,
    }  # fmt: skip
    for node in ("", "node1/", "node2/"):
        told = machine.row({f"sys/{node}{name}": value for name, value in low.items()})
        assert [type(one) for one in told] == [MemoryNearlyFull, MemoryNearlyFull, DiskNearlyFull]
        assert [one.is_limit for one in told if isinstance(one, MemoryNearlyFull)] == [False, True]
        assert {(f"{one.node}/".lstrip("/"), one.time_ns) for one in told} == {
            (node, machine.now_ns)
        }
    assert machine.row({f"sys/{name}": value for name, value in low.items()}) == []


def test_memory_of_each_machine_has_its_own_pace() -> None:
    machine = Machine()
    for second in range(10):
        row = {"sys/mem/available": 29 * GB, "sys/mem/total": 100 * GB}
        less = {"sys/node1/mem/available": (9 - second * 0.01) * GB}
        assert machine.row({**row, **less, "sys/node1/mem/total": 100 * GB}) == []


def test_a_clock_that_is_set_back_makes_no_pace() -> None:
    machine = Machine()
    for second in range(4):
        assert machine.memory(20 * GB - second) == []
    machine.now_ns -= 3600 * 10**9
    assert machine.memory(19 * GB) == []
    assert machine.memory(18.9 * GB) == []


def test_a_disk_is_nearly_full_by_share_and_bytes() -> None:
    machine = Machine()
    assert machine.row({"sys/disk/free": 200 * GB, "sys/disk/used": 99.0}) == []
    (alert,) = machine.row({"sys/disk/free": 2 * GB, "sys/disk/used": 98.0})
    assert isinstance(alert, DiskNearlyFull)
    assert (alert.free, alert.used) == (2 * GB, 98.0)
    for free, used in ((1, 99.0), (30, 92.0), (1, 99.0), (0.5, 95.5)):
        assert machine.row({"sys/disk/free": free * GB, "sys/disk/used": used}) == []
    for free, used in ((9, 89.0), (41, 92.0), (90, 70.0)):
        assert machine.row({"sys/disk/free": free * GB, "sys/disk/used": used}) == []
        (again,) = machine.row({"sys/disk/free": 2 * GB, "sys/disk/used": 95.5})
        assert again.time_ns == machine.now_ns


def test_rows_without_what_rules_need_say_nothing() -> None:
    assert Machine().row({"sys/cpu/util": 100.0, "sys/lostandfound": 1.0}) == []
