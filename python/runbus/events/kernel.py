"""Facts and requests about a kernel's own life."""

from __future__ import annotations

from runbus.events._event import Notify, Teardown

__all__ = ["KernelStarted", "KernelStopping", "Shutdown", "TraceStopped"]


class KernelStarted(Notify, frozen=True, kw_only=True, tag="kernel.started"):
    """Every plugin is set up.

    Attributes:
        plugins: Names of the plugins, in their order.
    """

    plugins: tuple[str, ...]


class KernelStopping(Notify, frozen=True, gc=False, kw_only=True, tag="kernel.stopping"):
    """The kernel begins to stop; only `publish` and `emit` still work.

    Attributes:
        reason: Why, in words; empty where the body of the kernel simply ended.
        budget_s: How long all of the stop may take, in seconds.
    """

    reason: str = ""
    budget_s: float = 0.0


class Shutdown(Teardown, frozen=True, gc=False, kw_only=True, tag="kernel.shutdown"):
    """Asks each plugin to bring its work to an end, in reverse order.

    Mailboxes still take events and are read to the end afterwards; background tasks still run.

    Attributes:
        reason: Why, in words; empty where the body of the kernel simply ended.
        budget_s: How long all handlers together may take, in seconds.
    """

    reason: str = ""
    budget_s: float = 0.0


class TraceStopped(Notify, frozen=True, gc=False, kw_only=True, tag="trace.stopped"):
    """The trace could not be written any more and was given up; nothing else is affected.

    Published once.

    Attributes:
        path: The trace file.
        error: Why, in words.
    """

    path: str
    error: str
