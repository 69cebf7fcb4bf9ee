"""This machine, read when somebody asks."""

from __future__ import annotations

from typing import NamedTuple

from runbus._core import Machine
from runbus.metrics._system import SAMPLES, System, sampled_machine

__all__ = ["HeavyProcess", "LocalMachine"]


class HeavyProcess(NamedTuple):
    """A process that uses much of a machine.

    Attributes:
        pid: Its number.
        name: Its name, as the kernel has it: 15 bytes.
        cpu: Percent of one processor, since the look before.
        memory: The bytes of memory that it has.
        is_own: Whether it is this process or started by it.
    """

    pid: int
    name: str
    cpu: float
    memory: int
    is_own: bool


class LocalMachine:
    """This machine and its GPUs, without a run and without a thread.

        machine = LocalMachine()
        machine.read()["mem/used"]

    Args:
        folder: The folder whose disk is meant by `disk/used`; none if None.
        system: Which GPUs; those of `CUDA_VISIBLE_DEVICES` by default.
    """

    def __init__(self, folder: str | None = None, system: System | None = None) -> None:
        # Made, it has read everything once: no reading has to be thrown away to have rates.
        self._machine = Machine(sampled_machine(folder, system or System(), SAMPLES))

    def read(self) -> dict[str, float]:
        """Read everything; rates and processor time are those since the reading before.

        Returns:
            The values by the names of `docs/concepts/sampling.md`, without `sys/`. What cannot be
            told is not there: the use of the processors is counted in ticks of 10 ms, and is
            missing until one has passed since the reading before (the first is made with this
            object).
        """
        return {name.removeprefix(SAMPLES): value for name, value in self._machine.read().items()}

    def heaviest(self) -> list[HeavyProcess]:
        """Return the processes that used most at the last reading, by processor, then by memory."""
        return [HeavyProcess(*process) for process in self._machine.heaviest()]
