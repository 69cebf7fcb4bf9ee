"""Where the processes of a job meet: the variables that tell them, the same on every backend."""

from __future__ import annotations

import errno
import hashlib
import socket
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.attempt._script import references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.abc import JobSpec

__all__ = [
    "MEETING_PORTS",
    "at_a_free_port",
    "meeting_ports",
    "on_one_node",
    "rendezvous",
    "without_meeting",
]

MEETING_PORTS = range(20_000, 32_000)
"""The ports at which ranks of jobs meet: below those of outgoing connections on Linux."""

_FAR = 4_999
"""From one port of a job to its next one: steps of it reach all ports, and soon no neighbor's."""

_MOST_PORTS = 100
"""Where so many are taken, something else is wrong."""


def rendezvous(nnodes: str, node_rank: str, ips: str, port: str, gpus: str) -> dict[str, str]:
    """Return the variables of a job, from values or from what a shell expands to them.

    Which rank a process is, only who starts it can say. Torch's own names are for the two that hold
    for all of them.

    Args:
        nnodes: How many machines the job has.
        node_rank: Which of them this is, from 0.
        ips: The addresses of all of them, parted by commas; the first one's is that of rank 0.
        port: A port of the first one that no other job uses.
        gpus: How many GPUs it was given on each.
    """
    first = "${RUNBUS_NODE_IPS%%,*}" if "$" in ips else ips.partition(",")[0]
    return {
        "RUNBUS_NNODES": nnodes,
        "RUNBUS_NODE_RANK": node_rank,
        "RUNBUS_NODE_IPS": ips,
        "RUNBUS_MASTER_ADDR": first,
        "RUNBUS_MASTER_PORT": port,
        "RUNBUS_GPUS_PER_NODE": gpus,
        "MASTER_ADDR": first,
        "MASTER_PORT": port,
    }


def on_one_node(job: JobSpec, gpus: int | None = None, port: int | None = None) -> JobSpec:
    """Return a job that finds itself alone: on the only machine, which is its own.

    What it says by itself stays. For executors whose jobs have one machine each.

    Args:
        job: The job.
        gpus: How many GPUs it is given, if that is not what it asks for.
        port: Where its ranks meet; at the first of `meeting_ports` if None.
    """
    count = job.resources.gpus if gpus is None else gpus
    alone = _alone(next(meeting_ports(job)) if port is None else port, count)
    said = {**job.image.env, **references(job)}
    given = {name: value for name, value in alone.items() if name not in said}
    return replace(job, env={**given, **job.env})


def _alone(port: int, gpus: int) -> dict[str, str]:
    return rendezvous("1", "0", "127.0.0.1", str(port), str(gpus))


def meeting_ports(job: JobSpec) -> Iterator[int]:
    """Yield ports for a job, which are the same wherever it goes: the best one first.

    Those of the jobs of an experiment follow each other, so that no two have the same first one;
    where those of an experiment begin, its id says.

    Nobody is asked for a port that is free: it has to be known before the job begins, on all of its
    machines, and what a kernel gives out on asking it may give to any connection a moment later.
    """
    experiment, _, number = job.run_id.rpartition("-")
    if not number.isdecimal():
        experiment, number = job.run_id, "0"
    digest = hashlib.sha256(experiment.encode("utf-8", "surrogateescape")).digest()
    first = int.from_bytes(digest[:4], "big") + int(number)
    for step in range(job.attempt - 1, job.attempt + _MOST_PORTS):
        yield MEETING_PORTS[(first + step * _FAR) % len(MEETING_PORTS)]


def at_a_free_port(job: JobSpec) -> int | None:
    """Return where the ranks of a job should meet on this machine, if not where it says.

    Args:
        job: The job as `on_one_node` has returned it.

    Returns:
        None if nobody listens at its port, or it was not chosen here.
    """
    ports = meeting_ports(job)
    planned = next(ports)
    if job.env.get("RUNBUS_MASTER_PORT") != str(planned) or _is_free(planned):
        return None
    return next(filter(_is_free, ports), None)


def _is_free(port: int) -> bool:
    """Whether nobody listens at a port of this machine, on any of its addresses."""
    family = socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET
    try:
        with socket.socket(family) as asked:
            # As what meets there does: connections of before that are not forgotten are no matter.
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                asked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            asked.bind(("", port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def without_meeting(job: JobSpec) -> tuple[JobSpec, str]:
    """Return a job without what `on_one_node` has added, and that in a line for a person.

    The line is empty if nothing was.
    """
    port, gpus = (job.env.get(f"RUNBUS_{name}", "") for name in ("MASTER_PORT", "GPUS_PER_NODE"))
    if not (port.isdecimal() and gpus.isdecimal()):
        return job, ""
    added = _alone(int(port), int(gpus)).items() & job.env.items()
    env = {name: value for name, value in job.env.items() if (name, value) not in added}
    names = f"RUNBUS_MASTER_PORT and {len(added) - 1} more variables"
    return replace(job, env=env), f"# one machine; its ranks meet at its port {port}: {names}"
