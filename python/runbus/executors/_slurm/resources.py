"""Which machines are asked of Slurm, for a job or for one of its components."""

from __future__ import annotations

import re
from collections.abc import Sequence  # noqa: TC003 - the configuration reads the fields
from dataclasses import dataclass, fields
from typing import Annotated

from msgspec import Meta

from runbus._listed import listed
from runbus.errors import FieldInvalid, UsageError

__all__ = ["NOT_READ", "PLAIN", "SlurmResources"]

Count = Annotated[int, Meta(ge=1)]

NOT_READ = "Slurm does not read that"


@dataclass(kw_only=True, eq=False)
class SlurmResources:
    """Machines, as options of `sbatch` under their own names; what is None is left to the cluster.

    Attributes:
        account: Whom the job is charged to.
        partition: Where it queues; `auto` for one that fits, by what the cluster says of itself.
        qos: Its quality of service.
        nodes: How many machines it gets.
        ntasks_per_node: How many tasks each of them is to run.
        cpus_per_task: Processors of a task.
        cpus_per_gpu: Processors for each GPU.
        gpus: GPUs of the whole job, such as `8` or `a100:8`.
        gpus_per_node: GPUs of each machine, in the same form. A job that says by itself how many
            it needs gets so many instead.
        gpus_per_task: GPUs of each task, in the same form.
        gres: Generic resources of each machine, such as `gpu:a100:4`.
        mem: Memory of each machine, such as `64G`; `0` for all of it.
        mem_per_cpu: Memory for each processor.
        mem_per_gpu: Memory for each GPU.
        time: How long it may run: minutes, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM:SS`. A job that
            has a time limit of its own is given a little more than that where this is None.
        constraint: Features that its machines must have.
        nodelist: Machines that it must get.
        exclude: Machines that it must not get.
        exclusive: Whether it shares its machines with nobody; or `user`, `mcs`, `topo`.
        reservation: The reservation that it uses.
        licenses: Licenses that it takes, such as `matlab:2`.
        comment: What the accounts say about it.
        network: What the interconnect is told.
        segment: The size of a block of neighboring machines.
    """

    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    nodes: Count = 1
    ntasks_per_node: Count | None = None
    cpus_per_task: Count | None = None
    cpus_per_gpu: Count | None = None
    gpus: Count | str | None = None
    gpus_per_node: Count | str | None = None
    gpus_per_task: Count | str | None = None
    gres: str | None = None
    mem: str | None = None
    mem_per_cpu: str | None = None
    mem_per_gpu: str | None = None
    time: str | None = None
    constraint: str | None = None
    nodelist: str | Sequence[str] | None = None
    exclude: str | Sequence[str] | None = None
    exclusive: bool | str = False
    reservation: str | None = None
    licenses: str | None = None
    comment: str | None = None
    network: str | None = None
    segment: Count | None = None

    def within(self, options: SlurmResources) -> SlurmResources:
        """Return the same, and what options say besides."""
        both = SlurmResources()
        for name in PLAIN:
            own = getattr(self, name)
            is_said = own != getattr(SlurmResources, name)
            setattr(both, name, own if is_said else getattr(options, name))
        return both

    def check_machines(self) -> None:
        """See that each value has the form that Slurm reads, and that no two say the same.

        Raises:
            UsageError: One has not; it names the option.
        """
        for name, pattern in _FORMS.items():
            value = getattr(self, name)
            if value is not None and not pattern.fullmatch(str(value)):
                raise FieldInvalid(name, repr(value), NOT_READ, _EXAMPLES[name])
        for names in (("mem", "mem_per_cpu", "mem_per_gpu"), ("gpus_per_node", "gres")):
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) > 1 and (names[0] == "mem" or "gpu" in str(self.gres)):
                raise UsageError(
                    f"Slurm options {given[0]!r} and {given[1]!r} contradict each other"
                )
        if isinstance(self.exclusive, str) and self.exclusive not in _EXCLUSIVE:
            allowed = f"true, false, {', '.join(sorted(_EXCLUSIVE))}"
            raise FieldInvalid("exclusive", repr(self.exclusive), f"it is none of {allowed}")

    def asked(self) -> list[tuple[str, str]]:
        """Return the options of `sbatch` with their values, in the order of the fields."""
        found: list[tuple[str, str]] = []
        for name in PLAIN:
            value = getattr(self, name)
            if value is None or value is False:
                continue
            if not isinstance(value, (str, int)):
                value = ",".join(listed(value, name))
            found.append((name.replace("_", "-"), "" if value is True else str(value)))
        return found

    @property
    def has_gpus(self) -> bool:
        """Whether each of them has GPUs; of those of a whole job nobody knows where they are."""
        return bool(self.gpus_per_node or self.gpus_per_task) or "gpu" in (self.gres or "")


PLAIN = tuple(one.name for one in fields(SlurmResources))
"""The names of the options, in their order."""

_EXCLUSIVE = {"user", "mcs", "topo"}

_MEMORY = re.compile(r"\d+[KMGT]?B?", re.IGNORECASE | re.ASCII)
_GPUS = re.compile(r"([A-Za-z0-9_.-]+:)?[1-9]\d*", re.ASCII)
_FORMS = {
    "mem": _MEMORY,
    "mem_per_cpu": _MEMORY,
    "mem_per_gpu": _MEMORY,
    "gpus": _GPUS,
    "gpus_per_node": _GPUS,
    "gpus_per_task": _GPUS,
    "time": re.compile(
        r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}|UNLIMITED|INFINITE", re.IGNORECASE | re.ASCII
    ),
}
_EXAMPLES = {
    **dict.fromkeys(("mem", "mem_per_cpu", "mem_per_gpu"), "write it like 64G or 4000M"),
    **dict.fromkeys(("gpus", "gpus_per_node", "gpus_per_task"), "write it like 8 or a100:8"),
    "time": "write it like 90 (minutes), 1:30:00 or 2-12:00:00",
}
