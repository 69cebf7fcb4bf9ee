"""The port of whatever chooses the code that travels with a job."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

import msgspec

from runbus._files import read_file
from runbus.abc._made import Portable
from runbus.codec import decode_json

__all__ = [
    "Contents",
    "Entry",
    "ImageRecipe",
    "Origin",
    "Package",
    "PackageManifest",
    "PackagedFile",
    "Packager",
]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file or symbolic link of a package: where its bytes are, and how it is stored.

    Attributes:
        source: The file that holds the bytes; empty for a link.
        offset: Where in it they begin.
        size: How many there are; -1 for all that follow.
        executable: Whether its owner may execute it. No other mode bit is kept.
        target: What a symbolic link holds, never followed; None for a file.
    """

    source: bytes = b""
    offset: int = 0
    size: int = -1
    executable: bool = False
    target: bytes | None = None


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Which commit of which repository a package, or a part of it, is.

    Attributes:
        path: The repository.
        ref: What was asked for.
        commit: What that was, in full.
        prefix: Where in the package it lies; empty for its top.
        changed: Tracked files that differed from the commit, the first hundred.
        diff_sha256: Digest of that difference, as `git diff --binary` tells it; empty if none.
        included: Whether the package holds the changed files as they were, rather than the commit.
    """

    path: str
    ref: str
    commit: str
    prefix: str = ""
    changed: tuple[str, ...] = ()
    diff_sha256: str = ""
    included: bool = False


class ImageRecipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an image is built that holds a package's files.

    Attributes:
        dockerfile: The text of its Dockerfile, whose context the files are. What it is built from
            is the build argument `BASE_IMAGE`.
        folder: Where in the image the files lie.
        base: The image that it is built from; that which the job would have otherwise, if empty.
        repository: Where it is pushed to, as `REGISTRY/NAME`; it is not pushed if empty.
        login: The reference to `USER:PASSWORD` for that registry; if empty, what `docker login` has
            kept.
    """

    dockerfile: str
    folder: str
    base: str = ""
    repository: str = ""
    login: str = ""


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a packager chose.

    Attributes:
        entries: By path within the package, as the operating system's bytes.
        origins: The repositories it comes from.
        top: The folder on this machine whose files lie at the package's top; empty for the folder
            that was given.
        image: How an image is built of it, in which the job finds it; None for an archive alone.
    """

    entries: dict[bytes, Entry]
    origins: tuple[Origin, ...] = ()
    top: str = ""
    image: ImageRecipe | None = None


class PackagedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    r"""One file of a package.

    Attributes:
        path: Where it lies in the package; bytes that are not valid UTF-8 as `\xNN`.
        sha256: Digest of its bytes, or of what a link holds.
        size: How many bytes that is.
        executable: Whether it may be executed.
        link: Whether it is a symbolic link.
    """

    path: str
    sha256: str
    size: int
    executable: bool = False
    link: bool = False


class PackageManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was packaged.

    Attributes:
        tree_sha256: Digest of the files alone: paths, modes and bytes, whatever packed them.
        files: Every file, in the order of their paths' bytes.
        origins: The repositories and commits they come from.
    """

    tree_sha256: str
    files: tuple[PackagedFile, ...]
    origins: tuple[Origin, ...] = ()


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """An archive, with its manifest beside it as `<sha256>.json`.

    Attributes:
        path: The archive, a gzipped tar; its name is its digest.
        sha256: The digest of the archive before its compression, which differs between builds of
            zlib: the same files have the same on every machine.
        size: Its size in bytes.
        root: The folder on this machine whose files lie at its top.
        image: How an image is built of it, in which jobs find it; None where each attempt gets its
            own copy of the files.
    """

    path: str
    sha256: str
    size: int
    root: str
    image: ImageRecipe | None = None

    @property
    def manifest_path(self) -> str:
        """The file that tells what it holds."""
        return os.path.join(os.path.dirname(self.path), f"{self.sha256}.json")

    @property
    def manifest(self) -> PackageManifest:
        """What it holds, read from the file beside it.

        Raises:
            FileNotFoundError: The file is gone.
            FileUnreadable: It is not a regular file, or too large.
            DecodeError: It is damaged.
        """
        return decode_json(read_file(self.manifest_path), PackageManifest)


class Packager(Portable, ABC):
    """Chooses the files that travel with a job.

    It only chooses: the archive, its order, its modes, its digest and the cache are the same for
    all packagers, and live in `runbus.packaging`.
    """

    @abstractmethod
    def contents(self, root: str, scratch: str) -> Contents:
        """Return what to package. Blocking: called in a worker thread.

        Args:
            root: The folder whose code it is.
            scratch: An empty folder for files to read from; lives until the archive is written.

        Raises:
            UsageError: There is nothing to package, or not as asked.
            GitMissing: There is no git that can be run.
            GitFailed: git failed.
        """
