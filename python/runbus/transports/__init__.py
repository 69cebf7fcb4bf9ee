"""How bytes reach a machine. Names are imported on use: SSH costs what asyncssh costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.transports.local import LocalTunnel as LocalTunnel
    from runbus.transports.ssh import SSHTunnel as SSHTunnel

__all__ = ["LocalTunnel", "SSHTunnel"]

__getattr__, __dir__ = lazy_names(__name__, {".local": ("LocalTunnel",), ".ssh": ("SSHTunnel",)})
