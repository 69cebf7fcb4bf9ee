"""What a machine is about to run out of, or has lost, while a job runs on it."""

from __future__ import annotations

from runbus.events._event import Notify

__all__ = ["DiskNearlyFull", "GpuLost", "MachineAlert", "MemoryNearlyFull"]


class MachineAlert(Notify, frozen=True, kw_only=True, tag="machine.alert"):
    """Something about the machine of a job that somebody should know; published as a subclass.

    They are made of the samples in the job's run: a job that is not sampled has none. Each is told
    once, and again only after it was clearly over. A supervisor that takes over may tell it again.

    Attributes:
        run_id: The run of the job.
        experiment_id: The experiment it belongs to.
        job: The name of the job.
        node: Which machine of a job on several: empty for the first, then "node1" and so on.
        time_ns: When it was sampled, Unix time in nanoseconds.
    """

    run_id: str
    experiment_id: str
    job: str
    node: str
    time_ns: int


class GpuLost(MachineAlert, frozen=True, kw_only=True, tag="machine.gpu_lost"):
    """A GPU has fallen off the bus: it is sampled no more.

    Attributes:
        gpu: Which one, as its metrics are called: "gpu0".
    """

    gpu: str


class MemoryNearlyFull(MachineAlert, frozen=True, kw_only=True, tag="machine.memory_nearly_full"):
    """The memory of the machine, or the limit of the job's control group, is nearly used up.

    Less than 5 % is left, or it will be used up within a minute if it is used up as it was lately.

    Attributes:
        left: The bytes that are left.
        total: All bytes, or the limit.
        is_limit: Whether it is a limit of the control group.
    """

    left: float
    total: float
    is_limit: bool


class DiskNearlyFull(MachineAlert, frozen=True, kw_only=True, tag="machine.disk_nearly_full"):
    """The disk that the run's folder lies on is nearly full: less than 5 % and 20 GB are free.

    Attributes:
        free: The bytes that are free.
        used: Percent of it that are used.
    """

    free: float
    used: float
