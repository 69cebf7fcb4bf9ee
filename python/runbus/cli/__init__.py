"""The command line: `runbus`, and any typed function as a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.cli._entrypoint import entrypoint as entrypoint
    from runbus.cli._entrypoint import main as main
    from runbus.cli._entrypoint import run_entrypoint as run_entrypoint
    from runbus.cli._factories import factory as factory

__all__ = ["entrypoint", "factory", "main", "run_entrypoint"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._entrypoint": ("entrypoint", "main", "run_entrypoint"),
        "._factories": ("factory",),
    },
)
