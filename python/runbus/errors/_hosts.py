"""Hosts and the connections to them."""

from __future__ import annotations

from runbus.errors._root import RunbusError


class HostError(RunbusError):
    """A host could not be used.

    Attributes:
        host: Which one, as `user@name:port`.
        reason: What happened.
    """

    host: str
    reason: str

    def __str__(self) -> str:
        return f"host {self.host}: {self.reason}"


class ConnectionLost(HostError):
    """There is no connection to a host. A request that was sent may have been carried out."""

    retryable = True

    def __str__(self) -> str:
        return f"no connection to {self.host}: {self.reason}"


class Unreachable(ConnectionLost):
    """No connection to a host could be made: nothing was sent to it."""


class AnswerLost(ConnectionLost):
    """A request was sent to a host, and its answer never came: it may have been carried out."""

    def __str__(self) -> str:
        return f"no answer from {self.host}: {self.reason}"


class HttpRefused(HostError):
    """A server refused what it was asked over HTTP.

    Attributes:
        status: The status of its answer.
    """

    status: int

    def __str__(self) -> str:
        return f"{self.host}: {self.reason}"


class TokenRefused(HostError):
    """A server lets nobody in with the token that it was given.

    Attributes:
        reference: Where the token is; never the token itself.
    """

    reference: str

    def __str__(self) -> str:
        return f"{self.host} does not accept the token at {self.reference}: {self.reason}"

    @property
    def hint(self) -> str:
        return "put a new one there, as `scontrol token` prints it; it is read each time"


class ApiUnknown(HostError):
    """A server offers no version of its interface that is spoken here.

    Attributes:
        offered: The versions that it offers.
        known: The versions that are spoken, the newest first.
    """

    offered: tuple[str, ...]
    known: tuple[str, ...]

    def __str__(self) -> str:
        there, here = ", ".join(self.offered) or "none", ", ".join(self.known)
        return f"{self.host}: {self.reason}: it offers {there}, and runbus speaks {here}"


class HostKeyUnknown(HostError):
    """A host shows a key that no known_hosts file has; nothing was sent to it."""

    def __str__(self) -> str:
        return f"the key of {self.host} is not known: {self.reason}"

    @property
    def hint(self) -> str:
        return "compare the fingerprint with the host's own, then connect once with ssh to keep it"


class HostKeyRefused(HostError):
    """A host shows another key than the one that is known; nothing was sent to it."""

    def __str__(self) -> str:
        return f"the key of {self.host} has changed, or this is another machine: {self.reason}"

    @property
    def hint(self) -> str:
        return "only if the host was set up anew: ssh-keygen -R forgets the old key"


class LoginRefused(HostError):
    """A host let nobody in under that name with those keys."""

    def __str__(self) -> str:
        return f"cannot log in to {self.host}: {self.reason}"

    @property
    def hint(self) -> str:
        return "check the user, the identity file and the agent (ssh-add -l)"


class RemoteFailed(HostError):
    """A host did not do what it was asked, and said so."""


class ForwardFailed(HostError):
    """Nothing can be reached behind a forwarded port."""

    retryable = True

    def __str__(self) -> str:
        return f"the forward through {self.host} leads nowhere: {self.reason}"
