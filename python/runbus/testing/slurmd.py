"""A real Slurm cluster on this machine: a controller, accounts, and machines that share it.

Needs the munge, slurmctld, slurmd, slurmdbd, slurm-client, slurm-wlm-jwt-plugin and mariadb-server
of Debian, and root.
Nothing of it is left running: each cluster has folders, keys and ports of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from runbus.testing._ports import free_ports, listens
from runbus.testing._waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Slurm", "counted", "slurm_cluster"]

NODES = 3
_SQL = (
    "create database slurm_acct_db; create user slurm@'127.0.0.1' identified by 'runbus'; "
    "create user slurm@localhost identified by 'runbus'; "
    "grant all on slurm_acct_db.* to slurm@'127.0.0.1'; "
    "grant all on slurm_acct_db.* to slurm@localhost;"
)


class Slurm:
    """One cluster of `NODES` machines with 4 processors and 2 GPUs that are none.

    Args:
        folder: Where everything of it lies; its users must be able to enter it.
        keeps_accounts: Whether it has accounts, as most have.
        settings: What is otherwise in its configuration, such as `MinJobAge`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keeps_accounts: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.keeps_accounts = keeps_accounts
        self._settings = settings
        self.conf = folder / "slurm.conf"
        self.ports = free_ports(5 + NODES)
        self._database: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all of it, and wait until its machines are idle."""
        for name in ("state", "spool", "log", "run", "munge", "dev"):
            (self.folder / name).mkdir()
        (self.folder / "run").chmod(0o777)
        self._start_munge()
        for number in range(2):
            device = self.folder / "dev" / f"nvidia{number}"
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
        self._configure()
        if self.keeps_accounts:
            self._start_database()
            self.start_accounts()
        self.start_controller()
        for number in range(1, NODES + 1):
            self.start_node(number)
        wait_until(lambda: self.ask("sinfo", "-h", "-N", "-t", "idle", "-p", "debug", "-o", "%N")
              .count("node") == NODES)  # fmt: skip

    def ask(self, *words: str) -> str:
        """Return what a program of Slurm writes."""
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=self.environment,
            check=False,
        )
        return done.stdout + done.stderr

    def running(self) -> list[str]:
        """Return the numbers of the jobs that run."""
        return self.ask("squeue", "-h", "-t", "R", "-o", "%A").split()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a program finds this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    @property
    def rest_port(self) -> int:
        """Where its REST server may listen."""
        return self.ports[4 + NODES]

    def token(self, *words: str) -> str:
        """Return a token of this user, as `scontrol token` prints it."""
        return self.ask("scontrol", "token", *words).strip().removeprefix("SLURM_JWT=")

    def start_controller(self) -> None:
        """Start slurmctld, unless it runs, and wait until it answers."""
        if not _pid(self.folder / "run" / "slurmctld.pid"):
            self._run("slurmctld", "-f", str(self.conf))
        wait_until(lambda: "UP" in self.ask("scontrol", "ping"))

    def stop_controller(self) -> None:
        """Stop slurmctld; jobs continue."""
        _stop(self.folder / "run" / "slurmctld.pid")

    def lose_state(self) -> None:
        """Stop slurmctld and start it without anything that it knew: its numbers begin anew.

        It has what still ran ended, which is waited for. No other job of the same number begins on
        that machine within the same second: Slurm takes it for the one that was ended.
        """
        self.stop_controller()
        for path in (self.folder / "state").iterdir():
            if path.name != "jwt.key":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.start_controller()
        wait_until(lambda: not self._steps())
        second = int(time.time())
        wait_until(lambda: int(time.time()) > second)

    def start_accounts(self) -> None:
        """Start slurmdbd, and wait until it listens."""
        self._run("slurmdbd")
        wait_until(lambda: listens(self.ports[1]))

    def stop_accounts(self) -> None:
        """Stop slurmdbd."""
        _stop(self.folder / "run" / "slurmdbd.pid")

    def start_node(self, number: int) -> None:
        """Start the slurmd of a machine, and wait until it is on record as its process."""
        self._run("slurmd", "-f", str(self.conf), "-N", f"node{number}")
        path = self.folder / "run" / f"slurmd-node{number}.pid"
        wait_until(lambda: _pid(path))

    def kill_node(self, number: int) -> None:
        """Kill the slurmd of a machine; what it has started continues."""
        path = self.folder / "run" / f"slurmd-node{number}.pid"
        os.kill(wait_until(lambda: _pid(path)), signal.SIGKILL)
        wait_until(lambda: not _pid(path))
        # By the start of the next one its number may be another process's.
        path.unlink()

    def kill_job(self, number: str, *, with_steps: bool = False) -> None:
        """Kill all processes of a job at once: nothing of it sees the others end.

        Args:
            number: What Slurm calls it.
            with_steps: Whether what Slurm has started for it goes as well, as with its machine.
        """
        found = self._steps(number) if with_steps else []
        # Another cluster on this machine has jobs of the same numbers.
        marks = f"SLURM_JOB_ID={number}\0".encode(), f"=runbus:127.0.0.1:{self.ports[0]}:".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                given = (folder / "environ").read_bytes()
                if all(mark in given for mark in marks):
                    found.append(int(folder.name))
        for sent in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, sent)

    def _steps(self, number: str = "") -> list[int]:
        """Return the processes of Slurm that tend what it has started: of a job, or of all."""
        title = f"slurmstepd: [{number}{'.' if number else ''}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                is_step = title in (folder / "cmdline").read_bytes()
                # They call themselves by the number alone, which jobs of other clusters have, too.
                if is_step and (folder / "cwd").readlink().is_relative_to(self.folder):
                    found.append(int(folder.name))
        return found

    def stop(self) -> None:
        """End all jobs, and stop all of it."""
        if _pid(self.folder / "run" / "slurmctld.pid"):
            jobs = self.ask("squeue", "-h", "-o", "%A").split()
            self.ask("scancel", *(job for job in jobs if job.isdigit()))
            wait_until(lambda: not self.ask("squeue", "-h", "-t", "R,CG,S").strip())
        for number in range(1, NODES + 1):
            _stop(self.folder / "run" / f"slurmd-node{number}.pid")
        self.stop_controller()
        self.stop_accounts()
        if self._database is not None:
            # What it has yet to write is of no use to anybody.
            self._database.kill()
            self._database.wait()
        _stop(self.folder / "munge" / "munged.pid")

    def _run(self, *words: str) -> None:
        # What they start must not hold on to a pipe of the tests.
        subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S, env=self.environment, check=True, start_new_session=True,
        )  # fmt: skip

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        for path in (folder, folder / "munge.key"):
            shutil.chown(path, "munge", "munge")
        folder.chmod(0o711)
        self._run(
            "setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--force",
            f"--key-file={folder}/munge.key", f"--socket={folder}/munge.sock",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/seed",
        )  # fmt: skip

    def _start_database(self) -> None:
        data, run = self.folder / "mysql", self.folder / "run"
        data.mkdir()
        shutil.chown(data, "mysql")
        self._run(
            "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}",
            "--auth-root-authentication-method=socket", "--skip-test-db",
        )  # fmt: skip
        self._database = subprocess.Popen(
            ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}",
             "--bind-address=127.0.0.1", f"--port={self.ports[2]}", f"--socket={run}/mysql.sock",
             f"--pid-file={run}/mariadb.pid", "--innodb-buffer-pool-size=32M",
             "--innodb-log-file-size=16M", "--skip-log-bin", f"--log-error={data}/err.log"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        client = ["mariadb", "--no-defaults", f"--socket={run}/mysql.sock", "-e"]
        asks = [*client, "select 1"]
        wait_until(lambda: subprocess.run(asks, capture_output=True, check=False).returncode == 0)
        subprocess.run([*client, _SQL], check=True, timeout=PATIENCE_S, capture_output=True)

    def _configure(self) -> None:
        host, folder = socket.gethostname().partition(".")[0], self.folder
        values = {"folder": folder, "host": host, "control": self.ports[0],
                  "accounts": self.ports[1], "database": self.ports[2]}  # fmt: skip
        nodes = "".join(
            f"NodeName=node{number} NodeHostname={host} NodeAddr=127.0.0.1 "
            f"Port={self.ports[3 + number]} CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 "
            "ThreadsPerCore=1 RealMemory=4000 Gres=gpu:fake:2 State=UNKNOWN\n"
            for number in range(1, NODES + 1)
        )
        general = _CONF.format(**values) + (_KEPT.format(**values) if self.keeps_accounts else "")
        found = dict(line.split("=", 1) for line in general.splitlines())
        lines = "".join(f"{name}={value}\n" for name, value in {**found, **self._settings}.items())
        self.conf.write_text(lines + nodes + _PARTITIONS)
        (folder / "gres.conf").write_text(f"Name=gpu Type=fake File={folder}/dev/nvidia[0-1]\n")
        (folder / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
        for path in folder.glob("*.conf"):
            path.chmod(0o644)  # parts of the cluster are not root's, whose files may be closed
        accounts = folder / "slurmdbd.conf"
        accounts.write_text(_ACCOUNTS.format(**values))
        accounts.chmod(0o600)
        key = folder / "state" / "jwt.key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o400)
        for path in (accounts, key, *(folder / name for name in ("state", "log", "run"))):
            shutil.chown(path, "slurm", "slurm")


@contextmanager
def slurm_cluster(*, keeps_accounts: bool = True, **settings: str) -> Iterator[Slurm]:
    """Start a cluster; it is gone after the block.

    Args:
        keeps_accounts: Whether it has accounts.
        settings: What is otherwise in its configuration, such as `MinJobAge`.

    Raises:
        FileNotFoundError: A program of it is not installed.
        PermissionError: This user may not start them.
    """
    folder = Path(tempfile.mkdtemp(prefix="runbus-slurm-", dir="/var/tmp"))
    folder.chmod(0o755)
    slurm = Slurm(folder, keeps_accounts=keeps_accounts, settings=settings)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        shutil.rmtree(folder, ignore_errors=True)


PROGRAMS = "sbatch", "squeue", "sacct", "scancel", "scontrol"


def counted(folder: Path) -> Callable[[], Counter[str]]:
    """Make programs that count their calls, and then are those of Slurm.

    Args:
        folder: Where; to be the first of `PATH`.

    Returns:
        What tells how often each was called.
    """
    folder.mkdir()
    calls = folder / "calls"
    calls.touch()
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name} >>{calls}\nexec {shutil.which(name)} "$@"\n')
        program.chmod(0o755)
    return lambda: Counter(calls.read_text().split())


def _pid(path: Path) -> int:
    """Return the process in a file; 0 if it is gone, or only waits to be reaped."""
    try:
        pid = int(path.read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return 0
    return 0 if state in "ZX" else pid


def _stop(path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not (pid := _pid(path)):
            return
        os.kill(pid, number)
        try:
            # Killed, it would lose what it has yet to save: the next one would know less of jobs.
            wait_until(lambda: not _pid(path))
        except TimeoutError:
            continue


_CONF = """\
ClusterName=runbus
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.sock
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={folder}/state/jwt.key
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=120
KillWait=10
MinJobAge=300
Waittime=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,batch_sched_delay=0,sched_min_interval=0,sched_interval=5
MailProg=/bin/true
GresTypes=gpu
"""

_KEPT = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts}
AccountingStoragePass={folder}/munge/munge.sock
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment,job_script,job_env
"""

_PARTITIONS = """\
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=short Nodes=node1 MaxTime=1 State=UP
PartitionName=low Nodes=node3 MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=node3 MaxTime=INFINITE State=UP PriorityTier=10
"""

_ACCOUNTS = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.sock
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={folder}/state/jwt.key
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounts}
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=runbus
StorageLoc=slurm_acct_db
CommitDelay=0
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""
