"""How bytes reach a machine. Names are imported on use: SSH costs what asyncssh costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.transports.local import LocalTunnel as LocalTunnel
    from runbus.transports.ssh import SSHTunnel as SSHTunnel

__all__ = ["LocalTunnel", "SSHTunnel"]

_HOMES = {"LocalTunnel": "local", "SSHTunnel": "ssh"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'runbus.transports' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(
        importlib.import_module(f"runbus.transports.{_HOMES[name]}"), name
    )
    return value
