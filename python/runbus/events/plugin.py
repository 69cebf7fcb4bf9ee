"""Facts about plugins and their handlers. All are published by the kernel or its bus."""

from __future__ import annotations

from runbus.events._event import Notify

__all__ = [
    "HandlerFailed",
    "PluginFailed",
    "PluginQuarantined",
    "PluginReleased",
    "PluginStarted",
    "PluginStopped",
]


class HandlerFailed(Notify, frozen=True, gc=False, kw_only=True, tag="handler.failed"):
    """A handler of a notification failed; the other handlers were called all the same.

    Failures of this event's own handlers are only logged.

    Attributes:
        plugin: Whose handler it is.
        handler: Its name.
        event: Name of the event class it was called with.
        seq: Number of the event it was called with.
        error: The error, as `Type: text`.
        failures: How many times in a row this handler has failed now.
    """

    plugin: str
    handler: str
    event: str
    seq: int
    error: str
    failures: int


class PluginQuarantined(Notify, frozen=True, gc=False, kw_only=True, tag="plugin.quarantined"):
    """A handler failed too often in a row, so its plugin gets no more notifications.

    `kernel.release(plugin)` undoes it.

    Attributes:
        plugin: Name of the plugin.
        handler: The handler that failed.
        error: Its last error, as `Type: text`.
        failures: How many times in a row it failed.
    """

    plugin: str
    handler: str
    error: str
    failures: int


class PluginReleased(Notify, frozen=True, gc=False, kw_only=True, tag="plugin.released"):
    """A quarantined plugin gets notifications again.

    Attributes:
        plugin: Name of the plugin.
    """

    plugin: str


class PluginStarted(Notify, frozen=True, gc=False, kw_only=True, tag="plugin.started"):
    """A plugin was set up while the kernel was already running.

    Attributes:
        plugin: Name of the plugin.
        took_s: How long its set-up took, in seconds.
    """

    plugin: str
    took_s: float


class PluginStopped(Notify, frozen=True, gc=False, kw_only=True, tag="plugin.stopped"):
    """A plugin was closed while the kernel continues running.

    Attributes:
        plugin: Name of the plugin.
        reason: Why, in words.
    """

    plugin: str
    reason: str = ""


class PluginFailed(Notify, frozen=True, gc=False, kw_only=True, tag="plugin.failed"):
    """A plugin cannot continue: a background task of it died. It is closed, with its dependants.

    Attributes:
        plugin: Name of the plugin.
        task: The task that died.
        error: Its error, as `Type: text`.
    """

    plugin: str
    task: str
    error: str
