"""Real sshds on addresses of this machine, each a host of its own as far as SSH can tell.

Needs OpenSSH's server and root. Keys are made for the occasion; nothing of the user's is touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runbus.testing._ports import free_ports
from runbus.testing._waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Sshd", "make_user_key", "sshds"]


class Sshd:
    """One sshd.

    Attributes:
        name: What `settings` calls it.
        address: Where it listens.
        port: The port of the address.
        identity: The private key that logs in, as root.
        known_hosts: The file that knows this host's first key, and those of its siblings.

    Args:
        folder: For keys and logs; siblings share it.
        number: Which one; the last number of its address.
        address: Where it listens instead.
        within: A command that runs another where that address is, such as in a network of its own.

    Raises:
        FileNotFoundError: There is no sshd on this machine.
    """

    def __init__(
        self, folder: Path, number: int, *, address: str = "", within: Sequence[str] = ()
    ) -> None:
        self._program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if self._program is None:
            raise FileNotFoundError("sshd")
        self.folder = folder
        self.address = address = address or f"127.0.0.{number}"
        self.number = number
        self.name = f"host{number}"
        self._within = tuple(within)
        (self.port,) = free_ports(1, "" if within else address)
        self.identity = folder / "user_key"
        self.known_hosts = folder / "known_hosts"
        self.key = folder / f"host_key_{number}"
        self._listener: subprocess.Popen[bytes] | None = None
        self.new_key()
        key = " ".join(self.key.with_suffix(".pub").read_text().split()[:2])
        with self.known_hosts.open("a") as file:
            file.write(f"[{address}]:{self.port} {key}\n")

    def new_key(self) -> None:
        """Give the host another key, as if it were another machine."""
        _make_key(self.key)

    def start(self, **options: str) -> None:
        """Listen; `options` are sshd's own, such as MaxSessions.

        Raises:
            TimeoutError: It does not; `sshd_N.log` in its folder says why.
        """
        assert self._program is not None
        settings = {
            "ListenAddress": self.address,
            "Port": str(self.port),
            "HostKey": str(self.key),
            "PidFile": "none",
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "UsePAM": "no",
            "StrictModes": "no",
            "PrintMotd": "no",
            "Subsystem": "sftp internal-sftp",
        } | options
        config = self.folder / f"sshd_{self.number}.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        path = self.folder / f"sshd_{self.number}.log"
        with path.open("ab") as log:
            told = log.tell()
            self._listener = subprocess.Popen(
                [*self._within, self._program, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                umask=0o022,  # as a machine has it by itself: those who log in inherit it
            )  # fmt: skip
        wait_until(lambda: b"Server listening on" in path.read_bytes()[told:])

    def settings(self) -> str:
        """Return a section of an SSH configuration in which this host is called `name`."""
        return (
            f"Host {self.name}\n"
            f"  HostName {self.address}\n"
            f"  Port {self.port}\n"
            f"  User root\n"
            f"  IdentityFile {self.identity}\n"
            f"  UserKnownHostsFile {self.known_hosts}\n"
        )

    def sessions(self) -> list[int]:
        """Return the processes that serve connections."""
        assert self._listener is not None
        return [pid for pid in _processes() if _parent(pid) == self._listener.pid]

    def kill_sessions(self) -> int:
        """SIGKILL what serves the connections; return how many there were."""
        pids = self.sessions()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def stop(self) -> None:
        """Stop listening and end the connections; jobs continue."""
        if self._listener is None:
            return
        # It must not serve somebody new meanwhile, whom nobody would end.
        self._listener.send_signal(signal.SIGSTOP)
        self.kill_sessions()
        self._listener.kill()
        self._listener.wait(PATIENCE_S)
        self._listener = None


@contextmanager
def sshds(folder: Path, count: int = 3) -> Iterator[list[Sshd]]:
    """Run `count` sshds on 127.0.0.1, 127.0.0.2 and so on; they are gone after the block.

    Args:
        folder: An empty folder for keys and logs.
        count: How many.

    Raises:
        FileNotFoundError: There is no sshd on this machine.
    """
    make_user_key(folder)
    with ExitStack() as stack:
        found = [Sshd(folder, number) for number in range(1, count + 1)]
        for host in found:
            stack.callback(host.stop)
            host.start()
        yield found


def make_user_key(folder: Path) -> None:
    """Make the key that logs in to the hosts whose keys and logs will be in `folder`."""
    # sshd separates privileges below this folder, which only a service manager would make.
    Path("/run/sshd").mkdir(exist_ok=True)
    # sshd reads the keys as the user who logs in.
    folder.chmod(0o711)
    _make_key(folder / "user_key")
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int:
    """Return the parent of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _make_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, timeout=120)
