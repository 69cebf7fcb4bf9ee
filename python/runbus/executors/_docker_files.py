"""What a job left where it worked in a container: in folders of this machine, or in the container.

What a container has changed of its image the engine lists, and hands out file by file, also when it
runs no more. What lies in a bind mount is read here. In a named volume nothing can be listed.
"""

from __future__ import annotations

import base64
import posixpath
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runbus.abc import FilePatterns, FoundFile, JobFiles
from runbus.attempt import FolderFiles
from runbus.codec import DecodeError, decode_json
from runbus.errors import HttpRefused, RemoteFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from runbus.executors._docker_engine import Engine

__all__ = ["ContainerFiles", "Mount", "mount_of", "mounts_in"]

_BLOCK = 512
_UNKNOWN = 1 << 62
"""More bytes than any file has."""

_SYMLINK = 1 << 27
_OTHER_KINDS = 0x8F280000
"""The bits of a mode, as Go has them, of what is no regular file."""

_ABOUT = {b"x", b"g", b"L", b"K"}
"""The kinds of entries of an archive that only say something of the next one."""


class Mount(NamedTuple):
    """Something of outside that is in a container.

    Attributes:
        target: Where it is there.
        source: The folder of this machine; empty if it is no such folder.
    """

    target: str
    source: str


def mounts_in(document: Mapping[str, Any]) -> list[Mount]:
    """Return what is mounted in a container, as it is sent to the engine."""
    host = document["HostConfig"]
    mounts = [
        Mount(one["Target"], one["Source"] if one["Type"] == "bind" else "")
        for one in host.get("Mounts") or ()
    ]
    for text in host.get("Binds") or ():
        source, target, *_ = str(text).split(":")
        mounts.append(Mount(target, source if source.startswith("/") else ""))
    mounts += [Mount(target, "") for target in host.get("Tmpfs") or ()]
    return [one._replace(target=posixpath.normpath(one.target)) for one in mounts]


def mount_of(folder: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return in which mount a folder of a container lies; None if in none."""
    around = [one for one in mounts if _is_within(folder, one.target)]
    return max(around, key=lambda one: len(one.target), default=None)


class ContainerFiles(JobFiles):
    """The files below a folder of a container that has ended.

    Args:
        engine: The engine.
        name: The container; empty if the folder lies in a mount, and nothing is asked of it.
        folder: The folder there.
        mounts: What is mounted there.
        run_folder: The folder of the job's run.
        done: Called when the files have been used without an error.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        folder: str,
        mounts: Sequence[Mount],
        run_folder: str,
        done: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._name = name
        self._folder = posixpath.normpath(folder)
        self._done = done
        around = mount_of(self._folder, mounts)
        self._around = around
        self._here: dict[str, FolderFiles] = {}
        for one in [around] if around else []:
            below = posixpath.relpath(self._folder, one.target)
            place = posixpath.normpath(posixpath.join(one.source, below))
            if one.source:
                self._here[""] = FolderFiles(place, run_folder)
        for one in mounts:
            if one != around and one.source and _is_within(one.target, self._folder):
                prefix = posixpath.relpath(one.target, self._folder)
                if prefix != ".":
                    self._here[prefix] = FolderFiles(one.source, run_folder, prefix)
        self._stream = AsyncExitStack()
        self._body: AsyncIterator[bytes] | None = None
        self._at = ("", 0)
        self._rest = b""
        self._left = _UNKNOWN

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection; the container is needed no more if there is no error."""
        await self._stream.aclose()
        if exc is None:
            self._done()

    async def find(self, patterns: FilePatterns) -> list[FoundFile]:
        """Return the files that patterns mean; see `JobFiles.find`."""
        found: dict[str, FoundFile] = {}
        if self._around is None:
            found = await self._changed(patterns)
        elif not self._around.source:
            where = f"{self._around.target} is no folder of this machine"
            raise RemoteFailed(self._engine.socket, f"{where}, and nothing in it can be listed")
        for prefix in sorted(self._here):
            for one in await self._here[prefix].find(patterns):
                found[one.path] = one
        return list(found.values())

    async def look(self, path: str) -> FoundFile | None:
        """Look at a file once more; see `JobFiles.look`."""
        if (here := self._owner(path)) is not None:
            return await here.look(path)
        try:
            about = await self._engine.stat(self._name, self._there(path))
        except HttpRefused as error:
            raise RemoteFailed(error.host, error.reason) from error
        return None if about is None else _found(path, about)

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Return bytes of a file; see `JobFiles.read`. One piece after the other is quickest."""
        if (here := self._owner(path)) is not None:
            return await here.read(path, offset, size)
        try:
            if self._body is None or self._at != (path, offset):
                await self._open(path)
                await self._take(offset)
            data = await self._take(size)
        except HttpRefused as error:
            raise RemoteFailed(error.host, error.reason) from error
        self._at = path, offset + len(data)
        return data

    async def _changed(self, patterns: FilePatterns) -> dict[str, FoundFile]:
        """Return what is meant of what the container has changed."""
        try:
            changed = await self._engine.changes(self._name)
        except HttpRefused as error:
            raise RemoteFailed(error.host, error.reason) from error
        begin = self._folder.rstrip("/") + "/"
        below = (path[len(begin) :] for path in changed if path.startswith(begin))
        found = {}
        for path in below:
            if patterns.of(path) and (about := await self.look(path)) is not None:
                found[path] = about
        return {path: one for path, one in found.items() if one.stamp}

    def _there(self, path: str) -> str:
        return posixpath.join(self._folder, path)

    def _owner(self, path: str) -> FolderFiles | None:
        """Return what has a file here; None if the container has it."""
        prefixes = [one for one in self._here if one and _is_within(path, one)]
        return self._here.get(max(prefixes, key=len, default=""))

    async def _open(self, path: str) -> None:
        """Ask for a file from its start on."""
        await self._stream.aclose()
        self._body, self._rest = None, b""
        there = self._there(path)
        answer = await self._stream.enter_async_context(self._engine.archive(self._name, there))
        self._body, self._left = answer.chunks(), _UNKNOWN
        while True:
            head = await self._take(_BLOCK)
            size = _size_in(head)
            if head[156:157] not in _ABOUT:
                self._left = size
                return
            await self._take(-(-size // _BLOCK) * _BLOCK)

    async def _take(self, size: int) -> bytes:
        """Return so many bytes of the archive; fewer at the end of the file."""
        assert self._body is not None
        size = min(size, self._left)
        parts = [self._rest]
        had = len(self._rest)
        while had < size and (more := await anext(self._body, b"")):
            parts.append(more)
            had += len(more)
        data = b"".join(parts)
        self._rest = data[size:]
        taken = data[:size]
        self._left -= len(taken)
        return taken


class _About(msgspec.Struct):
    size: int = 0
    mode: int = 0
    mtime: str = ""


def _found(path: str, header: bytes) -> FoundFile:
    """Return a file as the engine tells of it in a header."""
    try:
        about = decode_json(base64.b64decode(header), _About)
    except (ValueError, DecodeError) as error:
        raise RemoteFailed("engine", f"what it tells of {path!r} cannot be read") from error
    problem = "it is no regular file" if about.mode & _OTHER_KINDS else ""
    if about.mode & _SYMLINK:
        problem = "it is a symbolic link"
    stamp = f"{about.mtime} {about.size} {about.mode}"
    return FoundFile(path, about.size, bool(about.mode & 0o100), stamp, problem)


def _size_in(head: bytes) -> int:
    """Return how many bytes follow the head of an entry of an archive.

    Raises:
        RemoteFailed: It is none.
    """
    field = head[124:136]
    try:
        if field[:1] == b"\x80":
            return int.from_bytes(field[1:], "big")
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise RemoteFailed("engine", "what it sent is no archive") from error


def _is_within(path: str, folder: str) -> bool:
    return folder == "/" or path == folder or path.startswith(folder + "/")
