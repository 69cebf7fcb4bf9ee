"""What a container engine says, and where it listens."""

from __future__ import annotations

import os
import stat

import msgspec

from runbus.errors import UsageError

__all__ = [
    "ATTEMPT",
    "REMOVED",
    "Changed",
    "Container",
    "Happened",
    "ImageFacts",
    "Listed",
    "State",
    "Told",
    "Version",
    "demultiplexed",
    "engine_socket",
    "is_socket",
    "parted",
]

ATTEMPT = "runbus.attempt"
"""The label that holds the folder of the attempt that a container is."""

_NEVER = "0001-01-01"


class State(msgspec.Struct, frozen=True, rename="pascal"):
    """How a container stands, as the engine says it."""

    status: str = ""
    exit_code: int = 0
    o_o_m_killed: bool = msgspec.field(default=False, name="OOMKilled")
    error: str = ""
    started_at: str = ""
    finished_at: str = ""

    @property
    def has_begun(self) -> bool:
        """Whether it was ever started."""
        return bool(self.started_at) and not self.started_at.startswith(_NEVER)


class ImageConfig(msgspec.Struct, frozen=True, rename="pascal"):
    """What an image says about its containers."""

    user: str = ""


class ImageFacts(msgspec.Struct, frozen=True, rename="pascal"):
    """An image, looked at by itself."""

    id: str
    config: ImageConfig | None = None
    repo_digests: list[str] | None = None

    @property
    def user(self) -> str:
        """As whom its containers run; empty for root."""
        return self.config.user if self.config is not None else ""

    def known_as(self, name: str) -> str:
        """Return a name of it that no other image can have: by its digest in the registry.

        Args:
            name: What it is called.
        """
        plain, _ = parted(name)
        return name if "@" in name else self.digest_in(plain) or f"{name}@{self.id}"

    def digest_in(self, repository: str) -> str:
        """Return its name in a repository by its digest there; empty if it was never there."""
        found = [name for name in self.repo_digests or () if name.startswith(f"{repository}@")]
        return found[0] if found else ""


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    labels: dict[str, str] | None = None


class Container(msgspec.Struct, frozen=True, rename="pascal"):
    """A container, looked at by itself."""

    id: str
    state: State
    config: _Config

    @property
    def attempt(self) -> str:
        """The folder of the attempt that it is; empty if it is none of ours."""
        return (self.config.labels or {}).get(ATTEMPT, "")


REMOVED = 2
"""The kind of a change by which something is there no more."""


class Changed(msgspec.Struct, frozen=True, rename="pascal"):
    """A path that a container has changed of its image."""

    path: str
    kind: int


class Listed(msgspec.Struct, frozen=True, rename="pascal"):
    """A container, as one of a list."""

    id: str
    names: list[str]
    state: str
    labels: dict[str, str] | None = None


class Version(msgspec.Struct, frozen=True, rename="pascal"):
    """Which versions an engine and its API are of."""

    api_version: str
    version: str = ""


class _Actor(msgspec.Struct, frozen=True, rename="pascal"):
    attributes: dict[str, str] | None = None


class Happened(msgspec.Struct, frozen=True, rename="pascal"):
    """Something that happened to a container."""

    action: str = ""
    actor: _Actor = _Actor()

    @property
    def name(self) -> str:
        """The container; empty for all."""
        return (self.actor.attributes or {}).get("name", "")

    @property
    def is_of_attempt(self) -> bool:
        """Whether the container is an attempt of a job."""
        return ATTEMPT in (self.actor.attributes or {})


class Told(msgspec.Struct, frozen=True):
    """A line of what a pull or a build tells."""

    status: str = ""
    id: str = ""
    progress: str = ""
    stream: str = ""
    error: str = ""


def engine_socket(given: str = "") -> str:
    """Return the socket of the engine: the given one, `DOCKER_HOST`, or the first that is there.

    Raises:
        UsageError: It is not on this machine, where the folders of jobs are.
    """
    asked = given or os.environ.get("DOCKER_HOST", "")
    if asked:
        path = asked.removeprefix("unix://")
        if "://" in path or not path.startswith("/"):
            raise UsageError(
                f"the engine {asked!r} is not a unix socket of this machine, and only there can "
                "containers have the folders of their jobs; run runbus where the engine is"
            )
        return path
    own = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    usual = ["/var/run/docker.sock", f"{own}/docker.sock", f"{own}/podman/podman.sock"]
    return next((path for path in usual if is_socket(path)), usual[0])


def is_socket(path: str) -> bool:
    """Whether there is a socket at a path."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def parted(image: str) -> tuple[str, str]:
    """Return the name of an image without its tag or digest, and that; `latest` if it has none."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    head, colon, tag = image.rpartition(":")
    if colon and "/" not in tag:
        return head, tag
    return image, "latest"


def demultiplexed(data: bytes) -> tuple[bytes, bytes]:
    """Return what a container wrote to stdout and to stderr, from the engine's frames.

    A frame is a number of the stream, three zeros, the length in four bytes, and the bytes; the
    last one may be cut off. What has no such frames came from a terminal, and is all stdout.
    """
    out, err = bytearray(), bytearray()
    at = 0
    while at + 8 <= len(data):
        stream, length = data[at], int.from_bytes(data[at + 4 : at + 8])
        if stream > 2 or data[at + 1 : at + 4] != b"\0\0\0":
            return bytes(out) + data[at:], bytes(err)
        (err if stream == 2 else out).extend(data[at + 8 : at + 8 + length])
        at += 8 + length
    return bytes(out), bytes(err)
