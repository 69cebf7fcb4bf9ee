"""The machines of a task as values: what is planned of them, and what a process on one knows."""

from __future__ import annotations

import dataclasses

__all__ = ["Accelerator", "Cluster", "ClusterSpec", "InstanceInfo"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """The accelerators of one machine, which are all of one kind.

    Attributes:
        type: What the backend calls them, such as `A100`; empty where it does not say.
        count: How many a machine has.
        memory_gb: The memory of each, in 1e9 bytes; 0 where the backend does not say.
        is_cuda: Whether they run CUDA.
    """

    type: str = ""
    count: int = 1
    memory_gb: float = 0.0
    is_cuda: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """What is asked of the machines.

    Attributes:
        nodes: How many machines.
        workers_per_node: How many processes on each execute functions.
        accelerator: The accelerators of each; None for none.
    """

    nodes: int = 1
    workers_per_node: int = 1
    accelerator: Accelerator | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What hooks plan with: the machines of a job or pool before there are any.

    Attributes:
        name: The name of the job or pool.
        executor: The name of the executor that it goes to.
        spec: What is asked of the machines.
    """

    name: str = ""
    executor: str = ""
    spec: ClusterSpec = ClusterSpec()

    @property
    def nodes(self) -> int:
        """How many machines are asked for."""
        return self.spec.nodes

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerators that are asked for on each of them; None for none."""
        return self.spec.accelerator


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InstanceInfo:
    """What a worker process knows of itself and of its cluster.

    Attributes:
        node: Number of its machine, from 0.
        worker: Number of the process on its machine, from 0.
        total_nodes: How many machines there are.
        workers_per_node: How many worker processes each has.
        accelerators: How many accelerators its machine has.
        total_accelerators: How many all machines have.
        head_addr: Address at which the others reach the machine with number 0.
        head_port: A port that is free there, from which on plugins take theirs.
        job_id: What it works for: the experiment and the job, or the pool.
        peers: The addresses of all machines, by their numbers.
        accelerator: What the accelerators are; None for none.
    """

    node: int = 0
    worker: int = 0
    total_nodes: int = 1
    workers_per_node: int = 1
    accelerators: int = 0
    total_accelerators: int = 0
    head_addr: str = "127.0.0.1"
    head_port: int = 29500
    job_id: str = ""
    peers: tuple[str, ...] = ()
    accelerator: Accelerator | None = None

    @property
    def global_worker_index(self) -> int:
        """Number of the process among those of all machines, from 0."""
        return self.node * self.workers_per_node + self.worker

    @property
    def total_workers(self) -> int:
        """How many worker processes all machines have."""
        return self.total_nodes * self.workers_per_node

    @property
    def is_head(self) -> bool:
        """Whether this is the first process of all."""
        return self.global_worker_index == 0

    @property
    def hostname(self) -> str:
        """What its machine calls itself."""
        import socket

        return socket.gethostname()

    @property
    def place(self) -> str:
        """Where it is, as messages say it."""
        return f"node {self.node}, worker {self.worker}"
