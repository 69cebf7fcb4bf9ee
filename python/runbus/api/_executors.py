"""The executors of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.abc import Executor  # noqa: TC001 - `make` reads it
from runbus.config import make
from runbus.executors import LocalExecutor, make_executor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runbus.config import Config, ExecutorFields
    from runbus.executors import TunnelPool

__all__ = ["executor_from", "executor_of", "executors_of"]


def executor_from(given: str | Mapping[str, Any] | Executor | Config[Any]) -> Executor:
    """Return an executor from its name, its data, its configuration, or itself.

    Args:
        given: A name such as `local`; data such as `{"type": "ssh", "hosts": ["box"]}`; a `Config`.

    Raises:
        ConfigInvalid: There is none of that name, or a field does not fit.
        ExtraMissing: It needs a package that is not installed.
        UsageError: Its fields do not fit together.
    """
    return make(_one, {"executor": given})


def _one(executor: Executor) -> Executor:
    return executor


def executors_of(described: Mapping[str, ExecutorFields]) -> dict[str, Executor]:
    """Return the executors that an experiment needs by name: this machine, and its own.

    Args:
        described: The fields of its own, by name.

    Raises:
        ExtraMissing: One of them needs a package that is not installed.
        UsageError: The fields of one do not fit together.
    """
    executors: dict[str, Executor] = {"local": LocalExecutor()}
    return executors | {name: executor_of(name, fields) for name, fields in described.items()}


def executor_of(name: str, fields: ExecutorFields, tunnels: TunnelPool | None = None) -> Executor:
    """Return the executor that some fields describe.

    Args:
        name: What jobs call it.
        fields: The fields.
        tunnels: Lends connections that other executors have, too; it has its own if None.

    Raises:
        ExtraMissing: It needs a package that is not installed.
        UsageError: The fields do not fit together.
    """
    packager = None
    if fields.packager is not None:
        # Costs what archives cost, which those who package nothing need not pay.
        from runbus.packaging import make_packager

        packager = make_packager(fields.packager)
    return make_executor(name, fields, packager, tunnels)
