"""What `runbus doctor` asks other machines."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

import anyio

from runbus._secrets import Secret
from runbus.cli._checks import Check, ahead_s, clock_check, space_check
from runbus.config import ExecutorNames, executor_config, list_executors, load_batch
from runbus.errors import ConfigInvalid, FileUnreadable, HostError, NotFound, RunbusError
from runbus.executors import expanded, marked, quote
from runbus.executors.slurm import AUTO, partitions
from runbus.executors.ssh import tunnel_to
from runbus.jobs import Asked
from runbus.transports import LocalTunnel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from runbus._home import Home
    from runbus.abc import Tunnel

__all__ = ["host_checks", "known_executors"]

_TIMEOUT_S = 30.0
_NEWEST = 20
"""So many experiments are looked at for machines, beside those that are open."""


def known_executors(home: Home, batches: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return what executors are made from: those of batch files, or those that have names.

    Without batch files also those of the home's open and newest experiments.

    Raises:
        BatchInvalid: A file is not a batch.
    """
    if batches:
        return [one.data for path in batches for one in load_batch(path).executors.values()]
    newest = sorted(home.experiment_folders(), key=os.path.basename)[-_NEWEST:]
    listed, _ = list_executors(ExecutorNames(home=home.path))
    # What everybody has by the name of its kind, an engine or a cluster, need not be there.
    found: list[Mapping[str, Any]] = [
        one.entry.data for one in listed if one.entry is not None and one.origin != "runbus"
    ]
    for folder in {*newest, *home.open_experiments()}:
        try:
            found += Asked.read(folder).executors.values()
        except (NotFound, FileUnreadable):
            continue  # told by the checks of the home
    return found


def host_checks(executors: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Ask every machine of some executors, all at the same time, each once."""
    machines = sorted({machine for data in executors for machine in _machines(data)})
    checks: dict[int, list[Check]] = {}

    async def ask(number: int, machine: _Machine) -> None:
        checks[number] = await _ask(machine)

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            for number, machine in enumerate(machines):
                tasks.start_soon(ask, number, machine, name=f"ask {machine.host}")

    anyio.run(ask_all)
    return [check for number in sorted(checks) for check in checks[number]]


class _Machine(NamedTuple):
    """A machine that an executor reaches: its name, empty for this one, folder, key.

    `partition` is where jobs of Slurm go from there, empty for its default; None if it is no login
    node. `rest` is where slurmrestd listens if that is asked, and `token` where the token is.
    """

    host: str
    job_dir: str
    identity: str
    partition: str | None = None
    rest: str = ""
    token: str = ""


def _machines(data: Mapping[str, Any]) -> Iterator[_Machine]:
    """Yield the machines that an executor reaches over SSH, or from which it reaches Slurm."""
    kind = data.get("type")
    if kind not in {"ssh", "slurm"}:
        return
    try:
        config: Any = executor_config(data, kind)
    except ConfigInvalid:  # of a damaged record; told by who would lead it
        return
    identity = config.identity or ""
    if kind == "slurm":
        token = config.token.reference if config.token else ""
        group = [one.partition or config.partition for one in config.resource_group]
        partition = ",".join(dict.fromkeys(filter(None, group or [config.partition])))
        yield _Machine(
            config.host or "", config.job_dir, identity, partition, config.rest or "", token
        )
        return
    for host in config.hosts:
        yield _Machine(host, config.job_dir, identity)


async def _ask(machine: _Machine) -> list[Check]:
    """Return what is to be said about one machine."""
    host = machine.host
    title = f"host {host or 'localhost'}"
    began = time.monotonic()
    try:
        async with _reached(machine) as tunnel:
            with anyio.fail_after(_TIMEOUT_S):
                checks = await _questions(title, tunnel)
                if machine.partition is not None:
                    checks += await _slurm_checks(title, tunnel, machine, machine.partition)
    except RunbusError as error:
        return [Check(title, False, str(error), error.hint or f"ssh -v {host} tells more")]
    except TimeoutError:
        advice = f"ssh {host} shows where it hangs"
        return [Check(title, False, f"no answer within {_TIMEOUT_S:.0f} s", advice)]
    took = time.monotonic() - began
    return [Check(title, True, f"its shell answered within {took:.1f} s"), *checks]


def _reached(machine: _Machine) -> Tunnel:
    if not machine.host:
        return LocalTunnel(machine.job_dir)
    return tunnel_to(machine.host, machine.job_dir, machine.identity or None)


async def _slurm_checks(title: str, tunnel: Tunnel, machine: _Machine, wanted: str) -> list[Check]:
    """Return what Slurm says there about where jobs can queue."""
    rest, token = machine.rest or None, Secret(machine.token) if machine.token else None
    title = f"{title}: {'slurmrestd' if rest else 'Slurm'}{wanted and f', partition {wanted}'}"
    try:
        found = await partitions(tunnel, rest, token)
    except HostError as error:
        if rest:
            advice = error.hint or "see that slurmrestd runs there"
            return [Check(title, False, str(error), advice)]
        return [Check(title, False, error.reason, "see that sinfo works on that machine")]
    told = "; ".join(
        f"{one.name}: {one.state}, at most {one.time}, {one.nodes} of {one.cpus} CPUs, "
        f"{one.memory_mib} MiB{one.gres and ', ' + one.gres}, {one.idle} idle"
        f"{_only_for(one.rules.accounts)}"
        for one in found
    )
    names = sorted({one.name for one in found})
    if lacking := [name for name in wanted.split(",") if name not in ("", AUTO, *names)]:
        advice = f"there are {', '.join(names)}"
        return [Check(title, False, f"there is no partition {lacking[0]!r}", advice)]
    return [Check(title, bool(found), told or "it has no partition that you may use")]


def _only_for(accounts: Sequence[str]) -> str:
    return f", for {', '.join(accounts)} only" if accounts else ""


async def _questions(title: str, tunnel: Tunnel) -> list[Check]:
    asked_ns = time.time_ns()
    _, output = await tunnel.call(_question(tunnel.job_dir))
    answered_ns = time.time_ns()
    lines = output.decode("utf-8", "replace").split("\n")
    if len(lines) < 4 or not lines[0].isdigit():
        return [Check(f"{title}: sh", False, "its shell does not understand ours", _NEEDS_SH)]
    checks = list(_judged(title, tunnel.job_dir, lines, asked_ns / 1e9, answered_ns / 1e9))
    if lines[2]:
        # The last line, and those after it if there are line breaks in the folder's name.
        checks.append(await _file_check(title, tunnel, "\n".join(lines[4:]).removesuffix("\n")))
    return checks


async def _file_check(title: str, tunnel: Tunnel, base: str) -> Check:
    """Write a file there and read it back, as jobs need it."""
    data = os.urandom(1 << 16)
    # A name that is removed later, should this be cut off.
    there = os.fsencode(f"{base}/doctor.part-{os.urandom(4).hex()}")
    try:
        await tunnel.check()
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            await tunnel.upload(file.name, there)
        found = await tunnel.read(there, 0, len(data) + 1)
        await tunnel.call(b"rm -f " + quote(there))
    except HostError as error:
        return Check(f"{title}: files", False, error.reason, error.hint or _NEEDS_SFTP)
    if found != data:
        return Check(f"{title}: files", False, "a file came back as another", _NEEDS_SFTP)
    return Check(f"{title}: files", True, "a file was written and read back")


_NEEDS_SFTP = "jobs need sftp there; try sftp by hand, which shows what it says"

_NEEDS_SH = "jobs need a POSIX shell with date, df and mkdir there"


def _question(job_dir: str) -> bytes:
    """Ask for the clock, setsid, whether the folder can be written, and how full the disk is."""
    base = expanded(shlex.quote(marked(job_dir)))
    return os.fsencode(f"""
rb_b={base}; rb_s=; rb_w=
command -v setsid >/dev/null && rb_s=1
mkdir -p "$rb_b" 2>/dev/null && [ -w "$rb_b" ] && rb_w=1
printf '%s\\n' "$(date +%s)" "$rb_s" "$rb_w"
df -Pk "$rb_b" 2>/dev/null | {{ read -r rb_x; read -r rb_x; printf '%s\\n' "$rb_x"; }}
printf '%s\\n' "$rb_b"
""")


def _judged(
    title: str, job_dir: str, lines: list[str], asked_s: float, answered_s: float
) -> Iterator[Check]:
    seconds, setsid, writable, disk = lines[:4]
    # Its clock tells whole seconds, and the answer was on its way.
    ahead = ahead_s(int(seconds), asked_s, answered_s, tick_s=1.0)
    yield clock_check(f"{title}: clock", ahead, "its clock")
    if not writable:
        advice = "let it be written, or name another job_dir"
        yield Check(f"{title}: job_dir", False, f"{job_dir} cannot be written", advice)
    free = disk.split()[-3:-2]
    if free and free[0].isdigit():
        yield space_check(f"{title}: disk", 1024 * int(free[0]))
    if not setsid:
        advice = "without it a job may end with the connection: install util-linux or busybox"
        yield Check(f"{title}: setsid", False, "not found", advice)
