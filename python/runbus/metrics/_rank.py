"""Which of a job's processes this one is, by the variables that launchers and the wrapper set."""

from __future__ import annotations

import os

from runbus._home import ENV_ATTEMPT, ENV_RUN

__all__ = ["attempt", "rank"]

_VARIABLES = (
    "RANK",  # torchrun, accelerate, deepspeed
    "OMPI_COMM_WORLD_RANK",  # Open MPI
    "PMIX_RANK",
    "PMI_RANK",  # MPICH, Intel MPI
    "MV2_COMM_WORLD_RANK",  # MVAPICH
    "PALS_RANKID",  # Cray
    "JSM_NAMESPACE_RANK",  # jsrun
    "SLURM_PROCID",  # srun; last, because a launcher inside one task counts for itself
)


def rank() -> int | None:
    """Return the rank of this process among all of its job; None without a launcher."""
    for variable in _VARIABLES:
        value = os.environ.get(variable, "")
        if value.isascii() and value.isdigit():
            return int(value)
    return None


def attempt(folder: str) -> int | None:
    """Return the attempt of a job that this process is part of, if the job's run is in `folder`.

    None for any other run, or if the job was not started by the wrapper.
    """
    run, its_folder = (os.environ.get(name, "") for name in (ENV_RUN, ENV_ATTEMPT))
    number = os.path.basename(its_folder)
    # The variables may hold anything.
    is_number = number.isascii() and number.isdecimal() and len(number) < 10
    is_its_run = bool(run) and os.path.basename(run) == os.path.basename(folder)
    return int(number) if is_number and is_its_run else None
