"""Ports that stay free until a server of a test listens there, and whether it does."""

from __future__ import annotations

import random
import socket

__all__ = ["free_ports", "listens"]

_PORTS = range(10_000, 20_000)
"""Not of those that the system gives to outgoing connections, nor of those at which jobs meet."""


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return ports at which nobody listens, and which nobody is given who asks for any port.

    Raises:
        OSError: There are not that many.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as one:
            try:
                one.bind((address, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"{len(found)} of {count} ports are free at {address}")


def listens(at: int | str) -> bool:
    """Whether something listens at a port of this machine, or at a socket.

    That a socket is there does not say so: it is made before it is listened to.

    Args:
        at: The port, or the path of the socket.
    """
    family, address = (
        (socket.AF_INET, ("127.0.0.1", at)) if isinstance(at, int) else (socket.AF_UNIX, at)
    )
    with socket.socket(family) as one:
        return one.connect_ex(address) == 0
