"""What may be asked of Slurm for a job, checked before anything is sent."""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Mapping, Sequence  # noqa: TC003 - the configuration reads the fields
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from runbus._listed import listed
from runbus.errors import FieldInvalid, UsageError
from runbus.executors._containers import Containers

__all__ = ["SlurmOptions", "directives", "notice"]

Launcher = Literal["none", "srun", "torchrun", "ft_launcher"]
Runtime = Literal["pyxis", "oci", "charliecloud", "apptainer"]
Count = Annotated[int, Meta(ge=1)]


@dataclass(kw_only=True, eq=False)
class SlurmOptions:
    """Options of `sbatch` under their own names; what is None is left to the cluster.

    Attributes:
        account: Whom the job is charged to.
        partition: Where it queues; `auto` for one that fits, by what the cluster says of itself.
        qos: Its quality of service.
        nodes: How many machines it gets.
        ntasks_per_node: How many tasks each of them is to run.
        cpus_per_task: Processors of a task.
        cpus_per_gpu: Processors for each GPU.
        gpus: GPUs of the whole job, such as `8` or `a100:8`.
        gpus_per_node: GPUs of each machine, in the same form. A job that says by itself how many
            it needs gets so many instead.
        gpus_per_task: GPUs of each task, in the same form.
        gres: Generic resources of each machine, such as `gpu:a100:4`.
        mem: Memory of each machine, such as `64G`; `0` for all of it.
        mem_per_cpu: Memory for each processor.
        mem_per_gpu: Memory for each GPU.
        time: How long it may run: minutes, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM:SS`. A job that
            has a time limit of its own is given a little more than that where this is None.
        constraint: Features that its machines must have.
        nodelist: Machines that it must get.
        exclude: Machines that it must not get.
        exclusive: Whether it shares its machines with nobody; or `user`, `mcs`, `topo`.
        reservation: The reservation that it uses.
        licenses: Licenses that it takes, such as `matlab:2`.
        comment: What the accounts say about it.
        network: What the interconnect is told.
        segment: The size of a block of neighboring machines.
        signal: What it gets before its time is over, such as `USR1@90` for 90 seconds before.
        additional_parameters: Other options of `sbatch`, by their long names; True for one that
            has no value.
        launcher: What starts the job's command: `none`, once, on the first machine; `srun`, once
            for each task; `torchrun`, once a machine, with as many workers as it has GPUs;
            `ft_launcher`, in the same way, which restarts workers that fail or hang.
        launcher_args: Further options of `torchrun` or `ft_launcher`, such as `--max-restarts=3`.
        nsys: Whether each task is profiled by `nsys profile`; the reports are in the folder `nsys`
            where the job works.
        nsys_args: What that is told besides.
        srun_args: Further options of the `srun` that does so.
        container_image: The image in which it runs, if it asks for none by itself: a name, a file
            or a folder, as `container_runtime` takes it.
        container_mounts: Folders that the container sees, as `outside:inside`, besides `job_dir`.
        container_runtime: What makes the container: `pyxis`, a plugin of srun, if nothing is said;
            `oci`, srun itself with `--container`, where the image is the folder of a bundle, which
            says what is mounted; `charliecloud`; `apptainer`.
        setup_lines: Lines of shell that run before anything else of the job, such as `module load`.
    """

    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    nodes: Count = 1
    ntasks_per_node: Count | None = None
    cpus_per_task: Count | None = None
    cpus_per_gpu: Count | None = None
    gpus: Count | str | None = None
    gpus_per_node: Count | str | None = None
    gpus_per_task: Count | str | None = None
    gres: str | None = None
    mem: str | None = None
    mem_per_cpu: str | None = None
    mem_per_gpu: str | None = None
    time: str | None = None
    constraint: str | None = None
    nodelist: str | Sequence[str] | None = None
    exclude: str | Sequence[str] | None = None
    exclusive: bool | str = False
    reservation: str | None = None
    licenses: str | None = None
    comment: str | None = None
    network: str | None = None
    segment: Count | None = None
    signal: str | None = None
    additional_parameters: Mapping[str, str | int | bool] = field(default_factory=dict)
    launcher: Launcher = "none"
    launcher_args: Sequence[str] = ()
    nsys: bool = False
    nsys_args: Sequence[str] = ("--trace=cuda,nvtx", "--sample=none")
    srun_args: Sequence[str] = ()
    container_image: str | None = None
    container_mounts: Sequence[str] = ()
    container_runtime: Runtime | None = None
    setup_lines: Sequence[str] = ()

    @property
    def runtime(self) -> Runtime | None:
        """What makes containers; None where there are none."""
        return self.container_runtime or ("pyxis" if self.container_image else None)

    def check(self) -> None:
        """See that each value has the form that Slurm reads, and that no two say the same.

        Raises:
            UsageError: One has not; it names the option.
        """
        for name, pattern in _FORMS.items():
            value = getattr(self, name)
            if value is not None and not pattern.fullmatch(str(value)):
                raise FieldInvalid(name, repr(value), "Slurm does not read that", _EXAMPLES[name])
        for names in (("mem", "mem_per_cpu", "mem_per_gpu"), ("gpus_per_node", "gres")):
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) > 1 and (names[0] == "mem" or "gpu" in str(self.gres)):
                raise UsageError(
                    f"Slurm options {given[0]!r} and {given[1]!r} contradict each other"
                )
        if isinstance(self.exclusive, str) and self.exclusive not in _EXCLUSIVE:
            allowed = f"true, false, {', '.join(sorted(_EXCLUSIVE))}"
            raise FieldInvalid("exclusive", repr(self.exclusive), f"it is none of {allowed}")
        for key in self.additional_parameters:
            _check_additional(key)
        directives(self)
        _check_launch(self)
        for line in listed(self.setup_lines, "setup_lines"):
            if "\0" in line:
                raise UsageError("a line of 'setup_lines' holds a NUL character")


def _check_launch(options: SlurmOptions) -> None:
    """See that what goes to srun has an srun to go to.

    Raises:
        FieldInvalid: There is no such launcher.
        UsageError: It has not.
    """
    listed(options.srun_args, "srun_args")
    mounts = listed(options.container_mounts, "container_mounts")
    if options.container_runtime not in {None, "pyxis", "oci", "charliecloud", "apptainer"}:
        given = repr(options.container_runtime)
        reason = "it is none of pyxis, oci, charliecloud and apptainer"
        raise FieldInvalid("container_runtime", given, reason)
    if options.launcher not in {"none", "srun", "torchrun", "ft_launcher"}:
        reason = "it is none, srun, torchrun or ft_launcher"
        raise FieldInvalid("launcher", repr(options.launcher), reason)
    if listed(options.launcher_args, "launcher_args") and options.launcher in {"none", "srun"}:
        raise UsageError("launcher_args are for launcher='torchrun' or 'ft_launcher'")
    listed(options.nsys_args, "nsys_args")
    if mounts and options.runtime is None:
        raise UsageError("container_mounts are of a container: give container_image, too")
    if (runtime := options.runtime) == "charliecloud" or runtime == "apptainer":
        Containers.of(runtime, options.container_image, mounts)
    if mounts and options.runtime == "oci":
        raise UsageError("the bundle of an OCI container says what it sees: leave container_mounts")
    if options.srun_args and options.launcher == "none" and options.runtime not in _OF_SRUN:
        raise UsageError("srun_args are for srun: give a launcher, too")


def notice(options: SlurmOptions) -> int:
    """Return the number of the signal that announces the end of a job's time; 0 if none does."""
    name = (options.signal or "").partition("@")[0].removeprefix("SIG")
    if name.isdigit():
        return int(name)
    return int(getattr(signal, f"SIG{name}", 0)) if name else 0


def directives(options: SlurmOptions) -> list[tuple[str, str]]:
    """Return the options of `sbatch` with their values, in the order of the fields.

    A value that is empty belongs to an option that has none.

    Raises:
        UsageError: A value holds a line break or another control character.
    """
    found: list[tuple[str, str]] = []
    for name in _PLAIN:
        value = getattr(options, name)
        if value is None or value is False:
            continue
        if not isinstance(value, (str, int)):
            value = ",".join(listed(value, name))
        found.append((name.replace("_", "-"), "" if value is True else str(value)))
    for key, value in options.additional_parameters.items():
        if value is not False:
            found.append((key.replace("_", "-"), "" if value is True else str(value)))
    for name, text in found:
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
            raise FieldInvalid(name.replace("-", "_"), repr(text), "it holds a control character")
    return found


def _check_additional(key: str) -> None:
    """Refuse a name that is no option of sbatch, or one that is ours to give.

    Raises:
        UsageError: It is one; near matches are in its hint.
    """
    name = key.replace("_", "-")
    field_name = name.replace("-", "_")
    said = "additional_parameters", repr(key)
    if (advice := _OURS.get(name)) is not None:
        raise FieldInvalid(*said, "runbus gives that itself", advice or None)
    if field_name in (*_PLAIN, "signal"):
        raise FieldInvalid(*said, "it is an option of the executor", f"give it as {field_name}=")
    if name not in _OTHERS:
        known = [*_OTHERS, *(plain.replace("_", "-") for plain in _PLAIN)]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        advice = f"did you mean {' or '.join(map(repr, near))}" if near else None
        raise FieldInvalid(*said, "sbatch has no such option", advice)


_PLAIN = (
    "account", "partition", "qos", "nodes", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu",
    "gpus", "gpus_per_node", "gpus_per_task", "gres", "mem", "mem_per_cpu", "mem_per_gpu", "time",
    "constraint", "nodelist", "exclude", "exclusive", "reservation", "licenses", "comment",
    "network", "segment",
)  # fmt: skip
"""The fields that are options of sbatch as they are."""

_OTHERS = frozenset(
    [
        "acctg-freq",
        "batch",
        "bb",
        "bbf",
        "begin",
        "clusters",
        "cluster-constraint",
        "container",
        "container-id",
        "contiguous",
        "core-spec",
        "cores-per-socket",
        "cpu-freq",
        "deadline",
        "delay-boot",
        "distribution",
        "export",
        "extra",
        "extra-node-info",
        "get-user-env",
        "gid",
        "gpu-bind",
        "gpu-freq",
        "gres-flags",
        "hint",
        "hold",
        "ignore-pbs",
        "kill-on-invalid-dep",
        "mail-type",
        "mail-user",
        "mcs-label",
        "mem-bind",
        "mincpus",
        "no-kill",
        "nice",
        "ntasks",
        "ntasks-per-core",
        "ntasks-per-gpu",
        "ntasks-per-socket",
        "oom-kill-step",
        "overcommit",
        "oversubscribe",
        "power",
        "prefer",
        "priority",
        "profile",
        "propagate",
        "reboot",
        "resv-ports",
        "sockets-per-node",
        "spread-job",
        "switches",
        "thread-spec",
        "threads-per-core",
        "tmp",
        "tres-bind",
        "tres-per-task",
        "uid",
        "use-min-nodes",
        "wait-all-nodes",
        "wckey",
        "x11",
        "dependency",
    ]
)
"""The other options that sbatch has had from 20.11 to 24.11, under their long names."""

_SWEEP = "equal jobs that are ready together, as those of a sweep, become one by themselves"

_OURS = {
    "array": _SWEEP,
    "chdir": "give the job its workdir",
    "error": "its logs lie in the folder of the attempt",
    "export-file": "",
    "input": "",
    "job-name": "runbus finds jobs again by it",
    "open-mode": "its logs are appended to",
    "output": "its logs lie in the folder of the attempt",
    "parsable": "",
    "quiet": "",
    "requeue": "give the job retries",
    "no-requeue": "",
    "test-only": "use a dry run",
    "wait": "",
    "wrap": "",
}
"""What additional parameters may not say, and why."""

_OF_SRUN = {"pyxis", "oci"}
"""The runtimes that are options of srun."""

_EXCLUSIVE = {"user", "mcs", "topo"}

_MEMORY = re.compile(r"\d+[KMGT]?B?", re.IGNORECASE | re.ASCII)
_GPUS = re.compile(r"([A-Za-z0-9_.-]+:)?[1-9]\d*", re.ASCII)
_FORMS = {
    "mem": _MEMORY,
    "mem_per_cpu": _MEMORY,
    "mem_per_gpu": _MEMORY,
    "gpus": _GPUS,
    "gpus_per_node": _GPUS,
    "gpus_per_task": _GPUS,
    "time": re.compile(
        r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}|UNLIMITED|INFINITE", re.IGNORECASE | re.ASCII
    ),
    "signal": re.compile(r"(SIG)?([A-Z][A-Z0-9]*|[1-9]\d?)(@\d+)?", re.ASCII),
}
_EXAMPLES = {
    **dict.fromkeys(("mem", "mem_per_cpu", "mem_per_gpu"), "write it like 64G or 4000M"),
    **dict.fromkeys(("gpus", "gpus_per_node", "gpus_per_task"), "write it like 8 or a100:8"),
    "time": "write it like 90 (minutes), 1:30:00 or 2-12:00:00",
    "signal": "write it like USR1@90",
}
