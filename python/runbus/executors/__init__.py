"""What runs jobs: one module a backend. Names are imported on use: nobody pays for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.executors.local import LocalExecutor as LocalExecutor
    from runbus.executors.ssh import SSHExecutor as SSHExecutor

__all__ = ["LocalExecutor", "SSHExecutor"]

_HOMES = {"LocalExecutor": "local", "SSHExecutor": "ssh"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'runbus.executors' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(
        importlib.import_module(f"runbus.executors.{_HOMES[name]}"), name
    )
    return value
