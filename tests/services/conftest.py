"""Real sshds on addresses of this machine, each with its own keys, gone after the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbus.transports import SSHTunnel

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


class Sshd:
    """One sshd: a host of its own as far as SSH can tell."""

    def __init__(self, folder: Path, address: str, number: int) -> None:
        self.folder = folder
        self.address = address
        self.number = number
        with socket.socket() as free:
            free.bind((address, 0))
            self.port: int = free.getsockname()[1]
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
        self.key.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)]
        subprocess.run(command, check=True, timeout=20)

    def start(self, **options: str) -> None:
        """Listen; `options` are sshd's own, such as MaxSessions."""
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
        with (self.folder / f"sshd_{self.number}.log").open("ab") as log:
            self._listener = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex((self.address, self.port)) == 0:
                    return
        raise AssertionError(f"sshd does not listen: {log.name}")

    def sessions(self) -> list[int]:
        """Return the processes that serve connections."""
        assert self._listener is not None
        told = subprocess.run(
            ["pgrep", "-P", str(self._listener.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in told.stdout.split()]

    def kill_sessions(self) -> int:
        """SIGKILL what serves the connections; return how many there were."""
        pids = self.sessions()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def stop(self) -> None:
        """Stop listening and end the connections; jobs go on."""
        if self._listener is None:
            return
        self.kill_sessions()
        self._listener.kill()
        self._listener.wait(10)
        self._listener = None

    def tunnel(self, job_dir: str | Path, **options: object) -> SSHTunnel:
        """Return a tunnel to this host, that knows its key and nothing else."""
        settings = {
            "port": self.port,
            "user": "root",
            "identity": str(self.identity),
            "known_hosts": str(self.known_hosts),
            "config": "",
            "agent": False,
        } | options
        return SSHTunnel(self.address, job_dir=str(job_dir), **settings)  # type: ignore[arg-type]


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Sshd]]:
    """Three hosts, listening."""
    folder = tmp_path_factory.mktemp("sshd")
    # sshd separates privileges below this folder, which only a service manager would make.
    Path("/run/sshd").mkdir(exist_ok=True)
    # sshd reads the keys as the user who logs in.
    folder.chmod(0o711)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "user_key")]
    subprocess.run(command, check=True, timeout=20)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    found = [Sshd(folder, f"127.0.0.{number}", number) for number in (1, 2, 3)]
    try:
        for host in found:
            host.start()
        yield found
    finally:
        for host in found:
            host.stop()


@pytest.fixture
def host(hosts: list[Sshd]) -> Sshd:
    """One host, listening."""
    return hosts[0]
