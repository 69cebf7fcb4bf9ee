"""Writes what a packager chose as one archive: same files, same bytes, same name."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import zlib
from typing import IO, TYPE_CHECKING, NamedTuple

import anyio.to_thread

from runbus import codec
from runbus._home import Home
from runbus.abc import Package, PackagedFile, PackageManifest
from runbus.errors import (
    FileUnreadable,
    HomeUnusable,
    PackageChanged,
    PackageUnreadable,
    os_reason,
)

if TYPE_CHECKING:
    from runbus.abc import Contents, Entry, Origin, Packager

__all__ = ["Chosen", "build_package", "build_package_blocking", "check_package"]

_BLOCK = 1 << 20
_LEVEL = 6


async def build_package(
    packager: Packager, root: str | os.PathLike[str], *, home: str | os.PathLike[str] | None = None
) -> Package:
    """Package `root` in a worker thread; see `build_package_blocking`.

    Cancelling this returns at once; the thread finishes its archive and leaves it in the cache.
    """
    return await anyio.to_thread.run_sync(
        lambda: build_package_blocking(packager, root, home=home), abandon_on_cancel=True
    )


def build_package_blocking(
    packager: Packager,
    root: str | os.PathLike[str],
    *,
    home: str | os.PathLike[str] | None = None,
) -> Package:
    """Write what `packager` chooses of `root` into the cache of packages.

    The same files give the same archive, whatever their times, owners and order on disk, and so
    the same name: a package that is there already is not written again.

    Args:
        packager: What to package.
        root: The folder whose code it is.
        home: Whose cache to use, in `cache/packages`; the default home if None.

    Raises:
        UsageError: There is nothing to package, or not as asked.
        PackageUnreadable: A file cannot be read, or changed while it was.
        HomeUnusable: The cache cannot be written.
    """
    root = os.fspath(root)
    cache = os.path.join(Home(home).path, "cache", "packages")
    with tempfile.TemporaryDirectory(prefix="runbus-package-") as scratch:
        contents = packager.contents(root, scratch)
        try:
            os.makedirs(cache, mode=0o700, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=cache, prefix=".new-", delete=False) as file:
                try:
                    files, sha256 = _write(contents, file)
                    package = Package(
                        path=os.path.join(cache, f"{sha256}.tar.gz"),
                        sha256=sha256,
                        size=file.seek(0, os.SEEK_END),
                        root=os.path.abspath(contents.top or root),
                        image=contents.image,
                    )
                    _keep(file, package, _manifest(files, contents))
                    return package
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            reason = os_reason(error)
            raise HomeUnusable(cache, reason) from None


class ChosenFile(NamedTuple):
    r"""A file that would be packaged.

    Attributes:
        path: Where it lies in the package; bytes that are not valid UTF-8 as `\xNN`.
        size: How many bytes it has; of a symbolic link, those of what it holds.
    """

    path: str
    size: int


class Chosen(NamedTuple):
    """What would be packaged.

    Attributes:
        files: Every file, in the order of their paths' bytes.
        origins: The repositories and commits they come from.
    """

    files: list[ChosenFile]
    origins: tuple[Origin, ...]

    @classmethod
    def blocking(cls, packager: Packager, root: str | os.PathLike[str]) -> Chosen:
        """Return what `packager` chooses of `root`; nothing is packaged. Blocking.

        Raises:
            UsageError: There is nothing to package, or not as asked.
            PackageUnreadable: A file cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="runbus-package-") as scratch:
            contents = packager.contents(os.fspath(root), scratch)
            entries = sorted(contents.entries.items())
            return cls([ChosenFile(*_size(path, one)) for path, one in entries], contents.origins)

    @classmethod
    def of(cls, package: Package) -> Chosen:
        """Return what a package holds.

        Raises:
            PackageChanged: Its manifest is gone, or damaged.
        """
        try:
            told = package.manifest
        except OSError as error:
            raise PackageChanged(package.manifest_path, os_reason(error)) from error
        except (FileUnreadable, codec.DecodeError) as error:
            raise PackageChanged(package.manifest_path, f"it is damaged: {error}") from error
        return cls([ChosenFile(one.path, one.size) for one in told.files], told.origins)


def _size(path: bytes, entry: Entry) -> tuple[str, int]:
    shown = path.decode("utf-8", "backslashreplace")
    if entry.target is not None:
        return shown, len(entry.target)
    try:
        return shown, os.stat(entry.source).st_size - entry.offset if entry.size < 0 else entry.size
    except OSError as error:
        raise PackageUnreadable(shown, os_reason(error)) from error


def check_package(package: Package) -> None:
    """Read an archive, and refuse it unless it holds, to the last bit, what it did. Blocking.

    Raises:
        PackageChanged: It is gone, is damaged, or has another digest.
    """
    digest = hashlib.sha256()
    try:
        os.stat(package.manifest_path)
        with gzip.open(package.path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PackageChanged(package.path, f"it is damaged: {error}") from error
    except OSError as error:
        raise PackageChanged(str(error.filename or package.path), os_reason(error)) from error
    if digest.hexdigest() != package.sha256:
        reason = f"its digest is {digest.hexdigest()[:12]}, and was {package.sha256[:12]}"
        raise PackageChanged(package.path, reason)


def _keep(file: IO[bytes], package: Package, manifest: PackageManifest) -> None:
    """Give a new archive the name it deserves."""
    file.flush()
    told = f"{file.name}.json"
    with open(told, "xb") as text:
        text.write(codec.encode_json(manifest, indent=1))
    os.replace(told, package.manifest_path)
    # Last, and by rename: a process that sees the archive sees all of it.
    os.replace(file.name, package.path)


def _write(contents: Contents, file: IO[bytes]) -> tuple[list[PackagedFile], str]:
    """Write the archive, sorted, without times and owners; return what is in it, and its digest."""
    files = []
    # GNU's format keeps names as bytes, at any length, and busybox can read it; pax cannot do both.
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        hashing = _Hashing(packed)
        with tarfile.open(
            fileobj=hashing,  # type: ignore[call-overload]
            mode="w|",
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        ) as archive:
            for path, entry in sorted(contents.entries.items()):
                files.append(_add(archive, path, entry))
    return files, hashing.digest.hexdigest()


class _Hashing:
    """Hashes what is written to a file on its way there."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _add(archive: tarfile.TarFile, path: bytes, entry: Entry) -> PackagedFile:
    info = tarfile.TarInfo(os.fsdecode(path))
    info.mode = 0o755 if entry.executable else 0o644
    shown = path.decode("utf-8", "backslashreplace")
    if entry.target is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.fsdecode(entry.target), 0o777
        archive.addfile(info)
        digest = hashlib.sha256(entry.target).hexdigest()
        return PackagedFile(path=shown, sha256=digest, size=len(entry.target), link=True)
    with _open(entry, shown) as source:
        left = os.fstat(source.fileno()).st_size - entry.offset
        info.size = left if entry.size < 0 else entry.size
        source.seek(entry.offset)
        told = _Hashed(source, info.size)
        try:
            archive.addfile(info, told)
        except OSError as error:
            if told.read_all:
                raise
            raise PackageUnreadable(shown, "it changed while it was read") from error
    return PackagedFile(
        path=shown, sha256=told.digest.hexdigest(), size=info.size, executable=entry.executable
    )


def _open(entry: Entry, shown: str) -> IO[bytes]:
    try:
        return open(entry.source, "rb")
    except OSError as error:
        raise PackageUnreadable(shown, os_reason(error)) from error


class _Hashed(io.RawIOBase):
    """Hashes what is read, so that the manifest tells the bytes that were packaged."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._left = size
        self.digest = hashlib.sha256()

    @property
    def read_all(self) -> bool:
        return self._left == 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self.digest.update(data)
        return data


def _manifest(files: list[PackagedFile], contents: Contents) -> PackageManifest:
    tree = hashlib.sha256()
    for file, path in zip(files, sorted(contents.entries), strict=True):
        kind = "link" if file.link else "exec" if file.executable else "file"
        tree.update(f"{kind} {file.sha256} ".encode() + path + b"\0")
    return PackageManifest(
        tree_sha256=tree.hexdigest(), files=tuple(files), origins=contents.origins
    )
