"""What other machines keep of experiments that are over: their folders there."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from runbus._home import Home
from runbus.api._executors import executor_of
from runbus.attempt import outlived
from runbus.catalog import RunRecord
from runbus.codec import encode_json
from runbus.errors import RunbusError, os_reason
from runbus.executors import TunnelExecutor, idle_script, kept_folders, parse_idle
from runbus.jobs import Asked, leader_of, read_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["FarFolder", "far_folders", "idle_far_folders"]

_TIMEOUT_S = 60.0
_AT_A_TIME = 50
"""So many folders are asked about in one request."""


class FarFolder(NamedTuple):
    """What a machine keeps of an experiment that is over.

    Attributes:
        id: The machine and the folder on it.
        name: What it is.
        project: The folder of its project here.
        ended_ns: When the last of the experiment's jobs ended, Unix time in nanoseconds.
        host: The machine.
        path: The folder on it.
        executor: The name of the executor whose machine it is.
        data: What that is made from.
    """

    id: str
    name: str
    project: str
    ended_ns: int
    host: str
    path: str
    executor: str
    data: Mapping[str, Any]


def far_folders(
    project: str | None = None, home: str | os.PathLike[str] | None = None
) -> Iterator[FarFolder]:
    """Yield what other machines may keep of the experiments of a home that are over. Blocks.

    No machine is asked. Only folders that jobs of this home were sent to are among them, and none
    from which something that a run keeps has not come here.

    Args:
        project: Only of this project; of all if None.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        HomeUnusable: The home folder cannot be read.
    """
    where = Home(home)
    is_open = set(where.open_experiments())
    for folder in where.experiment_folders(project):
        if folder in is_open or leader_of(folder) is not None:
            continue
        with suppress(RunbusError, OSError):
            yield from _of(folder)


def _of(folder: str) -> Iterator[FarFolder]:
    described = Asked.read(folder).executors
    jobs = read_jobs(folder)
    attempts: dict[str, list[str]] = {}
    for job in jobs.values():
        if not job.state.is_terminal:
            return
        above = os.path.dirname(os.path.join(folder, job.folder))
        each = [os.path.join(above, name) for name in os.listdir(above)]
        if any(outlived(attempt) for attempt in each) or not _is_here(folder, job.run_id):
            return
        attempts.setdefault(job.executor, []).extend(each)
    ended_ns = max((job.ended_ns for job in jobs.values()), default=0)
    what = os.path.basename(os.path.dirname(folder)), ended_ns
    for executor, own in attempts.items():
        if (data := described.get(executor)) is not None:
            for host, path in kept_folders(os.path.basename(folder), own):
                title = "what a machine keeps of a batch"
                yield FarFolder(f"{host}:{path}", title, *what, host, path, executor, data)


def _is_here(folder: str, run_id: str) -> bool:
    """Whether all files that a run keeps are."""
    run = RunRecord.unread(os.path.join(folder, "runs", run_id))
    return all(os.path.lexists(one.path) for one in run.artifacts())


async def idle_far_folders(
    folders: Sequence[FarFolder], *, removes: bool = False
) -> tuple[list[FarFolder], dict[str, str]]:
    """Return those of some folders that are there, and that nothing has used for a day.

    All machines are asked at the same time, each for a minute at the most.

    Args:
        folders: The folders.
        removes: Whether they are removed. What is large takes its time, in the background.

    Returns:
        The folders, and why machines did not answer, by their names.
    """
    found: list[FarFolder] = []
    problems: dict[str, str] = {}
    machines: dict[tuple[str, bytes], list[FarFolder]] = {}
    for one in folders:
        machines.setdefault((one.host, encode_json(one.data)), []).append(one)

    async def ask(host: str, own: Sequence[FarFolder]) -> None:
        try:
            with anyio.fail_after(_TIMEOUT_S):
                paths = await _ask(own, removes=removes)
        except TimeoutError:
            problems[host] = f"no answer within {_TIMEOUT_S:.0f} s"
        except (RunbusError, OSError, ValueError) as error:
            problems[host] = os_reason(error) if isinstance(error, OSError) else str(error)
        else:
            found.extend(one for one in own if one.path in paths)

    async with anyio.create_task_group() as tasks:
        for (host, _), own in machines.items():
            tasks.start_soon(ask, host, own, name=f"ask {host}")
    return found, problems


async def _ask(own: Sequence[FarFolder], *, removes: bool) -> set[str]:
    """Ask one machine."""
    first = own[0]
    executor = executor_of(first.executor, first.data)
    tunnel = executor.tunnel_to(first.host) if isinstance(executor, TunnelExecutor) else None
    if tunnel is None:
        return set()
    found: set[str] = set()
    async with tunnel:
        for begin in range(0, len(own), _AT_A_TIME):
            paths = [one.path for one in own[begin : begin + _AT_A_TIME]]
            _, output = await tunnel.call(idle_script(paths, removes=removes))
            found.update(parse_idle(output, paths))
    return found
