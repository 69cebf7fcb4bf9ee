"""The executors of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus import config
from runbus.abc import Executor, Timeouts
from runbus.executors import LocalExecutor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.config import Config
    from runbus.executors import TunnelPool

__all__ = ["executor_from", "executor_of", "executors_of"]


def executor_from(
    given: str | Mapping[str, Any] | Executor | Config[Any],
) -> tuple[Executor, Timeouts]:
    """Return an executor from its name, its data, its configuration, or itself.

    Args:
        given: A name, or `@file[:section]`: see `runbus.config.ExecutorNames`; data such as
            `{"type": "ssh", "hosts": ["box"]}`; a `Config`.

    Returns:
        The executor, and the time-outs of its jobs that say nothing else.

    Raises:
        ConfigInvalid: There is none of that name, or a field does not fit.
        ExtraMissing: It needs a package that is not installed.
        UsageError: Its fields do not fit together.
    """
    if isinstance(given, Executor):
        return given, Timeouts()
    if isinstance(given, config.Config):
        made: Executor = given.build()
        return made, Timeouts()
    if isinstance(given, str):
        name, entry = given, config.find_executor(given)
    else:
        name = str(given.get("type", "executor"))
        entry = config.executor_entry(given, name)
    return executor_of(name, entry.data), entry.timeouts


def executors_of(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Executor]:
    """Return the executors that an experiment needs by name: this machine, and its own.

    Args:
        described: What its own are made from, by name.

    Raises:
        ConfigInvalid: One of them does not fit: what it is made by has changed since.
        ExtraMissing: One of them needs a package that is not installed.
        UsageError: The fields of one do not fit together.
    """
    executors: dict[str, Executor] = {"local": LocalExecutor()}
    return executors | {name: executor_of(name, data) for name, data in described.items()}


def executor_of(name: str, data: Mapping[str, Any], tunnels: TunnelPool | None = None) -> Executor:
    """Return the executor that is made from data.

    Args:
        name: What jobs call it.
        data: Its `type`, and what its constructor takes.
        tunnels: Lends connections that other executors have, too; it has its own if None.

    Raises:
        ConfigInvalid: A field does not fit.
        ExtraMissing: It needs a package that is not installed.
        UsageError: The fields do not fit together.
    """
    described: Any = config.executor_config(data, name)
    fields = config.fields_of(described)
    for key, value in (("name", name), ("tunnels", tunnels)):
        if key in fields and value is not None:
            described[key] = value
    made: Executor = described.build()
    if made.name != name:
        made.name = name
    return made
