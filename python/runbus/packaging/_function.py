"""Packagers that are written as one function, which makes the files."""

from __future__ import annotations

import os
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

from runbus.abc import Contents, Packager
from runbus.errors import PackageUnreadable, os_reason
from runbus.packaging._pattern import select

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FunctionPackager"]


class FunctionPackager(Packager):
    """Packages what `package` makes: a folder, or an archive.

        class Built(FunctionPackager):
            def package(self, source_dir, target_dir):
                subprocess.run(["make", "-C", source_dir, f"DEST={target_dir}"], check=True)
                return target_dir

    The files lie at the package's top, so where they came from the source folder under the same
    paths, the paths of jobs lead to them.

    Args:
        include: What `package` takes if no subclass says otherwise: patterns as a
            `PatternPackager` has them.
        exclude: What of it to leave.
    """

    def __new__(cls, *args: Any, **values: Any) -> FunctionPackager:
        self = super().__new__(cls, *args, **values)
        # A subclass need not call `__init__`.
        FunctionPackager.__init__(self)
        return self

    def __init__(self, *, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()) -> None:
        self.include = tuple(include)
        self.exclude = tuple(exclude)

    def package(self, source_dir: str, target_dir: str) -> str | None:
        """Make the files of a package. Blocking: called in a worker thread.

        A subclass overrides it; here, it packages the source folder itself.

        Args:
            source_dir: The folder whose code it is; to be left as it is.
            target_dir: An empty folder, which lives until the package is written.

        Returns:
            The folder or archive (zip, or tar, compressed or not) to package; None for
            `target_dir`.
        """
        del target_dir
        return source_dir

    def contents(self, root: str, scratch: str) -> Contents:
        """Return what `package` makes.

        Raises:
            NothingToPackage: It made nothing.
            PackageUnreadable: It raised something, or what it made cannot be read.
        """
        name = type(self).__qualname__
        target = os.path.join(scratch, "target")
        os.mkdir(target)
        try:
            made: Any = self.package(root, target)
        except Exception as error:
            told = f"{name}.package raised {type(error).__name__}: {error}"
            raise PackageUnreadable(root, told) from error
        made = target if made is None else made
        if not isinstance(made, (str, os.PathLike)) or not os.path.exists(made):
            told = f"{name}.package returned {made!r}, which is neither a folder nor an archive"
            raise PackageUnreadable(root, told)
        folder = os.fspath(made)
        if not os.path.isdir(folder):
            folder = os.path.join(scratch, "unpacked")
            _unpack(os.fspath(made), folder)
        return Contents(entries=select(folder, self.include, self.exclude))


def _unpack(archive: str, folder: str) -> None:
    """Unpack an archive; nothing of it may lie outside of the folder.

    Raises:
        PackageUnreadable: It is none, or damaged.
    """
    os.mkdir(folder)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)
        else:
            with tarfile.open(archive) as tar:
                _unpack_tar(tar, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise PackageUnreadable(archive, f"it is no archive: {error}") from error
    except OSError as error:
        raise PackageUnreadable(archive, os_reason(error)) from error


def _unpack_tar(tar: tarfile.TarFile, folder: str) -> None:
    """Unpack what `tarfile.data_filter` lets through; before Python 3.11.4, no links either.

    Raises:
        TarError: Something in it would lie elsewhere, or is no file; or it is damaged.
    """
    if hasattr(tarfile, "data_filter"):
        tar.extractall(folder, filter="data")
        return
    for member in tar:
        name = member.name
        if not (member.isreg() or member.isdir()) or name[:1] == "/" or ".." in name.split("/"):
            raise tarfile.ExtractError(f"{name!r} is neither a file nor a folder within it")
        member.mode &= 0o755
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        tar.extract(member, folder)
