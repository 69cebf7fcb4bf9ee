"""GPUs of this machine, lent to one job at a time, across all processes."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runbus.attempt import is_elsewhere, is_running, observe_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["VARIABLE", "GpuPool", "usable_gpus", "visible_gpus"]

VARIABLE = "CUDA_VISIBLE_DEVICES"
"""The variable that tells a job which GPUs are its own."""

START_S = 60.0
"""A job that has left no record of its start after so long has not been started."""

_NO_GPU = {"-1", "none", "nodevfiles", "void"}
"""What schedulers and people write for no GPU at all."""


def visible_gpus() -> list[str]:
    """Return the GPUs that jobs of this process may use, as CUDA_VISIBLE_DEVICES names them.

    What that variable lists, if it is set; otherwise every device that NVIDIA's driver shows in
    /proc, by its number.
    """
    listed = os.environ.get(VARIABLE)
    if listed is not None:
        return usable_gpus(listed)
    try:
        count = len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        count = 0
    return [str(number) for number in range(count)]


def usable_gpus(listed: str) -> list[str]:
    """Return the GPUs in a value of CUDA_VISIBLE_DEVICES: as CUDA does, up to the first invalid."""
    names: list[str] = []
    for name in map(str.strip, listed.split(",")):
        if name.lower() in _NO_GPU:
            break
        if name and name not in names:
            names.append(name)
    return names


class GpuPool:
    """The GPUs of a machine, with a file each that names the attempt which has it.

    All kernels of a user on the machine share these files, whatever their environment; who looks
    at them holds a lock meanwhile. A GPU is lent until the records of the attempt say that its job
    has ended: not less if the launcher dies, not more if the job leaves processes behind.

    Args:
        names: The GPUs.
        folder: Where the files are; one folder a user and machine if None.
        patience_s: How long what is given back waits for another process that looks at them.
    """

    def __init__(
        self, names: Sequence[str], folder: str | None = None, *, patience_s: float = 1.0
    ) -> None:
        self._patience_s = patience_s
        self.names = list(names)
        self._folder = folder or os.path.join(_shared(), f"runbus-gpus-{os.getuid()}")

    def try_lease(self, count: int, holder: str) -> list[str] | None:
        """Return `count` GPUs that are now an attempt's; None if so many are not free right now.

        Args:
            count: How many.
            holder: The attempt's folder. What it has already is part of what is returned.

        Raises:
            OSError: The files cannot be used, or belong to somebody else.
        """
        if not count:
            return []
        with self._locked() as is_ours:
            if not is_ours:
                return None
            now = _boot_and_uptime()
            own = [name for name in self.names if self._holder(name)[1] == holder]
            free = [name for name in self.names if name not in own and self._is_free(name, now)]
            leased = [*own, *free][:count]
            if len(leased) < count:
                return None
            for name in leased:
                self._write(name, f"{now[0]} {now[1]:.2f}\n{holder}\n")
            return sorted(leased, key=self.names.index)

    def give_back(self, holder: str) -> None:
        """Free what an attempt has that was not started; this never fails.

        Another process looks at the files for a moment only, and that is waited for: without the
        lock nothing would be freed, and nobody else frees it soon.
        """
        ends = time.monotonic() + self._patience_s
        with suppress(OSError):
            while not self._try_give_back(holder) and time.monotonic() < ends:
                time.sleep(0.002)

    def _try_give_back(self, holder: str) -> bool:
        """Free what an attempt has; return whether the lock was free for that."""
        with self._locked() as is_ours:
            if is_ours:
                for name in self.names:
                    if self._holder(name)[1] == holder:
                        os.unlink(self._path(f"gpu-{name}"))
            return is_ours

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock; yield whether it is held: it does not wait for the process that has it."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        if os.lstat(self._folder).st_uid != os.getuid():
            raise PermissionError(1, f"{self._folder} belongs to another user")
        file = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(file)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name.replace("/", "_"))

    def _write(self, name: str, text: str) -> None:
        path = self._path(f"gpu-{name}")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, os.fsencode(text))
        finally:
            os.close(file)

    def _holder(self, name: str) -> tuple[str, str]:
        """Return the time of a lease, as it is written, and the attempt that has it."""
        try:
            with open(self._path(f"gpu-{name}"), "rb") as file:
                when, _, holder = os.fsdecode(file.read()).partition("\n")
        except OSError:
            return "", ""
        return when, holder.removesuffix("\n")

    def _is_free(self, name: str, now: tuple[str, float]) -> bool:
        when, holder = self._holder(name)
        boot, _, uptime = when.partition(" ")
        if boot != now[0] or not os.path.isdir(holder):
            return True
        seen = observe_folder(holder)
        if seen is None:
            return now[1] - _number(uptime) > START_S
        return seen.phase == "ended" or not (is_running(holder) or is_elsewhere(holder))


def _shared() -> str:
    """Return the folder that all programs of a machine have in common, and no variable moves."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else "/tmp"


def _boot_and_uptime() -> tuple[str, float]:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        with open("/proc/uptime", encoding="ascii") as file:
            return boot, float(file.read().split()[0])
    except (OSError, ValueError):
        return "", 0.0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
