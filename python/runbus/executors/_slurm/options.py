"""What may be asked of Slurm for a job, checked before anything is sent."""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Mapping, Sequence  # noqa: TC003 - the configuration reads the fields
from dataclasses import dataclass, field
from typing import Literal

from runbus._listed import listed
from runbus.errors import FieldInvalid, UsageError
from runbus.executors._containers import Containers
from runbus.executors._slurm.numbers import Array, read_array
from runbus.executors._slurm.resources import NOT_READ, PLAIN, SlurmResources

__all__ = ["SlurmOptions", "components", "directives", "notice"]

Launcher = Literal["none", "srun", "torchrun", "ft_launcher"]
Runtime = Literal["pyxis", "oci", "charliecloud", "apptainer"]


@dataclass(kw_only=True, eq=False)
class SlurmOptions(SlurmResources):
    """Options of `sbatch` under their own names; what is None is left to the cluster.

    Attributes:
        resource_group: The machines of a heterogeneous job, a component each: what one of them does
            not say is as the options themselves say it. The first runs the job's script.
        signal: What it gets before its time is over, such as `USR1@90` for 90 seconds before.
        requeue: Whether Slurm begins it anew by itself where it was preempted, has lost its machine
            or was put back into the queue: each time is another attempt, and no retry.
        array: The indices of an array, such as `0-15`, `0,6,16-32` or `0-15:4`, and with `%4` how
            many elements run at a time. Each job becomes one job for each index, `NAME[INDEX]`.
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

    resource_group: Sequence[SlurmResources] = ()
    signal: str | None = None
    requeue: bool = False
    array: str | int | None = None
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
    def elements(self) -> Array | None:
        """The array that each job becomes; None if it is one job."""
        return None if self.array is None else read_array(str(self.array))

    @property
    def runtime(self) -> Runtime | None:
        """What makes containers; None where there are none."""
        return self.container_runtime or ("pyxis" if self.container_image else None)

    def check(self) -> None:
        """See that each value has the form that Slurm reads, and that no two say the same.

        Raises:
            UsageError: One has not; it names the option.
        """
        if self.signal is not None and not _SIGNAL.fullmatch(self.signal):
            raise FieldInvalid("signal", repr(self.signal), NOT_READ, "write it like USR1@90")
        if self.array is not None:
            _check_array(self.array)
        if self.array is not None and self.resource_group:
            raise UsageError("Slurm makes no array of jobs of several components: leave array")
        if self.resource_group and self.requeue:
            raise UsageError("Slurm begins no job of several components anew: leave requeue")
        if self.resource_group and self.nodes != 1:
            raise UsageError("nodes are those of a component: give them in resource_group")
        for key in self.additional_parameters:
            _check_additional(key)
        for one in components(self):
            one.check_machines()
            directives(self, one)
        _check_launch(self)
        for line in listed(self.setup_lines, "setup_lines"):
            if "\0" in line:
                raise UsageError("a line of 'setup_lines' holds a NUL character")


def _check_array(given: object) -> None:
    """Refuse what Slurm would not read as the indices of an array.

    Raises:
        FieldInvalid: It would not, or there are too many.
    """
    try:
        if isinstance(given, bool) or not isinstance(given, (str, int)):
            raise ValueError("expected text, or one index")
        read_array(str(given))
    except ValueError as error:
        advice = "write it like 0-15, 0,6,16-32, 0-15:4 or 0-15%4"
        raise FieldInvalid("array", repr(given), str(error), advice) from None


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


def components(options: SlurmOptions) -> list[SlurmResources]:
    """Return which machines are asked for, those of each component; of most jobs there is one."""
    group = listed(options.resource_group, "resource_group", SlurmResources, "components")
    return [one.within(options) for one in group] or [options]


def directives(options: SlurmOptions, machines: SlurmResources) -> list[tuple[str, str]]:
    """Return the options of `sbatch` with their values, in the order of the fields.

    A value that is empty belongs to an option that has none.

    Args:
        options: What is asked of Slurm.
        machines: What of it is asked for one component.

    Raises:
        UsageError: A value holds a line break or another control character.
    """
    found = machines.asked()
    for key, value in options.additional_parameters.items():
        if value is not False:
            found.append((key.replace("_", "-"), "" if value is True else str(value)))
    for name, text in found:
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
            raise FieldInvalid(name.replace("-", "_"), repr(text), "it holds a control character")
    return found


def taken_over(earlier: Sequence[tuple[str, str]], later: Sequence[tuple[str, str]]) -> list[str]:
    """Return which of a component's options sbatch takes to hold for a later one, too.

    Args:
        earlier: The options of the one, as `directives` returns them.
        later: Those of the other.
    """
    said = {name for name, _ in later}
    if any(name.startswith("mem-per-") for name in said):
        said.add("mem")
    return sorted({name for name, _ in earlier} & (_CARRIED - said))


_CARRIED = frozenset(
    [
        "account", "acctg-freq", "begin", "cluster-constraint", "clusters", "comment", "container",
        "deadline", "delay-boot", "distribution", "exclude", "export", "get-user-env", "gid",
        "hold", "kill-on-invalid-dep", "mail-type", "mail-user", "mcs-label", "mem", "nice",
        "no-kill", "priority", "profile", "propagate", "qos", "reboot", "reservation", "time",
        "uid", "wait-all-nodes", "wckey",
    ]
)  # fmt: skip


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
    if field_name in (*PLAIN, "signal", "requeue", "array"):
        raise FieldInvalid(*said, "it is an option of the executor", f"give it as {field_name}=")
    if name not in _OTHERS:
        known = [*_OTHERS, *(plain.replace("_", "-") for plain in PLAIN)]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        advice = f"did you mean {' or '.join(map(repr, near))}" if near else None
        raise FieldInvalid(*said, "sbatch has no such option", advice)


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

_OURS = {
    "chdir": "give the job its workdir",
    "error": "its logs lie in the folder of the attempt",
    "export-file": "",
    "input": "",
    "job-name": "runbus finds jobs again by it",
    "open-mode": "its logs are appended to",
    "output": "its logs lie in the folder of the attempt",
    "parsable": "",
    "quiet": "",
    "no-requeue": "that is so unless it is told requeue=True",
    "test-only": "use a dry run",
    "wait": "",
    "wrap": "",
}
"""What additional parameters may not say, and why."""

_OF_SRUN = {"pyxis", "oci"}
"""The runtimes that are options of srun."""

_SIGNAL = re.compile(r"(SIG)?([A-Z][A-Z0-9]*|[1-9]\d?)(@\d+)?", re.ASCII)
