"""Jobs on other machines over SSH, detached: they outlive the connection and its process."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - the configuration reads the signature
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from runbus._listed import listed
from runbus.abc import Capabilities, Limits, Packager, Request, Tunnel
from runbus.attempt import on_one_node
from runbus.config import Check, LocalFile, host_problems
from runbus.errors import UsageError
from runbus.executors._choosing import Hosts
from runbus.executors._containers import ContainerRuntime, Containers
from runbus.executors._environment import check_gpu_variable
from runbus.executors._host import Host
from runbus.executors._lent import TunnelPool  # noqa: TC001 - the configuration reads it
from runbus.executors._paths import marked
from runbus.executors._tunnelled import NO_FOLDER, MarkedBody, TunnelExecutor, tunnel_to

if TYPE_CHECKING:
    from runbus.abc import JobSpec

__all__ = ["SSHExecutor", "tunnel_to"]


class SSHExecutor(TunnelExecutor):
    """Runs each job through the wrapper on one of several machines.

    The wrapper program is sent to each machine once; where it does not start, the script does the
    same job.

    Logs, metric journals and records are copied into the attempt's and the run's own folders as
    they grow, so that a follower of local jobs can follow this one. A machine out of reach
    changes nothing about its jobs; when it is back, copying continues where it stopped.

    Used as a plugin, or as an async context manager; leaving it leaves jobs running.

    Args:
        hosts: The machines, as `name`, `user@name:port`, or tunnels. Those given as text are
            reached as the user's SSH configuration says.
        slots: How many jobs a machine has at a time; further ones wait.
        job_dir: Under which folder of a machine given as text everything lies.
        identity: The private key file for machines given as text, instead of the configured ones.
        gpus: The GPUs that each machine may lend to jobs; those that it has if None.
        packager: Chooses the code that jobs get, each attempt a copy; paths in it are rewritten.
        workdir: The folder where jobs start, instead of their own.
        python: The interpreter there, for jobs that would run under this one.
        copy_patience_s: How long the end of a job waits for files that cannot be copied although
            the machine answers; it is then told without them.
        container_runtime: What runs jobs in containers there: `charliecloud` or `apptainer`; None
            for no containers.
        container_image: The image of jobs that ask for none by themselves: a name, a file or a
            folder, as the runtime takes it.
        container_mounts: Folders that the containers see, as `outside:inside`, besides `job_dir`.
        name: What jobs call this executor.

    Raises:
        FieldInvalid: A mount is not of its form.
        UsageError: There is no machine, or two have one name.
        ExtraMissing: A machine is given as text and asyncssh is not installed.
    """

    def __init__(
        self,
        hosts: Annotated[Sequence[str | Tunnel], Meta(min_length=1), Check(host_problems)],
        *,
        slots: Annotated[int, Meta(ge=1)] = 1,
        job_dir: str = "~/.runbus/remote",
        identity: LocalFile | None = None,
        gpus: Sequence[str] | None = None,
        packager: Packager | None = None,
        workdir: str | None = None,
        python: str | None = None,
        copy_patience_s: float = 60.0,
        container_runtime: ContainerRuntime | None = None,
        container_image: str = "",
        container_mounts: Sequence[str] = (),
        name: str = "ssh",
        tunnels: TunnelPool | None = None,
    ) -> None:
        self.name = name
        reach = tunnel_to if tunnels is None else tunnels.to
        reached = [
            host if isinstance(host, Tunnel) else reach(host, job_dir, identity)
            for host in listed(hosts, "hosts", (str, Tunnel), "texts or tunnels")
        ]
        if not reached or slots < 1:
            raise UsageError(f"executor {name!r} needs at least one host and one slot")
        if len({one.job_dir for one in reached}) > 1:
            raise UsageError(f"all hosts of executor {name!r} must have one job_dir")
        self.packager = packager
        gpus = self._gpus = None if gpus is None else listed(gpus, "gpus")
        self._slots = slots
        self._containers = Containers.of(container_runtime, container_image, container_mounts)
        machines = Hosts(
            {one.name: Host(one, slots, gpus, self._tell, copy_patience_s) for one in reached}
        )
        if len(machines) < len(reached):
            raise UsageError(f"two hosts of executor {name!r} have one name")
        self._use(machines, reached[0].job_dir, workdir=workdir, python=python)

    @property
    def capabilities(self) -> Capabilities:
        """What the machines can do; they are as they are, so no packages are added."""
        return Capabilities(
            gpus=None if self._gpus is None else len(self._gpus),
            containers=self._containers.runtime is not None,
            affinity=True,
            niceness=True,
            time_limit=True,
            packages=True,
            pushes=True,
            files=True,
            elsewhere=True,
        )

    def limits(self) -> Limits:
        """Return how many slots there are."""
        return Limits(jobs=self._slots * len(self._hosts))

    def plan(self, job: JobSpec) -> Request:
        """Return the script that would run there."""
        self.capabilities.check(job, self.name)
        check_gpu_variable(job)
        body = MarkedBody.of(self._moved(job, marked(self._job_dir)), advice=NO_FOLDER)
        return Request(job=job, body=body)

    def _moved(self, job: JobSpec, base: str, own_folder: str = "") -> JobSpec:
        moved = super()._moved(on_one_node(job), base, own_folder)
        return self._containers.with_command(moved, base, moved.argv)
