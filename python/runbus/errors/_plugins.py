"""Plugins."""

from __future__ import annotations

from runbus.errors._hints import did_you_mean
from runbus.errors._root import RunbusError


class PluginError(RunbusError):
    """A plugin failed, or cannot be used."""


class HookError(PluginError):
    """A plugin failed while it was being called; the cause, where there is one, is `__cause__`.

    Attributes:
        plugin: Whose code failed.
        hook: The hook, such as `transform`; or the handler, `setup`, or `close`.
        event: Name of the event class; empty where no event was dispatched.
        problem: What happened, as the end of a sentence that starts with the plugin.
        place: Where: `client`, or a worker process such as `node 0, worker 1`; empty in a kernel.
    """

    plugin: str
    hook: str
    event: str
    problem: str
    place: str = ""

    def __str__(self) -> str:
        of = f" for {self.event}" if self.event else ""
        at = f" on {self.place}" if self.place and self.place != "client" else ""
        return f"plugin {self.plugin!r}: {self.hook}{of}{at} {self.problem}"


class HandlerTimeout(PluginError):
    """A handler took longer than it may, and was cancelled.

    Attributes:
        plugin: Whose handler it is.
        handler: Its name.
        event: Name of the event class; empty where no event was dispatched.
        timeout_s: How long it may take, in seconds.
    """

    plugin: str
    handler: str
    event: str
    timeout_s: float

    def __str__(self) -> str:
        of = f" for {self.event}" if self.event else ""
        return f"plugin {self.plugin!r}: {self.handler}{of} took longer than {self.timeout_s:g} s"


class HandlerCancelled(PluginError):
    """A handler raised a cancellation although nobody had cancelled its task.

    Attributes:
        plugin: Whose handler it is.
        handler: Its name.
        event: Name of the event class.
    """

    plugin: str
    handler: str
    event: str

    def __str__(self) -> str:
        return (
            f"plugin {self.plugin!r}: {self.handler} for {self.event} raised CancelledError, "
            "though nobody cancelled it"
        )


class PluginCrashed(HookError):
    """A background task of a plugin died; the cause is `__cause__`."""

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.hook

    def __str__(self) -> str:
        return f"plugin {self.plugin!r}: its task {self.hook} died: {self.problem}"


class PluginStuck(PluginError):
    """A plugin would not stop in its time, not even when cancelled; it was left behind.

    Attributes:
        plugin: Which plugin.
        doing: What it was doing.
        waited_s: How long it was waited for, in seconds.
    """

    plugin: str
    doing: str
    waited_s: float

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} was left behind after {self.waited_s:g} s: {self.doing}"


class MissingPlugin(PluginError):
    """A plugin requires one that is not there.

    Attributes:
        plugin: The plugin that requires.
        required: The name that it requires.
        similar: Names that are there and look alike.
    """

    plugin: str
    required: str
    similar: tuple[str, ...]

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} requires {self.required!r}, which is not there"

    @property
    def hint(self) -> str | None:
        return did_you_mean(self.similar) or f"add {self.required!r} to the plugins of the kernel"


class OrderCycle(PluginError):
    """Plugins want to come before and after each other.

    Attributes:
        path: The names around the circle; the first is repeated at the end.
        edges: For each step, who declared it and how, such as `b says after=('a',)`.
    """

    path: tuple[str, ...]
    edges: tuple[str, ...]

    def __str__(self) -> str:
        return f"plugins in a circle: {' < '.join(self.path)} ({'; '.join(self.edges)})"

    @property
    def hint(self) -> str | None:
        return "remove one of these declarations"


class DuplicatePlugin(PluginError):
    """Two plugins have one name.

    Attributes:
        plugin: The name.
    """

    plugin: str

    def __str__(self) -> str:
        return f"two plugins are named {self.plugin!r}"

    @property
    def hint(self) -> str | None:
        return "give one of them another name"


class InvalidPlugin(PluginError):
    """What was given as a plugin is not one.

    Attributes:
        what: What was given.
        problem: What it lacks, as the end of a sentence that starts with it.
    """

    what: str
    problem: str

    def __str__(self) -> str:
        return f"{self.what} is not a plugin: it {self.problem}"

    @property
    def hint(self) -> str | None:
        return "a plugin has a `name` and `async def setup(self, scope)`"


class PluginNotFound(PluginError):
    """No plugin has that name.

    Attributes:
        plugin: The name.
        similar: Names that exist and look alike.
        unread: Folders and files in which plugins were not looked for, with the reason.
    """

    plugin: str
    similar: tuple[str, ...]
    unread: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"there is no plugin named {self.plugin!r}"

    @property
    def hint(self) -> str | None:
        unread = f"not read: {'; '.join(self.unread)}" if self.unread else None
        return "; ".join(filter(None, (did_you_mean(self.similar), unread))) or None


class PluginDenied(PluginError):
    """A plugin is switched off; nothing of it was imported.

    Attributes:
        plugin: The name.
        reason: What switches it off.
    """

    plugin: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} is switched off: {self.reason}"


class PluginNotLoadable(PluginError):
    """An installed plugin cannot be imported, made or used with this version.

    Attributes:
        plugin: Name of its entry point.
        entry_point: What the entry point refers to, such as `package.module:Name`.
        distribution: Name and version of what installed it; empty where unknown.
        problem: Why it cannot be used.
    """

    plugin: str
    entry_point: str
    distribution: str
    problem: str

    def __str__(self) -> str:
        source = f" of {self.distribution}" if self.distribution else ""
        return f"plugin {self.plugin!r} ({self.entry_point}{source}): {self.problem}"
