"""What errors of asyncssh and the operating system mean, in the words of this package."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncssh

from runbus.errors import (
    ConnectionLost,
    HostError,
    LoginRefused,
    RemoteFailed,
    RunbusError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["mapped"]


@contextmanager
def mapped(host: str, is_alive: Callable[[], bool]) -> Iterator[None]:
    """Turn what asyncssh and the operating system raise into errors of this package.

    Args:
        host: What the machine is called.
        is_alive: Whether there is still a connection to it.
    """
    try:
        yield
    except (RunbusError, asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
        raise
    except (asyncssh.Error, OSError, ValueError) as error:
        raise _translated(error, host, alive=is_alive()) from error


def _translated(error: Exception, host: str, *, alive: bool) -> Exception:
    reason = _reason(error)
    for kinds, ours in _meanings():
        if isinstance(error, kinds):
            return ours(host, reason)
    if isinstance(error, (asyncssh.SFTPNoSuchFile, FileNotFoundError)):
        return FileNotFoundError(reason)
    if isinstance(error, (asyncssh.ConfigParseError, ValueError)):
        return UsageError(f"the SSH settings of {host} cannot be used: {error}")
    if isinstance(error, asyncssh.ChannelOpenError) and alive:
        # The machine is there and says no: too many sessions, or nothing listens at that port.
        return RemoteFailed(host, reason)
    return ConnectionLost(host, "no answer in time" if isinstance(error, TimeoutError) else reason)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and number and number > 0:
        return os.strerror(number).lower()
    told = getattr(error, "reason", "") or getattr(error, "strerror", "") or error
    return str(told).lower() or type(error).__name__


def _meanings() -> tuple[tuple[tuple[type[Exception], ...], Callable[[str, str], HostError]], ...]:
    """Return what an error is, whatever else is known. The first that fits holds."""
    return (
        ((asyncssh.PermissionDenied, asyncssh.KeyImportError), LoginRefused),
        (
            (asyncssh.SFTPBadMessage, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection),
            ConnectionLost,
        ),
        (
            (asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure, asyncssh.ProcessError),
            RemoteFailed,
        ),
    )
