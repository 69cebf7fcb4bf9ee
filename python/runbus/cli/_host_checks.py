"""What `runbus doctor` asks other machines."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from typing import TYPE_CHECKING

import anyio

from runbus.cli._checks import Check, clock_check, space_check
from runbus.config import ExecutorNames, executor_config, list_executors, load_batch
from runbus.errors import ConfigInvalid, FileUnreadable, HostError, NotFound, RunbusError
from runbus.executors import expanded, marked, quote
from runbus.executors.ssh import tunnel_to
from runbus.jobs import Asked

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
    found: list[Mapping[str, Any]] = [one.entry.data for one in listed if one.entry is not None]
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

    async def ask(number: int, host: str, job_dir: str, identity: str) -> None:
        checks[number] = await _ask(host, job_dir, identity)

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            for number, machine in enumerate(machines):
                tasks.start_soon(ask, number, *machine, name=f"ask {machine[0]}")

    anyio.run(ask_all)
    return [check for number in sorted(checks) for check in checks[number]]


def _machines(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the machines that an executor reaches over SSH: name, folder and key."""
    if data.get("type") != "ssh":
        return
    try:
        config: Any = executor_config(data, "ssh")
    except ConfigInvalid:  # of a damaged record; told by who would lead it
        return
    for host in config.hosts:
        yield host, config.job_dir, config.identity or ""


async def _ask(host: str, job_dir: str, identity: str) -> list[Check]:
    """Return what is to be said about one machine."""
    title = f"host {host}"
    began = time.monotonic()
    try:
        tunnel = tunnel_to(host, job_dir, identity or None)
        async with tunnel:
            with anyio.fail_after(_TIMEOUT_S):
                checks = await _questions(title, tunnel)
    except RunbusError as error:
        return [Check(title, False, str(error), error.hint or f"ssh -v {host} tells more")]
    except TimeoutError:
        advice = f"ssh {host} shows where it hangs"
        return [Check(title, False, f"no answer within {_TIMEOUT_S:.0f} s", advice)]
    took = time.monotonic() - began
    return [Check(title, True, f"its shell answered within {took:.1f} s"), *checks]


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
    early, late = asked_s - int(seconds) - 1, answered_s - int(seconds)
    behind = early if early > 0 else min(late, 0.0)
    yield clock_check(f"{title}: clock", -behind, "its clock")
    if not writable:
        advice = "let it be written, or name another job_dir"
        yield Check(f"{title}: job_dir", False, f"{job_dir} cannot be written", advice)
    free = disk.split()[-3:-2]
    if free and free[0].isdigit():
        yield space_check(f"{title}: disk", 1024 * int(free[0]))
    if not setsid:
        advice = "without it a job may end with the connection: install util-linux or busybox"
        yield Check(f"{title}: setsid", False, "not found", advice)
