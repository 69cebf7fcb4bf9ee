"""A real dockerd on a socket of its own, in a network of its own, with an image of no registry.

Needs Debian's docker.io and iproute2, and root. Nothing of the machine's own engine or network is
touched: bridges and rules of the firewall are made in a network namespace, where published ports
answer, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from runbus.testing._waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["HOST_VOLUMES", "IMAGE", "RUNTIME", "Dockerd", "bare_archive", "dockerd"]

IMAGE = "runbus/bare:1"
"""An image with nothing but empty folders and links: `host_volumes` fill it with this machine's."""

HOST_VOLUMES = tuple(
    f"{path}:{path}:ro"
    for path in dict.fromkeys(("/usr", "/etc", sys.base_prefix))
    if Path(path).exists()
)
"""Volumes that give containers of an image with nothing in it the programs of this machine."""

RUNTIME = """\
#!/usr/bin/python3
# Asks for no more than this machine may give, where it lacks the right to raise limits.
import json, os, resource, sys
words = sys.argv[1:]
if "create" in words or "run" in words:
    at = next((words[i + 1] for i, w in enumerate(words) if w in ("--bundle", "-b")), ".")
    path = os.path.join(at, "config.json")
    config = json.load(open(path))
    process = config.get("process", {})
    own = int(open("/proc/self/oom_score_adj").read())
    process["oomScoreAdj"] = max(process.get("oomScoreAdj", 0), own)
    for limit in process.get("rlimits") or []:
        hard = resource.getrlimit(getattr(resource, limit["type"]))[1]
        if hard != resource.RLIM_INFINITY:
            limit["hard"] = min(limit["hard"], hard)
            limit["soft"] = min(limit["soft"], limit["hard"])
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [n for n in names if n != "CAP_SYS_RESOURCE"]
    json.dump(config, open(path, "w"))
os.execv("/usr/sbin/runc", ["runc", *words])
"""


class Dockerd:
    """One engine.

    Attributes:
        socket: Where it listens.
        host_volumes: Volumes that give containers of `IMAGE` the programs of this machine.

    Args:
        folder: For its files; its path must be short, as those of sockets must.
        outlived: Whether its containers continue while it is not there.

    Raises:
        FileNotFoundError: There is no dockerd on this machine.
    """

    def __init__(self, folder: Path, *, outlived: bool = True) -> None:
        path = f"{os.environ['PATH']}:/usr/sbin"
        self._program = shutil.which("dockerd", path=path)
        if self._program is None:
            raise FileNotFoundError("dockerd")
        self.folder = folder
        self._outlived = outlived
        self.socket = str(folder / "docker.sock")
        self.host_volumes = HOST_VOLUMES
        self._namespace = f"runbus-{os.getpid()}-{os.urandom(2).hex()}"
        self._runtime = folder / "runtime"
        self._runtime.write_text(RUNTIME)
        self._runtime.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        _run("ip", "netns", "add", self._namespace)
        _run("ip", "-n", self._namespace, "link", "set", "lo", "up")

    @property
    def within(self) -> tuple[str, ...]:
        """The words that run a command where published ports answer."""
        return ("nsenter", f"--net=/run/netns/{self._namespace}")

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; again if it ends, as one can whose forerunner was killed.

        Raises:
            TimeoutError: It does not answer; `log` in its folder says why.
        """
        wait_until(self._answers)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            self._spawn()
        try:
            self.docker("version")
        except subprocess.SubprocessError:
            return False
        return True

    def _spawn(self) -> None:
        assert self._program is not None
        with (self.folder / "log").open("ab") as file:
            self._process = subprocess.Popen(
                [
                    *self.within, self._program, f"--host=unix://{self.socket}",
                    f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec",
                    f"--pidfile={self.folder}/pid", "--exec-opt=native.cgroupdriver=cgroupfs",
                    f"--cgroup-parent=/{self._namespace}", f"--add-runtime=bare={self._runtime}",
                    "--default-runtime=bare", "--ip-forward=false",
                    *(["--live-restore"] if self._outlived else []),
                ],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip

    def docker(self, *words: str, given: bytes = b"") -> str:
        """Return what the engine's own command line says.

        Raises:
            subprocess.CalledProcessError: It fails.
        """
        done = subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *words],
            input=given,
            capture_output=True,
            check=True,
            timeout=120,
        )
        return done.stdout.decode()

    def make_image(self, name: str = IMAGE) -> None:
        """Make the image with nothing in it."""
        path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.docker("import", "-c", path, "-", name, given=bare_archive())

    def attempts(self) -> list[str]:
        """Return the names of the containers that are attempts."""
        told = self.docker("ps", "-a", "--filter", "label=runbus.attempt", "--format", "{{.Names}}")
        return told.split()

    def inspect(self, name: str) -> dict[str, object]:
        """Return what the engine says of a container."""
        (found,) = json.loads(self.docker("inspect", name))
        return dict(found)

    def stop(self, *, by: int = signal.SIGTERM) -> None:
        """Stop it; containers continue, or are stopped, as it was made."""
        if self._process is None:
            return
        self._process.send_signal(by)
        self._process.wait(PATIENCE_S)
        self._process = None
        # One that was killed leaves it, and by the next start its number may be another process's.
        (self.folder / "pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all containers, stop it, and undo what it has made on this machine."""
        with suppress(subprocess.SubprocessError):
            if names := self.docker("ps", "-aq").split():
                self.docker("rm", "-f", *names)
        self.stop()
        wait_until(self._nothing_is_left)
        _run("ip", "netns", "del", self._namespace)
        for place in reversed(_mounts_below(self.folder)):
            _run("umount", "-l", place)

    def _nothing_is_left(self) -> bool:
        for pid in (left := self._left()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def _left(self) -> list[int]:
        """Return what outlives an engine that is killed: its containerd, shims, and containers."""
        below = os.fsencode(f"{self.folder}/exec/")
        found = []
        for number in filter(str.isdigit, os.listdir("/proc")):
            process = Path("/proc", number)
            with suppress(OSError):  # it has ended meanwhile
                is_shim = process.joinpath("comm").read_bytes().startswith(b"containerd")
                is_ours = is_shim and below in process.joinpath("cmdline").read_bytes()
                if is_ours or f"/{self._namespace}/" in process.joinpath("cgroup").read_text():
                    found.append(int(number))
        return found


def bare_archive() -> bytes:
    """Return the files of an image with nothing in it: empty folders, and links into /usr."""
    data = BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for folder in ("usr", "etc", "tmp", "root", "proc", "sys", "dev", "run", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for link in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(entry)
    return data.getvalue()


@contextmanager
def dockerd(folder: Path, *, outlived: bool = True) -> Iterator[Dockerd]:
    """Run an engine with `IMAGE` in it; it and its containers are gone after the block.

    Args:
        folder: A folder for its files.
        outlived: Whether its containers continue while it is not there.
    """
    engine = Dockerd(folder, outlived=outlived)
    try:
        engine.start()
        engine.make_image()
        yield engine
    finally:
        engine.close()


def _mounts_below(folder: Path) -> Sequence[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    found = [line.split()[1] for line in lines]
    return [path for path in found if path.startswith(f"{folder}/")]


def _run(*words: str) -> None:
    subprocess.run(words, check=False, capture_output=True, timeout=120)
