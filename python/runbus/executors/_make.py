"""Executors from their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.config import ExecutorFields, LocalFields
from runbus.executors.local import LocalExecutor

if TYPE_CHECKING:
    from runbus.abc import Executor, Packager

__all__ = ["make_executor"]


def make_executor(name: str, fields: ExecutorFields, packager: Packager | None = None) -> Executor:
    """Return the executor that a batch file describes, to be given to a kernel as a plugin.

    Args:
        name: What jobs call it.
        fields: What the file says about it.
        packager: The packager that its fields describe, made.

    Raises:
        ExtraMissing: It needs a package that is not installed.
        UsageError: Its fields do not fit together.
    """
    if isinstance(fields, LocalFields):
        return LocalExecutor(
            name, gpus=fields.gpus, packager=packager, env_inherit=fields.env_inherit
        )
    from runbus.executors.ssh import SSHExecutor  # needs the extra "ssh"

    return SSHExecutor(
        fields.hosts,
        slots=fields.slots,
        gpus=fields.gpus,
        packager=packager,
        job_dir=fields.job_dir,
        identity=fields.identity,
        workdir=fields.workdir,
        python=fields.python,
        name=name,
    )
