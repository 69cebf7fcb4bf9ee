"""Requests to the plugins that bring executors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.events._event import First

if TYPE_CHECKING:
    from runbus.abc import Executor  # noqa: F401 (named as text below: it stands higher)

__all__ = ["ResolveExecutor"]


class ResolveExecutor(
    First["Executor"], frozen=True, gc=False, kw_only=True, tag="executor.resolve"
):
    """Asks who runs jobs under a name. The plugin of that executor answers with it.

    Attributes:
        name: What the executor is called, for example "local".
    """

    name: str
