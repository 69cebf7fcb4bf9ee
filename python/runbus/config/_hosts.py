"""Machines as people write them: `name`, `user@name`, `user@name:port`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.config._node import Path

__all__ = ["host_problems", "parse_host"]


def parse_host(text: str) -> tuple[str, str, int]:
    """Return the user, name and port of a machine; an empty user and port 0 for the usual ones.

    Raises:
        UsageError: The text names no machine.
    """
    user, _, rest = text.rpartition("@")
    name, _, port = rest.partition(":")
    if not name or (port and not (port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536)):
        raise UsageError(f"{text!r} is not a host: write name, user@name or user@name:port")
    return user, name, int(port or 0)


def host_problems(hosts: Any) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the texts among machines: which names none, or one a second time."""
    known: dict[tuple[str, str, int], int] = {}
    for index, host in enumerate(hosts if isinstance(hosts, (list, tuple)) else ()):
        if not isinstance(host, str):
            continue
        try:
            first = known.setdefault(parse_host(host), index)
        except UsageError as error:
            yield (index,), str(error)
            continue
        if first != index:
            yield (index,), f"{host!r} is host {first + 1}, too"
