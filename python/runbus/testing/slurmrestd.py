"""A real slurmrestd before a cluster, on a unix socket or at a port of this machine.

Needs the slurmrestd and slurm-wlm-jwt-plugin of Debian, and root.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runbus.testing._ports import listens
from runbus.testing._waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.testing.slurmd import Slurm

__all__ = ["Slurmrestd", "slurmrestd"]


class Slurmrestd:
    """A server that can be stopped, killed and started again.

    On the socket it knows its user by the socket itself, and at the port by a token.

    Args:
        slurm: The cluster.
        over: Where it listens: `socket` or `http`.
    """

    def __init__(self, slurm: Slurm, over: str) -> None:
        self._slurm = slurm
        self._over = over
        self.socket = slurm.folder / "run" / "slurmrestd.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens, as `SlurmExecutor(rest=...)` takes it."""
        if self._over == "socket":
            return f"unix://{self.socket}"
        return f"http://root@127.0.0.1:{self._slurm.rest_port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if self._over == "socket":
            self.socket.unlink(missing_ok=True)
            words = ["slurmrestd", "-a", "rest_auth/local", f"unix:{self.socket}"]
            # The tests are root's, whose jobs it hands over only when told so.
            more = {"SLURMRESTD_SECURITY": "disable_user_check"}
        else:
            words = [
                *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
                *("slurmrestd", "-a", "rest_auth/jwt", f"127.0.0.1:{self._slurm.rest_port}"),
            ]
            more = {"SLURM_JWT": "daemon"}
        if not self._slurm.keeps_accounts:
            # With the part that asks them it does not begin there.
            words[-1:-1] = ["-s", "openapi/v0.0.38"]
        self._process = subprocess.Popen(
            words, env={**self._slurm.environment, **more}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        at = str(self.socket) if self._over == "socket" else self._slurm.rest_port
        wait_until(lambda: listens(at))

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
        self.socket.unlink(missing_ok=True)


@contextmanager
def slurmrestd(slurm: Slurm, over: str) -> Iterator[Slurmrestd]:
    """Start a server before a cluster; it is gone after the block.

    Raises:
        FileNotFoundError: It is not installed.
    """
    server = Slurmrestd(slurm, over)
    try:
        server.start()
        yield server
    finally:
        server.stop()
