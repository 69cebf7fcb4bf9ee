"""Which of a launcher's processes this one is, by the variables that launchers set."""

from __future__ import annotations

import os

__all__ = ["rank"]

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
