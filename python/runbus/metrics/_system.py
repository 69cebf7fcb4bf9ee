"""What a machine does while a run lasts: who samples it, and what."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from runbus._core import Machine, Sampler
from runbus._home import ENV_ATTEMPT, ENV_SYSTEM
from runbus.metrics._folder import new_journal
from runbus.metrics._rank import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from runbus._core import SampledMachine

__all__ = [
    "SAMPLES",
    "GetterCost",
    "System",
    "asked_by",
    "getter_costs",
    "sample",
    "sampled_machine",
    "stop_sampling",
]

SAMPLES = "sys/"
"""What the names of samples begin with."""

_ENV_NVML = "RUNBUS_NVML"
"""Names the file of NVIDIA's library, where the linker does not find it."""

_ENV_ROCM = "RUNBUS_ROCM_SMI"
"""The same of AMD's."""

_VISIBLE_AMD = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
"""What ROCm looks at: the first that is set counts."""

_MAKING = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_NODES = ("SLURM_NODEID", "GROUP_RANK")  # of srun, of torchrun
_ENV_NODE = "SLURMD_NODENAME"
"""What Slurm calls this host, which may be several of its nodes."""
_SYNC_MS = 5000
"""Samples are not worth a disk's time each: a power failure may take those of five seconds."""

_LONGEST_STOP_S = 0.2
"""So long the end of a run waits for a driver that hangs."""


class System(NamedTuple):
    """How the machine of a run is sampled.

    Attributes:
        every_s: The seconds between two rows, 0.001 to 86400: utilization, memory, power and the
            like.
        slow_every_s: The seconds between two readings of what changes slowly or costs more, such as
            temperatures and lists of processes; rounded up to a multiple of `every_s`.
        gpus: Which GPUs: "own" are those in `CUDA_VISIBLE_DEVICES` (of AMD's those in
            `ROCR_VISIBLE_DEVICES` or `HIP_VISIBLE_DEVICES`), and all where that is not set; "all",
            or the numbers that the driver gives them.
        window_s: The seconds that one row tells of, by means of what was read meanwhile; rounded up
            to a multiple of `every_s`. 0 makes each reading a row.
        after_s: How long a run must last before its machine is sampled.
        budget: The part of the time that reading one thing may take, above 0, at most 1: what takes
            more is read more seldom. 1 reads everything as often as it is asked for.
    """

    every_s: float = 1.0
    slow_every_s: float = 10.0
    gpus: Literal["own", "all"] | Sequence[int] = "own"
    window_s: float = 0.0
    after_s: float = 0.0
    budget: float = 0.001

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the text of the variable `RUNBUS_SYSTEM`.

        Args:
            text: "0" or "1", or fields such as `every_s=0.1,gpus=all`; numbers of GPUs are joined
                by "+".

        Returns:
            How to sample; None if the machine is not to be sampled.

        Raises:
            ValueError: It is neither.
        """
        if text in ("0", "1"):
            return cls() if text == "1" else None
        fields: dict[str, Any] = {}
        for word in text.split(","):
            name, _, value = (part.strip() for part in word.partition("="))
            if name not in cls._fields:
                known = ", ".join(cls._fields)
                raise ValueError(
                    f"{ENV_SYSTEM}={text}: {name!r} is neither 0, 1 nor one of {known}"
                )
            try:
                fields[name] = _gpus(value) if name == "gpus" else float(value)
            except ValueError:
                raise ValueError(f"{ENV_SYSTEM}={text}: {name} cannot be {value!r}") from None
        return cls(**fields)


def _gpus(text: str) -> str | tuple[int, ...]:
    return text if text in ("own", "all") else tuple(int(number) for number in text.split("+"))


_IN_A_JOB = System(after_s=1.0)
"""Jobs are sampled unless somebody says otherwise; one that is over by then costs a thread."""


class GetterCost(NamedTuple):
    """What it costs to read one thing of the machine.

    Attributes:
        name: What is read, such as `cpu` or `gpu0/power`.
        is_fast: Whether it is read at each tick.
        first_ns: How long the first reading took, in nanoseconds.
        usual_ns: How long a reading takes: the middle one of the last five.
        most_ns: The longest.
        every_ns: The time between two readings.
        is_slowed: Whether that is more than its tier has, because of what it costs.
        is_read: Whether it is still read: what the machine does not have is asked once.
        reason: Why not, or what failed the last time.
    """

    name: str
    is_fast: bool
    first_ns: int
    usual_ns: int
    most_ns: int
    every_ns: int
    is_slowed: bool
    is_read: bool
    reason: str


_COUNTED = 5
"""So many readings give a usual cost."""


def getter_costs() -> list[GetterCost]:
    """Read everything of this machine a few times, all GPUs included, and return what that cost."""
    machine = Machine(sampled_machine(None, System(gpus="all"), SAMPLES))
    for _ in range(_COUNTED):
        machine.read()
    return [GetterCost(*cost) for cost in machine.costs()]


_samplers: dict[str, Sampler] = {}
"""By the folder of the run: a process has one sampler for a run, however often that is joined."""

_unasked: set[str] = set()
"""Runs that have a sampler only because they are of jobs: one that is asked for takes its place."""


def sample(
    folder: str,
    asked: bool | System | None,
    sync_ms: int | None,
    *,
    is_decided: bool = False,
) -> Sampler | None:
    """Have this host sampled for a run, if that is wanted and no process does so.

    While another process does, this one waits for its place: it takes over when that one ends.
    A machine that cannot be sampled is no error: it has no values.

    Args:
        folder: The run's folder.
        asked: What `asked_by` returns. With None the run of a job is sampled from its second second
            on, and no other.
        sync_ms: How often the run is written to the disk; its samples are every 5 seconds at most.
        is_decided: Whether a call has said what it wants: what samples beside the job gives way.

    Returns:
        What is to be stopped with the run; None if this process samples it already, or nobody
        wants it.

    Raises:
        ValueError: An interval or the budget is out of range.
    """
    system = _wanted(asked, folder)
    number = attempt(folder) if is_decided else None
    if number is not None and system is None:
        _have_all_give_way(folder, number)
    if (standing := _samplers.get(folder)) is not None:
        if asked is None or folder not in _unasked:
            return None
        stop_sampling(folder, standing)
    if system is None:
        return None
    try:
        sampler = Sampler(
            new_journal(folder, is_sampler=True),
            folder,
            {**sampled_machine(folder, system, f"{SAMPLES}{_node()}"), "heaviest": 0},
            every=system.every_s,
            slow_every=system.slow_every_s,
            window=system.window_s,
            after=system.after_s,
            budget=system.budget,
            sync_ms=None if sync_ms is None else max(sync_ms, _SYNC_MS),
            host=os.environ.get(_ENV_NODE) or None,
            instead_of=number,
        )
    except OSError:
        return None  # no more threads: the run is worth more
    _samplers[folder] = sampler
    if asked is None:
        _unasked.add(folder)
    return sampler


def stop_sampling(folder: str, sampler: Sampler) -> None:
    """Stop sampling for a run: what was sampled is on the disk when this returns.

    A driver that hangs is waited for 0.2 seconds, and left alone then.
    """
    if _samplers.get(folder) is sampler:
        del _samplers[folder]
        _unasked.discard(folder)
    sampler.close(longest=_LONGEST_STOP_S)


def sampled_machine(folder: str | None, system: System, prefix: str) -> SampledMachine:
    """Return what the core is to read of this machine, with names that begin with `prefix`."""
    gpus = system.gpus
    return {
        "prefix": prefix,
        "proc": "/proc",
        "sys": "/sys",
        "folder": folder,
        "root": _root(),
        "heaviest": 10,
        "nvml": os.environ.get(_ENV_NVML) or None,
        "rocm": os.environ.get(_ENV_ROCM) or None,
        "gpus": gpus if isinstance(gpus, str) else [int(number) for number in gpus],
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "visible_amd": next(
            (os.environ[name] for name in _VISIBLE_AMD if name in os.environ), None
        ),
    }


def asked_by(given: bool | System | None) -> bool | System | None:
    """Return how a call asks for samples, or else the variable; None if neither says anything.

    Raises:
        ValueError: The variable holds something else.
    """
    text = os.environ.get(ENV_SYSTEM)
    return System.parse(text) or False if text and given is None else given


def _have_all_give_way(folder: str, number: int) -> None:
    """End what samples beside an attempt of a job, on whatever hosts."""
    with suppress(OSError):  # no room: then they continue
        os.close(os.open(os.path.join(folder, "metrics", f".asked-a{number}"), _MAKING, 0o600))


def _wanted(asked: bool | System | None, folder: str) -> System | None:
    if asked is None:
        return None if attempt(folder) is None else _IN_A_JOB
    if isinstance(asked, System):
        return asked
    return System() if asked else None


def _root() -> int | None:
    """Return the first process of what is run here: all below it is the job's."""
    if ENV_ATTEMPT in os.environ:
        return None  # that of the session, which the wrapper has made, or a launcher
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return os.getppid()
    return os.getpid()


def _node() -> str:
    """Return what names of series of this machine have that those of the first do not."""
    for variable in _NODES:
        number = os.environ.get(variable, "")
        if number.isascii() and number.isdecimal():
            return f"node{int(number)}/" if int(number) else ""
    return ""


os.register_at_fork(after_in_child=_samplers.clear)
os.register_at_fork(after_in_child=_unasked.clear)
