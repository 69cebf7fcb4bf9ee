"""A real Podman service on a socket of its own, with an image of no registry."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runbus.testing._ports import listens
from runbus.testing._waiting import wait_until
from runbus.testing.dockerd import RUNTIME, bare_archive

__all__ = ["BARE", "Podman", "podman"]

BARE = "localhost/runbus/bare:1"
"""An image with nothing but empty folders and links."""


class Podman:
    """One service. Its containers are no children of it: they outlive it.

    Args:
        folder: A folder for its files; its path must be short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = str(folder / "podman.sock")
        runtime = folder / "runtime"
        runtime.write_text(RUNTIME)
        runtime.chmod(0o755)
        self._words = (
            "podman", f"--root={folder}/root", f"--runroot={folder}/run", f"--runtime={runtime}",
            "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file",
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it.

        Raises:
            TimeoutError: It does not answer.
        """
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._words, "system", "service", "--time=0", f"unix://{self.socket}"],
                # The system's own Python runs the runtime.
                env={**os.environ, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(lambda: listens(self.socket))

    def ask(self, *words: str, given: bytes = b"") -> str:
        """Return what Podman's own command line says."""
        done = subprocess.run(
            [*self._words, *words], input=given, capture_output=True, check=True, timeout=120
        )
        return done.stdout.decode()

    def stop(self) -> None:
        """Stop the service."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(120)
            self._process = None


@contextmanager
def podman(folder: Path) -> Iterator[Podman]:
    """Run a service with `BARE` in it; it and its containers are gone after the block."""
    service = Podman(folder)
    service.ask("import", "-c", "ENV PATH=/usr/bin:/bin", "-", BARE, given=bare_archive())
    service.start()
    try:
        yield service
    finally:
        service.ask("rm", "-f", "-a", "-t", "0")
        service.stop()
