"""Extensions that live as long as their process."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from runbus.errors import FieldInvalid, PluginStuck
from runbus.plugins._extension import Extension

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.plugins._extension_life import ExtensionLife

__all__ = ["in_time", "is_within", "register_plugin", "unregister_plugin"]

logger = logging.getLogger("runbus.plugins")

END_S = 5.0
"""How long a process that ends waits for all of them."""


def register_plugin(plugin: Extension, *, origin: str = "") -> None:
    """Initialize and register an extension for the rest of this process. Blocking.

    What it brings can be used by name; its `cleanup` is called when the process ends. To repeat
    that for the same object is harmless.

    Args:
        plugin: The extension.
        origin: Who brings it, in words; its name if empty.

    Raises:
        FieldInvalid: It is no extension.
        HookError: It raised something; it was cleaned up, and nothing of it is registered.
        PluginStuck: It took longer than its `begin_s`; as above.
    """
    if not isinstance(plugin, Extension):
        raise FieldInvalid("plugin", repr(plugin)[:100], "expected an object of an Extension")
    from runbus.plugins._extension_life import BEGIN, ExtensionLife  # loads asyncio

    with _living.lock:
        if plugin in _living.lives:
            return
        life = ExtensionLife(plugin, origin=origin)
        try:
            in_time(life.begin, plugin=plugin.name, doing=BEGIN, limit_s=plugin.begin_s)
        except BaseException as error:
            try:
                in_time(life.end, plugin=plugin.name, doing="cleanup", limit_s=plugin.cleanup_s)
            except Exception as another:  # of a plugin: what failed first is told
                error.add_note(f"and {another}")
            raise
        _living.add(plugin, life)


def unregister_plugin(plugin: Extension) -> None:
    """Take back what `register_plugin` did, and clean up; nothing happens if it did nothing.

    Raises:
        HookError: Its `cleanup` raised something.
        PluginStuck: Its `cleanup` took longer than its `cleanup_s`.
    """
    with _living.lock:
        life = _living.lives.pop(plugin, None)
    if life is not None:
        in_time(life.end, plugin=plugin.name, doing="cleanup", limit_s=plugin.cleanup_s)


class _Living:
    """The lives that end with this process."""

    def __init__(self) -> None:
        # Held while an extension begins: what it does with another thread must not come back here.
        self.lock = threading.RLock()
        self.lives: dict[Extension, ExtensionLife] = {}
        self._pid = 0

    def add(self, plugin: Extension, life: ExtensionLife) -> None:
        """Keep a life that has begun, to end it with the process."""
        self.lives[plugin] = life
        if self._pid != os.getpid():  # in a process that was forked, only what it began itself
            self._pid = os.getpid()
            told, done = threading.Event(), threading.Event()
            # Started now: when the interpreter ends, it starts no thread any more.
            threading.Thread(
                target=self._end_when, args=(told, done), name="runbus cleanup", daemon=True
            ).start()
            atexit.register(self._at_exit, self._pid, told, done)

    def _at_exit(self, pid: int, told: threading.Event, done: threading.Event) -> None:
        if pid == os.getpid():
            told.set()
            if not done.wait(END_S):
                logger.warning("plugins were left behind: a cleanup took longer than %g s", END_S)

    def _end_when(self, told: threading.Event, done: threading.Event) -> None:
        told.wait()
        while self.lives:
            _, life = self.lives.popitem()  # the newest first
            try:
                life.end()
            except Exception as error:  # of a plugin: the others are to be cleaned up, too
                logger.warning("%s", error)
        done.set()


_living = _Living()

_thread = threading.local()


def is_within() -> bool:
    """Whether the code of a plugin is running, which `in_time` has called."""
    return getattr(_thread, "is_within", False)


def in_time(
    function: Callable[..., Any], *args: Any, plugin: str, doing: str, limit_s: float
) -> Any:
    """Call blocking code of a plugin in a thread, and leave it behind if it takes too long.

    Raises:
        PluginStuck: It took too long.
    """
    found: list[Any] = []
    raised: list[BaseException] = []

    def call() -> None:
        _thread.is_within = True
        try:
            found.append(function(*args))
        except BaseException as error:  # an import, say, may call sys.exit()
            raised.append(error)

    thread = threading.Thread(target=call, name=f"{plugin}: {doing}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        raise PluginStuck(plugin, doing, limit_s)
    if raised:
        raise raised[0]
    return found[0]
