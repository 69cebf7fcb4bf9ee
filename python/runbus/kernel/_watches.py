"""What watches a kernel while it runs: its trace, the signals of the process, the watchdog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.events import TraceStopped
from runbus.kernel._watchdog import LagWatchdog

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from runbus.bus import Bus, TraceWriter
    from runbus.events import Notify
    from runbus.kernel._signals import SignalWatch

__all__ = ["Watches"]


class Watches:
    """Opened before the plugins are set up, and closed after the last of them.

    Args:
        bus: The bus of the kernel.
        trace: The file of the trace, if there is to be one.
        payloads: Whether events of streams are written whole, too.
        tell: Publishes that the trace was given up.
    """

    def __init__(
        self,
        bus: Bus,
        trace: str | os.PathLike[str] | None,
        *,
        payloads: bool,
        tell: Callable[[Notify], object],
    ) -> None:
        self._bus = bus
        self._path = trace
        self._payloads = payloads
        self._tell = tell
        self._trace: TraceWriter | None = None
        self._signals: SignalWatch | None = None
        self._watchdog: LagWatchdog | None = None

    def open(self, signals: SignalWatch | None) -> None:
        """Begin to watch; on failure, what was opened is closed again.

        Raises:
            OSError: The trace cannot be written.
            RuntimeError: Signals were asked for outside of the main thread.
        """
        try:
            if self._path is not None:
                from runbus.bus import TraceWriter  # loads codec and hashlib

                self._trace = TraceWriter(
                    self._path,
                    self._bus.timers,
                    payloads=self._payloads,
                    on_stop=self._trace_stopped,
                )
                self._bus.add_tap(self._trace)
            if signals is not None:
                self._signals = signals
                signals.open()
            self._watchdog = LagWatchdog(self._bus)
            self._watchdog.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Watch no more; twice is safe."""
        if self._watchdog is not None:
            self._watchdog.close()
        if self._signals is not None:
            self._signals.close()
        if self._trace is not None:
            self._trace.close()

    def flush(self) -> None:
        """Write what was traced by now."""
        if self._trace is not None:
            self._trace.flush()

    def _trace_stopped(self, trace: TraceWriter) -> None:
        self._bus.remove_tap(trace)
        if not self._bus.is_closed:
            self._tell(TraceStopped(path=trace.path, error=str(trace.error)))

    @property
    def signal(self) -> int | None:
        """The signal that stopped the kernel; None if none did."""
        return self._signals.received if self._signals is not None else None

    @property
    def lag_s(self) -> float:
        """How long the event loop took to answer last, in seconds."""
        return self._watchdog.lag_s if self._watchdog is not None else 0.0

    @property
    def blocked(self) -> int:
        """How often the event loop was blocked for more than a second."""
        return self._watchdog.blocked if self._watchdog is not None else 0
