"""Where the processes of a job meet: the variables that tell them, the same on every backend."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.attempt._script import references

if TYPE_CHECKING:
    from runbus.abc import JobSpec

__all__ = ["MEETING_PORTS", "on_one_node", "rendezvous"]

MEETING_PORTS = range(20_000, 32_000)
"""The ports at which ranks of jobs meet: below those of outgoing connections on Linux."""


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


def on_one_node(job: JobSpec, gpus: int | None = None) -> JobSpec:
    """Return a job that finds itself alone: on the only machine, which is its own.

    What it says by itself stays. For executors whose jobs have one machine each.

    Args:
        job: The job, with its folders as they are here: its port is the same wherever it goes.
        gpus: How many GPUs it is given, if that is not what it asks for.
    """
    digest = hashlib.sha256(job.folder.encode("utf-8", "surrogateescape")).digest()
    port = MEETING_PORTS[int.from_bytes(digest[:4], "big") % len(MEETING_PORTS)]
    count = job.resources.gpus if gpus is None else gpus
    alone = rendezvous("1", "0", "127.0.0.1", str(port), str(count))
    said = {**job.image.env, **references(job)}
    given = {name: value for name, value in alone.items() if name not in said}
    return replace(job, env={**given, **job.env})
