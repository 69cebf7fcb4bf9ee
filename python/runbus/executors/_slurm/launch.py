"""How a job's command is started on its machines: once, or once a task or a machine."""

from __future__ import annotations

import shlex
from itertools import accumulate
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus._listed import listed
from runbus.executors._containers import Containers, image_of
from runbus.executors._slurm.options import components

if TYPE_CHECKING:
    from runbus.abc import JobSpec
    from runbus.executors._slurm.options import SlurmOptions

__all__ = ["is_launched", "launched", "node_count", "node_log"]


def launched(options: SlurmOptions, job: JobSpec, base: str) -> JobSpec:
    """Return a job whose command starts its own command on its machines, in its container.

    Pyxis and OCI containers are made by srun, which therefore starts the command in any case.

    Args:
        options: What is asked of Slurm.
        job: The job, with its paths as they are there.
        base: The folder below which everything of it lies there.

    Raises:
        JobNotStarted: It runs in a container, and nothing says in which image.
    """
    runtime = options.runtime
    if not is_launched(options):
        return _contained(options, job, base, (*_profiled(options), *job.argv))
    inner = _contained(options, job, base, ("sh", "-c", _start(options), "sh", *job.argv))
    words: list[str] = []
    if runtime == "pyxis":
        image = image_of(job, options.container_image or "")
        mounts = [f"{base}:{base}", *listed(options.container_mounts, "container_mounts")]
        words = [f"--container-image={image}", f"--container-mounts={','.join(mounts)}"]
        words.append(f"--container-workdir={job.cwd}")
        inner = replace(inner, cwd=job.folder, env={**inner.env, "RUNBUS_IMAGE": image})
    elif runtime == "oci":
        words.append(f"--container={image_of(job, options.container_image or '')}")
    words += listed(options.srun_args, "srun_args")
    steps = [["--kill-on-bad-exit=1", "--export=ALL", *where, *words] for where in _places(options)]
    first, *others = steps
    more = [word for step in others for word in (":", *step)]
    srun = _SRUN_IN_GROUP if job.group and len(steps) == 1 else ("srun",)
    return replace(inner, argv=(*srun, *first, *more, *inner.argv))


# Of the components of a job srun starts tasks in the first one, unless it is told of another.
_SRUN_IN_GROUP = (
    "sh", "-c", 'exec srun ${SLURM_HET_SIZE:+--het-group="$RUNBUS_HET_GROUP"} "$@"', "sh",
)  # fmt: skip


def _places(options: SlurmOptions) -> list[list[str]]:
    """Return the options of srun that say where tasks start; for several components at a time."""
    group = components(options)
    if options.launcher == "none":
        return [_each(1)]
    if options.launcher == "srun":
        every = ",".join(map(str, range(len(group))))
        return [[f"--het-group={every}"] if len(group) > 1 else []]
    # One process a machine: the launcher itself starts the others.
    if len(group) == 1:
        return [_each(group[0].nodes)]
    return [[f"--het-group={number}", *_each(one.nodes)] for number, one in enumerate(group)]


def _each(nodes: int) -> list[str]:
    return [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]


def is_launched(options: SlurmOptions) -> bool:
    """Whether a job's command is started by srun, by each task or once a machine."""
    return options.launcher != "none" or options.runtime in {"pyxis", "oci"}


def _contained(options: SlurmOptions, job: JobSpec, base: str, argv: tuple[str, ...]) -> JobSpec:
    """Return a job that starts a command, in the container that is made where it is started."""
    runtime = options.runtime
    if runtime == "charliecloud" or runtime == "apptainer":
        own = Containers.of(runtime, options.container_image, options.container_mounts)
        has_gpus = any(one.gpus or one.has_gpus for one in components(options))
        return own.with_command(job, base, argv, has_gpus=has_gpus)
    return replace(job, argv=argv)


def _start(options: SlurmOptions) -> str:
    """Return the script that starts the command in a task: the words of it are its arguments."""
    is_kept = node_count(options) > 1
    rank = _RANK if options.launcher == "srun" else ""
    start = f"{_NODE}\n{_component(options)}{rank}{_BESIDE}{_KEEP if is_kept else ''}"
    run = "rb_keep" if is_kept else "rb_beside"
    words = [run]
    if profiled := _profiled(options):
        words.append(shlex.join(profiled))
    if options.launcher in {"torchrun", "ft_launcher"}:
        words += [options.launcher, _MEETING, *map(shlex.quote, options.launcher_args)]
        words.append("--no-python")
    return f'{start}{" ".join(words)} "$@"'


def _profiled(options: SlurmOptions) -> tuple[str, ...]:
    """Return the words before a command that is profiled; its report has a name of its own."""
    if not options.nsys:
        return ()
    report = "--output=nsys/%q{SLURM_JOB_ID}-%q{SLURM_PROCID}"
    ready = ("sh", "-c", 'mkdir -p nsys && exec "$@"', "sh")
    return (*ready, "nsys", "profile", report, *listed(options.nsys_args, "nsys_args"))


def node_count(options: SlurmOptions) -> int:
    """Return on how many machines a job writes."""
    return 1 if options.launcher == "none" else sum(one.nodes for one in components(options))


def node_log(node: int, source: str) -> str:
    """Return where in an attempt's folder one of several machines keeps what it writes."""
    return f"node{node}.{source}.log"


def _component(options: SlurmOptions) -> str:
    """Return the lines that tell a task of which component it is, and what it finds there."""
    ends = list(accumulate(one.nodes for one in components(options)))[:-1]
    if not ends:
        return ""
    passed = " + ".join(f"(SLURM_NODEID >= {end})" for end in ends)
    return (
        f'export RUNBUS_HET_GROUP=$(({passed})) RUNBUS_GPUS_PER_NODE="${{SLURM_GPUS_ON_NODE:-0}}"\n'
    )


_NODE = "RUNBUS_NODE_RANK=$SLURM_NODEID; export RUNBUS_NODE_RANK"

# What torch's env:// reads, so that a script needs no launcher of its own.
_RANK = 'export RANK="$SLURM_PROCID" WORLD_SIZE="$SLURM_NTASKS" LOCAL_RANK="$SLURM_LOCALID"\n'

# Torch's own rendezvous, at the first of the machines; a worker for each GPU, or one where there
# are none.
_MEETING = """--nnodes="$RUNBUS_NNODES" \\
--nproc-per-node="$((RUNBUS_GPUS_PER_NODE ? RUNBUS_GPUS_PER_NODE : 1))" \\
--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" \\
--rdzv-endpoint="$RUNBUS_MASTER_ADDR:$RUNBUS_MASTER_PORT\""""

# What samples a machine is started beside the first of its tasks: the wrapper sees those of no
# other machine, and of its own only srun. A driver may hang: the end waits for 0.2 seconds.
_BESIDE = """\
rb_sample() {
    [ "$SLURM_LOCALID" = 0 ] && [ "${RUNBUS_SYSTEM-}" != 0 ] || return
    [ -x "${RUNBUS_SAMPLER-}" ] || return
    (trap '' HUP INT QUIT USR1 USR2
        exec "$RUNBUS_SAMPLER" tasks "$$") >/dev/null 2>&1 & rb_sampler=$!
}
rb_sampled() {
    rb_looks=20
    kill "$rb_sampler" || return
    while kill -0 "$rb_sampler" && [ "$rb_looks" -gt 0 ]; do
        rb_looks=$((rb_looks - 1))
        sleep 0.01
    done
    kill -KILL "$rb_sampler"
} 2>/dev/null
rb_beside() {
    rb_sample || exec "$@"
    trap : HUP INT QUIT TERM USR1 USR2
    "$@"
    rb_status=$?
    rb_sampled
    exit "$rb_status"
}
"""

# What all machines write is in the same two logs, and of each in files of its own, too. Signals are
# the command's to answer: this shell tells how it ended, and the copies last until it has written
# all. What it leaves behind may hold on to them for a moment, and no longer.
_KEEP = """\
rb_keep() {
    command -v tee >/dev/null && rb_pipes=$(mktemp -d) &&
        mkfifo "$rb_pipes/stdout" "$rb_pipes/stderr" || rb_beside "$@"
    rb_log=$RUNBUS_ATTEMPT/node$RUNBUS_NODE_RANK
    (trap '' HUP INT QUIT TERM USR1 USR2
        exec tee -a "$rb_log.stdout.log" <"$rb_pipes/stdout") & rb_out=$!
    (trap '' HUP INT QUIT TERM USR1 USR2
        exec tee -a "$rb_log.stderr.log" <"$rb_pipes/stderr" >&2) & rb_err=$!
    rb_sampler=
    rb_sample
    trap : HUP INT QUIT TERM USR1 USR2
    "$@" >"$rb_pipes/stdout" 2>"$rb_pipes/stderr"
    rb_status=$?
    [ -z "$rb_sampler" ] || rb_sampled
    rm -rf "$rb_pipes"
    (sleep 5; kill -KILL "$rb_out" "$rb_err") >/dev/null 2>&1 & rb_last=$!
    wait "$rb_out"; wait "$rb_err"
    kill "$rb_last"
    exit "$rb_status"
}
"""
