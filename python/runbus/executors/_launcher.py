"""The process that starts wrappers: the wrapper program, loaded once.

To start a program of its own for each job costs the machine more than such a job may, and this
process stands still until it is loaded. `rust/runbus-wrap/src/launcher.rs` describes what is
written to the socket between the two.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from runbus.attempt import spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Launcher", "LauncherLost"]

logger = logging.getLogger("runbus.executors")

PATIENCE_S = 20.0
"""After so long a launcher that does not answer is killed, and wrappers are started here."""

_TOLD = struct.Struct("<IIi")
_STARTED, _FAILED, _ENDED = range(3)
_PIECE = 64 << 10


class LauncherLost(Exception):
    """The launcher is gone: whether the wrapper was started is not known."""


class Launcher:
    """Starts wrappers by way of a process, and hears from it of their ends; for one event loop.

    It is loaded while this process goes on. Wrappers inherit what it was started with: limits,
    umask, niceness, control group. Made in the thread of the loop; call `close` there, too.

    Args:
        program: The wrapper program.
        when_ended: Called with the pid of a wrapper that has ended, and its exit status as `wait`
            gives it.
        when_lost: Called with the pids of the wrappers whose ends will not be reported any more.
        patience_s: How long it may say nothing while it is asked, in seconds.

    Attributes:
        alive: The pids of the wrappers that it has started, and that have not ended.
        is_lost: Whether it starts no more wrappers.

    Raises:
        OSError: There are not enough files for it.
    """

    def __init__(
        self,
        program: str,
        when_ended: Callable[[int, int], None],
        when_lost: Callable[[list[int]], None],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._when_ended = when_ended
        self._when_lost = when_lost
        self._patience_s = patience_s
        self._ids = itertools.count()
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._pids: dict[int, int] = {}
        self.alive: set[int] = set()
        self._cut = b""
        self._heard = 0
        self._packed: tuple[Mapping[bytes, bytes], bytes] = {}, _number(0)
        self._turn, self._sending = asyncio.Lock(), 0
        self._patience: asyncio.TimerHandle | None = None
        self.is_lost = False
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                # A wrapper gets the variables of its job, and no others.
                self._process = spawn((program, "launch"), {}, stdin=theirs.fileno())
            except BaseException:
                self._socket.close()
                raise
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._hear)

    @property
    def pid(self) -> int:
        """The process; waits until it is loaded.

        Raises:
            OSError: It cannot be run, or there were not enough processes for it.
        """
        return self._process.wait()

    @property
    def has_begun(self) -> bool:
        """Whether it could be run, and there were enough processes; waits until it is loaded."""
        try:
            self._process.wait()
        except OSError:
            return False
        return True

    async def start(
        self, folder: str, files: Mapping[str, bytes], environment: Mapping[bytes, bytes]
    ) -> int:
        """Start the wrapper of an attempt and return its pid.

        Cancelled, it may be started all the same.

        Args:
            folder: The attempt's folder.
            files: What is written into it before, each file whole.
            environment: The variables of the wrapper.

        Raises:
            LauncherLost: The launcher is gone, or does not answer; the wrapper may be running.
            OSError: It cannot be started, or a file cannot be written.
        """
        number = next(self._ids)
        answer: asyncio.Future[int] = self._loop.create_future()
        self._asked[number] = answer
        self._have_patience()
        try:
            await self._send(self._request(number, folder, files, environment))
            return await answer
        except ConnectionError as error:
            self._lose()
            raise LauncherLost from error
        finally:
            self._asked.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # asyncio complains of what nobody looks at

    async def _send(self, asked: bytes) -> None:
        """Write to the socket, after what others write.

        Raises:
            LauncherLost: The launcher is gone.
            ConnectionError: It goes.
        """
        if self.is_lost:
            raise LauncherLost
        if not self._sending:
            with suppress(BlockingIOError):
                asked = asked[self._socket.send(asked) :]
            if not asked:
                return
        self._sending += 1
        try:
            async with self._turn:
                if self.is_lost:
                    raise LauncherLost
                await self._loop.sock_sendall(self._socket, asked)
        finally:
            self._sending -= 1
            self._close_socket()

    def _have_patience(self) -> None:
        """Give the launcher its time to say something: it may have others to start first."""
        if self._patience is None:
            self._patience = self._loop.call_later(self._patience_s, self._look, self._heard)

    def _look(self, heard: int) -> None:
        """Give up a launcher that was asked something, and has said nothing for all its time."""
        self._patience = None
        if self._asked and self._heard == heard:
            self._lose()
        elif self._asked:
            self._have_patience()

    def close(self) -> None:
        """End the launcher, not the wrappers; safe to repeat."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._patience is not None:
            self._patience.cancel()
        self._loop.remove_reader(self._socket)
        with suppress(OSError):
            # Those who still write hear of it. The loop must not find another file in its place.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._close_socket()
        with suppress(OSError):  # it never began, or somebody else has seen its end
            pid = self.pid
            # It may have been stopped: then it would not see the end of the socket.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LauncherLost())
        left = list(self.alive)
        self.alive.clear()
        self._when_lost(left)

    def _close_socket(self) -> None:
        if self.is_lost and not self._sending:
            self._socket.close()

    def _lose(self) -> None:
        if not self.is_lost:
            if self.has_begun:
                logger.warning("the process that starts wrappers is gone: they start without it")
            self.close()

    def _request(
        self,
        number: int,
        folder: str,
        files: Mapping[str, bytes],
        environment: Mapping[bytes, bytes],
    ) -> bytes:
        if environment != self._packed[0]:
            # Most jobs have that of the one before.
            variables = [_text(name + b"=" + value) for name, value in environment.items()]
            self._packed = environment, _number(len(variables)) + b"".join(variables)
        contents = [_text(name.encode()) + _text(data) for name, data in files.items()]
        parts = (_number(number), _text(os.fsencode(folder)), _number(len(contents)), *contents)
        asked = b"".join((*parts, self._packed[1]))
        return _number(len(asked)) + asked

    def _hear(self) -> None:
        try:
            told = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            told = b""
        if not told:
            self._lose()
            return
        self._heard += 1
        told = self._cut + told
        whole = len(told) - len(told) % _TOLD.size
        self._cut = told[whole:]
        for number, what, value in _TOLD.iter_unpack(told[:whole]):
            self._take_in(number, what, value)

    def _take_in(self, number: int, what: int, value: int) -> None:
        answer = self._asked.get(number)
        if what == _STARTED:
            self._pids[number] = value
            self.alive.add(value)
            if answer is not None and not answer.done():
                answer.set_result(value)
        elif what == _FAILED:
            if answer is not None and not answer.done():
                answer.set_exception(OSError(value, os.strerror(value)))
        elif what == _ENDED:
            if (pid := self._pids.pop(number, None)) is not None:
                self.alive.discard(pid)
                self._when_ended(pid, value)
            elif answer is not None and not answer.done():
                # It was killed before it could say anything.
                answer.set_exception(LauncherLost())


def _number(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _text(text: bytes) -> bytes:
    return _number(len(text)) + text
