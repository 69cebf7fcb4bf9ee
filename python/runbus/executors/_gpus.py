"""GPUs of this machine, lent to one job at a time, across all processes."""

from __future__ import annotations

import fcntl
import os
import tempfile

__all__ = ["GpuLease", "GpuPool", "usable_gpus", "visible_gpus"]


_NO_GPU = {"-1", "none", "nodevfiles", "void"}
"""What schedulers and people write for no GPU at all."""


def visible_gpus() -> list[str]:
    """Return the GPUs that jobs of this process may use, as CUDA_VISIBLE_DEVICES names them.

    What that variable lists, if it is set; otherwise every device that NVIDIA's driver shows in
    /proc, by its number.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
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


class GpuLease:
    """Some GPUs that nobody else gets while the lease, or a copy in another process, is open.

    Attributes:
        names: The GPUs, as CUDA_VISIBLE_DEVICES takes them.
        files: The open lock files. A child that inherits them keeps the lease after `close` here.
    """

    __slots__ = ("files", "names")

    def __init__(self, names: list[str], files: list[int]) -> None:
        self.names = names
        self.files = files

    def close(self) -> None:
        """Give up this process' part of the lease; safe to repeat."""
        while self.files:
            os.close(self.files.pop())


class GpuPool:
    """The GPUs of a machine, with a lock file each that all kernels of the machine share.

    A lock belongs to the open file, so it lasts as long as the job's wrapper, which inherits it:
    not less if the launcher dies, not more if the job does.

    Args:
        names: The GPUs.
        folder: Where the lock files are; one folder a user and machine if None.
    """

    def __init__(self, names: list[str], folder: str | None = None) -> None:
        self.names = names
        self._folder = folder or os.path.join(tempfile.gettempdir(), f"runbus-gpus-{os.getuid()}")

    def try_lease(self, count: int) -> GpuLease | None:
        """Return a lease of `count` GPUs, or None if so many are not free right now."""
        if not count:
            return GpuLease([], [])
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        lease = GpuLease([], [])
        for name in self.names:
            if len(lease.names) == count:
                break
            path = os.path.join(self._folder, name.replace("/", "_"))
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            lease.names.append(name)
            lease.files.append(file)
        if len(lease.names) < count:
            lease.close()
            return None
        return lease
