"""Executors from their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.config import ExecutorFields, LocalFields
from runbus.executors.local import LocalExecutor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import Executor, Packager, Tunnel
    from runbus.executors._lent import TunnelPool

__all__ = ["make_executor"]


def make_executor(
    name: str,
    fields: ExecutorFields,
    packager: Packager | None = None,
    tunnels: TunnelPool | None = None,
) -> Executor:
    """Return the executor that a batch file describes, to be given to a kernel as a plugin.

    Args:
        name: What jobs call it.
        fields: What the file says about it.
        packager: The packager that its fields describe, made.
        tunnels: Lends connections that other executors have, too; it has its own if None.

    Raises:
        ExtraMissing: It needs a package that is not installed.
        UsageError: Its fields do not fit together.
    """
    if isinstance(fields, LocalFields):
        return LocalExecutor(
            name, gpus=fields.gpus, packager=packager, env_inherit=fields.env_inherit
        )
    from runbus.executors.ssh import SSHExecutor  # needs the extra "ssh"

    hosts: Sequence[str | Tunnel] = fields.hosts
    if tunnels is not None:
        hosts = [tunnels.to(host, fields.job_dir, fields.identity) for host in fields.hosts]
    return SSHExecutor(
        hosts,
        slots=fields.slots,
        gpus=fields.gpus,
        packager=packager,
        job_dir=fields.job_dir,
        identity=fields.identity,
        workdir=fields.workdir,
        python=fields.python,
        name=name,
    )
