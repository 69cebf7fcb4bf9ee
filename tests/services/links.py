"""Machines at the end of real links that a test can break: a network namespace each."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runbus.testing.sshd import Sshd, make_user_key

_NOWHERE = "02:00:00:00:00:01"
"""A hardware address that nobody has: what is sent there is gone, and nobody says so."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=120)


class Link:
    """A host with sshd, at the far end of a link from where runbus is.

    Attributes:
        sshd: What listens there.
    """

    def __init__(self, here: str, folder: Path, number: int, stack: ExitStack) -> None:
        self._here, self._there = here, f"{here}{number}"
        self._near, self._address = f"192.0.2.{4 * number + 1}", f"192.0.2.{4 * number + 2}"
        self._device = f"to{number}"
        ip("netns", "add", self._there)
        stack.callback(ip, "netns", "del", self._there)
        ip("link", "add", self._device, "netns", here,
           "type", "veth", "peer", "name", "wire", "netns", self._there)  # fmt: skip
        for place, device, address in (
            (here, self._device, self._near),
            (self._there, "wire", self._address),
        ):
            ip("-n", place, "addr", "add", f"{address}/30", "dev", device)
            ip("-n", place, "link", "set", "dev", device, "up")
        within = ("ip", "netns", "exec", self._there)
        self.sshd = Sshd(folder, number, address=self._address, within=within)
        stack.callback(self.sshd.stop)
        self.sshd.start()

    def cut(self) -> None:
        """Pull the plug."""
        ip("-n", self._there, "link", "set", "dev", "wire", "down")

    def drop_answers(self) -> None:
        """Lose whatever the host sends; what is sent to it arrives."""
        neighbour = ("neigh", "replace", self._near, "lladdr", _NOWHERE)
        ip("-n", self._there, *neighbour, "nud", "permanent", "dev", "wire")

    def drop_requests(self) -> None:
        """Lose whatever is sent to the host."""
        neighbour = ("neigh", "replace", self._address, "lladdr", _NOWHERE)
        ip("-n", self._here, *neighbour, "nud", "permanent", "dev", self._device)

    def mend(self) -> None:
        """Undo all of these."""
        ip("-n", self._there, "link", "set", "dev", "wire", "up")
        for place, device in ((self._here, self._device), (self._there, "wire")):
            ip("-n", place, "neigh", "flush", "nud", "permanent", "dev", device)


class Network:
    """Links, and the place from which they lead.

    Attributes:
        links: The links.
    """

    def __init__(self, folder: Path, count: int, stack: ExitStack) -> None:
        self._here = f"runbus{os.urandom(4).hex()}x"
        ip("netns", "add", self._here)
        stack.callback(ip, "netns", "del", self._here)
        self.links = [Link(self._here, folder, number, stack) for number in range(1, count + 1)]

    def command(self, *words: str) -> list[str]:
        """Return a command that runs another from where the links can be reached."""
        return ["ip", "netns", "exec", self._here, *words]


@contextmanager
def network(folder: Path, count: int) -> Iterator[Network]:
    """Make `count` hosts with links to them; all is gone after the block.

    Args:
        folder: An empty folder for keys and logs.
        count: How many.
    """
    make_user_key(folder)
    with ExitStack() as stack:
        yield Network(folder, count, stack)
