"""The hooks of plugins in a worker process: around its life, and around every function."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from runbus import codec
from runbus.errors import FieldInvalid
from runbus.events import InstanceInfo
from runbus.plugins._check import wish_of
from runbus.plugins._hook_calls import Entries, decorated
from runbus.plugins._order import check_names, place_all
from runbus.plugins._travel import plugin_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runbus.errors import HookError
    from runbus.plugins._plugin import Plugin
    from runbus.plugins._travel import PluginData

__all__ = ["INSTANCE", "WorkerHooks", "instance_info", "worker_process"]

R = TypeVar("R")

INSTANCE = "RUNBUS_INSTANCE"
"""The variable that tells a process which worker it is, as JSON."""

LEAVE_S = 30.0
"""How long the hooks of a process may take to be left, in seconds."""


def instance_info() -> InstanceInfo:
    """Return which worker this process is: what `RUNBUS_INSTANCE` says, or the only one there is.

    Raises:
        FieldInvalid: The variable says something else.
    """
    said = os.environ.get(INSTANCE)
    if not said:
        return InstanceInfo()
    try:
        return codec.decode_json(said, InstanceInfo)
    except codec.DecodeError as error:
        raise FieldInvalid(INSTANCE, repr(said), str(error)) from error


class WorkerHooks:
    """What the plugins of one worker process wrap.

    `around_app` of every plugin is entered in order before the first task, once in each process: a
    child that is forked is another. Tasks that begin meanwhile, in other threads, wait for that. If
    one fails, those before it are left, the task fails, and the next one tries again.

    Args:
        plugins: The plugins.
        info: The process; what `instance_info` says if None.

    Raises:
        DuplicatePlugin: Two have one name.
        OrderCycle: They want to come before and after each other.
    """

    def __init__(self, plugins: Sequence[Plugin], info: InstanceInfo | None = None) -> None:
        wishes = [wish_of(plugin) for plugin in plugins]
        check_names(wishes)
        named = {plugin.name: plugin for plugin in plugins}
        self.plugins = [named[place.name] for place in place_all(wishes)]
        self.info = instance_info() if info is None else info
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._entries = Entries(self.info.place)
        self._is_entered = self._is_entering = False

    def enter(self) -> None:
        """Enter `around_app` of every plugin, unless that is done. Blocks as long as they do.

        Raises:
            HookError: One failed.
        """
        if self._is_entered:
            return
        with self._lock:
            if not self._is_entering:
                self._enter_all()

    def _enter_all(self) -> None:
        # A hook that runs a task itself, in this thread, finds what is entered so far.
        self._is_entering = True
        try:
            if not self._is_entered:
                for plugin in self.plugins:
                    if plugin.around_app is not None:
                        make = partial(plugin.around_app, self.info)
                        self._entries.enter(plugin.name, "around_app", make)
                self._is_entered = True
        finally:
            self._is_entering = False

    def wrapped(self, fn: Callable[..., R]) -> Callable[..., R]:
        """Return a function as the plugins wrap it: the first plugin's decorator is outermost.

        They wrap it when it is called, after `around_app` of all was entered. With a `partial` they
        wrap the function in it, and see its arguments.

        Raises:
            HookError: When it is called: a plugin failed.
        """
        inner: Any = fn
        args: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        while isinstance(inner, partial):
            inner, args, named = inner.func, (*inner.args, *args), {**inner.keywords, **named}

        @wraps(inner)
        def call(*more: Any, **others: Any) -> R:
            self.enter()
            run: Callable[..., Any] = inner
            for plugin in reversed(self.plugins):
                if plugin.decorate is not None:
                    run = decorated(plugin.name, plugin.decorate, run, self.info.place)
            result: R = run(*args, *more, **{**named, **others})
            return result

        return call

    def close(self) -> list[HookError]:
        """Leave what was entered in this process, in reverse order, whatever fails.

        Returns:
            What went wrong.
        """
        with self._lock:
            self._is_entered = False
            return self._entries.leave()


_alive: weakref.WeakSet[WorkerHooks] = weakref.WeakSet()


def _forget() -> None:
    """Begin anew in a child: what the parent has entered is the parent's to leave."""
    for hooks in list(_alive):
        hooks._begin()


os.register_at_fork(after_in_child=_forget)


class Terminated(SystemExit):
    """Unwinds the stack of a process that was sent SIGTERM, so that its hooks are left."""


@contextmanager
def worker_process(
    data: Sequence[PluginData], *, leave_s: float = LEAVE_S
) -> Iterator[WorkerHooks]:
    """Have plugins in this process, until it ends by itself or by SIGTERM.

    A hook that cannot be left is reported on stderr, and so is one that takes too long: the process
    then ends without it.

    Args:
        data: The plugins as data.
        leave_s: How long the hooks may take to be left, in seconds.

    Raises:
        PluginError: One cannot be made here, or two have one name.
        ConfigInvalid: The data of one does not fit.
        FieldInvalid: The process was told nonsense about itself.
    """
    hooks = WorkerHooks([plugin_from(one) for one in data])
    was_told = _on_term()
    code = 1
    try:
        yield hooks
        code = 0
    except Terminated:
        code = 128 + signal.SIGTERM
        raise
    finally:
        _leave(hooks, code, leave_s)
        if was_told():
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGTERM)


def _on_term() -> Callable[[], bool]:
    """Have SIGTERM unwind the stack; return what tells whether it came, and undoes this.

    Nothing changes where a program has a way of its own to end.
    """
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    came = False

    def unwind(*about: Any) -> NoReturn:
        nonlocal came
        came = True
        # One is enough: the hooks must not be cut off while they are left.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated(128 + signal.SIGTERM)

    if is_ours:
        signal.signal(signal.SIGTERM, unwind)

    def was_told() -> bool:
        if is_ours and (came or signal.getsignal(signal.SIGTERM) is unwind):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return came

    return was_told


def _leave(hooks: WorkerHooks, code: int, limit_s: float) -> None:
    def cut_off() -> None:
        sys.stderr.write(f"error: plugins were not left within {limit_s:g} s: the process ends\n")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)

    timer = threading.Timer(limit_s, cut_off)
    timer.daemon = True
    timer.start()
    try:
        for failure in hooks.close():
            sys.stderr.write(f"error: while the process ended: {failure}\n")
    finally:
        timer.cancel()
