"""What runs jobs: one module a backend. Names are imported on use, so unused ones cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.executors._lent import TunnelPool as TunnelPool
    from runbus.executors._paths import expanded as expanded
    from runbus.executors._paths import marked as marked
    from runbus.executors._shell import quote as quote
    from runbus.executors.local import LocalExecutor as LocalExecutor
    from runbus.executors.ssh import SSHExecutor as SSHExecutor

__all__ = [
    "LocalExecutor",
    "SSHExecutor",
    "TunnelPool",
    "expanded",
    "marked",
    "quote",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._lent": ("TunnelPool",),
        "._paths": ("expanded", "marked"),
        "._shell": ("quote",),
        ".local": ("LocalExecutor",),
        ".ssh": ("SSHExecutor",),
    },
)
