"""Calls of managed plugins that hang are given up soon, and all others have all their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.plugins import _managed_life
from runbus.plugins._blocking import call_blocking

if TYPE_CHECKING:
    import pytest

__all__ = ["give_up_soon"]


def give_up_soon(monkeypatch: pytest.MonkeyPatch, plugin: str, doing: str) -> None:
    """Give one method of one plugin 50 ms; all others have longer than a machine stalls."""
    hanging = (plugin, doing)

    async def call(*args: Any, plugin: str, doing: str, limit_s: float = 40.0) -> Any:
        if (plugin, doing) == hanging:
            limit_s = 0.05
        return await call_blocking(*args, plugin=plugin, doing=doing, limit_s=limit_s)

    monkeypatch.setattr(_managed_life, "call_blocking", call)
