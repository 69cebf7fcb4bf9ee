"""The port of collectors: what measures something now and then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Collector"]


class Collector(ABC):
    """Is asked for a sample on an interval; a plugin of a kernel by its base class.

    Blocking code belongs into a worker thread; `runbus.plugins.CollectorPlugin` is the base class
    that has it there. An error costs one sample, which is counted and shown by its health.

    Attributes:
        name: Unique among the plugins of a kernel; also the source of what it measures.
        requires: Names of plugins that must be there.
        interval_s: Seconds from one sample to the next.
        timeout_s: How long one sample may take.
    """

    name: str = ""
    requires: tuple[str, ...] = ()
    interval_s: float = 10.0
    timeout_s: float = 30.0

    async def open(self) -> None:  # noqa: B027 - few need it
        """Begin; called once, before the first sample."""

    @abstractmethod
    async def collect(self) -> Mapping[str, Any]:
        """Measure; return numbers, and what else there is, by name. May be nested.

        Names of nested values are joined with "/". Numbers become metrics, other values records.
        """

    async def close(self) -> None:  # noqa: B027
        """End; called once, after the last sample, and after a failed `open`."""

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the collector is well, and what there is to tell, within 2 seconds."""
        return True, {}
