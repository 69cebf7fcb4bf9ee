"""How a job's command is started on its machines: once, or once a task or a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus._listed import listed
from runbus.executors._containers import Containers, image_of

if TYPE_CHECKING:
    from runbus.abc import JobSpec
    from runbus.executors._slurm.options import SlurmOptions

__all__ = ["launched"]


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
    is_of_srun = runtime in {"pyxis", "oci"}
    if options.launcher == "none" and not is_of_srun:
        return _contained(options, job, base, job.argv)
    start = {"none": _PLAIN, "srun": _RANKED, "torchrun": _TORCHRUN}[options.launcher]
    inner = _contained(options, job, base, ("sh", "-c", start, "sh", *job.argv))
    words = ["srun", "--kill-on-bad-exit=1", "--export=ALL"]
    if options.launcher != "srun":
        nodes = options.nodes if options.launcher == "torchrun" else 1
        # One process a machine: torchrun itself starts the others.
        words += [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    if runtime == "pyxis":
        image = image_of(job, options.container_image or "")
        mounts = [f"{base}:{base}", *listed(options.container_mounts, "container_mounts")]
        words += [f"--container-image={image}", f"--container-mounts={','.join(mounts)}"]
        words.append(f"--container-workdir={job.cwd}")
        inner = replace(inner, cwd=job.folder, env={**inner.env, "RUNBUS_IMAGE": image})
    elif runtime == "oci":
        words.append(f"--container={image_of(job, options.container_image or '')}")
    words += listed(options.srun_args, "srun_args")
    return replace(inner, argv=(*words, *inner.argv))


def _contained(options: SlurmOptions, job: JobSpec, base: str, argv: tuple[str, ...]) -> JobSpec:
    """Return a job that starts a command, in the container that is made where it is started."""
    runtime = options.runtime
    if runtime == "charliecloud" or runtime == "apptainer":
        own = Containers.of(runtime, options.container_image, options.container_mounts)
        asked = (options.gpus, options.gpus_per_node, options.gpus_per_task)
        has_gpus = any(asked) or "gpu" in (options.gres or "")
        return own.with_command(job, base, argv, has_gpus=has_gpus)
    return replace(job, argv=argv)


_NODE = "RUNBUS_NODE_RANK=$SLURM_NODEID; export RUNBUS_NODE_RANK"

_PLAIN = f'{_NODE}; exec "$@"'

# What torch's env:// reads, so that a script needs no launcher of its own.
_RANKED = f"""{_NODE}
export RANK="$SLURM_PROCID" WORLD_SIZE="$SLURM_NTASKS" LOCAL_RANK="$SLURM_LOCALID"
exec "$@\""""

# Its own rendezvous, at the first of the machines; a worker for each GPU, or one where there are
# none.
_TORCHRUN = f"""{_NODE}
[ "${{RUNBUS_GPUS_PER_NODE:-0}}" -gt 0 ] || RUNBUS_GPUS_PER_NODE=1
exec torchrun --nnodes="$RUNBUS_NNODES" --nproc-per-node="$RUNBUS_GPUS_PER_NODE" \\
--rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" \\
--rdzv-endpoint="$RUNBUS_MASTER_ADDR:$RUNBUS_MASTER_PORT" --no-python "$@\""""
