"""The files of a run, kept by content.

    artifacts/<sha256>/<file>       a file, under a name that says what it is; it never changes
    artifacts/<sha256>.d/<folder>/  a folder
    artifacts/.new-<writer>-<n>/    being written; what a writer leaves behind when it is killed

A folder appears under its hash by one rename, so nothing is ever there by half; what another writer
has put there before is the same content, and stays. Nobody needs a lock.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import shutil
import stat
from typing import TYPE_CHECKING, NamedTuple

from runbus._core import sync_paths
from runbus._files import file_mode, make_folder, make_folders, open_file
from runbus._ids import slug
from runbus.errors import ArtifactUnreadable, FileUnreadable, os_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "UNFINISHED",
    "ArtifactStore",
    "Content",
    "clear_unfinished",
    "copy_out",
    "digest",
    "path_of",
    "protect",
    "safe_name",
    "size_of",
    "unusable_folder",
]

_FOLDER = "artifacts"
UNFINISHED = ".new-"
"""How the names of folders begin that are being written."""
_TREE_SUFFIX = ".d"
_OTHER = "its content is not what was logged: size or SHA-256 do not fit"
_SHARED_BYTES = 1 << 30
_NOT_HERE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
"""What `copy_file_range` says where it cannot do it: bytes are read and written then."""
_DEEPEST = 200
_NESTED = f"more than {_DEEPEST} folders lie within each other"


class Content(NamedTuple):
    """What is kept, as a record of the index names it.

    Attributes:
        sha256: The hash of a file. That of a folder is the hash of what `sha256sum` prints for
            its files, by their paths in it, in the order of the paths' bytes.
        size: Bytes; of a folder, of all its files.
        file: Its own name in the folder of its hash.
        is_folder: Whether it is a folder.
    """

    sha256: str
    size: int
    file: str
    is_folder: bool


def path_of(folder: str, content: Content) -> str | None:
    """Return where content of a run lies; None if what describes it cannot be true.

    A run's folder may come from anywhere: no index may lead out of it.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", str(content.sha256)):
        return None
    if content.file != os.path.basename(str(content.file)) or content.file in ("", ".", ".."):
        return None
    shelf = content.sha256 + (_TREE_SUFFIX if content.is_folder else "")
    return os.path.join(folder, _FOLDER, shelf, content.file)


class ArtifactStore:
    """Puts files into a run's folder.

    Args:
        folder: The run's folder.
        writer: The writer's name, unique within the run.
    """

    def __init__(self, folder: str, writer: str) -> None:
        self._folder = folder
        self._root = os.path.join(folder, _FOLDER)
        self._writer = writer
        self._count = itertools.count()
        self._unsynced: list[str] = []

    def sync(self) -> None:
        """Wait until everything that was kept is on the disk; what somebody has removed is not.

        Raises:
            OSError: The disk failed; what it did not take is tried again with the next call.
        """
        shelves, self._unsynced = self._unsynced, []
        if not shelves:
            return
        try:
            sync_paths([self._root, *(path for shelf in shelves for path in _all_of(shelf))])
        except OSError:
            self._unsynced += shelves
            raise

    def keep_bytes(self, data: bytes, file: str) -> Content:
        """Keep bytes as a file.

        Args:
            data: What the file holds.
            file: What it is to be called; made safe.

        Raises:
            OSError: The disk is full or failing; nothing is left behind.
        """
        content = Content(hashlib.sha256(data).hexdigest(), len(data), safe_name(file), False)
        if kept := self._kept(content):
            return kept

        def write(path: str) -> Content:
            with open(path, "xb") as target:
                target.write(data)
            return content

        return self._keep(content.file, write)

    def keep_path(self, source: str) -> Content:
        """Keep a copy of a file or folder. Links in it are followed; empty folders are left out.

        Raises:
            ArtifactUnreadable: It is missing, cannot be read, or is not a file or folder.
            OSError: The disk is full or failing; nothing is left behind.
        """
        source = os.path.abspath(source)
        file = safe_name(os.path.basename(source) or "root")
        if not os.path.isdir(source):
            return self._keep(file, lambda path: self._copy_file(source, path))
        if _is_within(os.path.realpath(self._root), os.path.realpath(source)):
            raise ArtifactUnreadable(source, "the run itself lies in it")
        return self._keep(file, lambda path: self._copy_tree(source, path))

    def stage(self) -> str:
        """Make a folder for one file or folder that is to be kept, and return its path.

        Raises:
            OSError: The disk is full or failing.
        """
        new = os.path.join(self._root, f"{UNFINISHED}{self._writer}-{next(self._count)}")
        make_folders(self._root)
        make_folder(new)
        return new

    def settle(self, new: str, content: Content) -> Content:
        """Give what was put into a folder of `stage` its own place; return it as it is kept there.

        Raises:
            OSError: The disk is full or failing.
        """
        protect(new)
        return self._settled(new, content)

    def _keep(self, file: str, write: Callable[[str], Content]) -> Content:
        """Have content written to a new place, then give it its own."""
        new = self.stage()
        try:
            content = write(os.path.join(new, file))._replace(file=file)
            return self.settle(new, content)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _settled(self, new: str, content: Content) -> Content:
        path = path_of(self._folder, content)
        assert path is not None
        shelf = os.path.dirname(path)
        try:
            os.rename(new, shelf)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if kept := self._kept(content):
                return kept
            # Cut short by a power failure before it was on the disk: it keeps the name that is in
            # records, and gets its content.
            broken = f"{new}.broken"
            os.rename(shelf, broken)
            for file in os.listdir(broken)[:1]:
                os.rename(os.path.join(new, content.file), os.path.join(new, file))
                content = content._replace(file=file)
            os.rename(new, shelf)
            shutil.rmtree(broken, ignore_errors=True)
        self._unsynced.append(shelf)
        return content

    def _kept(self, content: Content) -> Content | None:
        """Return the content as it is kept already, perhaps under another name."""
        path = path_of(self._folder, content)
        assert path is not None
        shelf = os.path.dirname(path)
        try:
            (file,) = os.listdir(shelf)
        except (FileNotFoundError, ValueError):
            return None
        is_whole = size_of(os.path.join(shelf, file)) == content.size
        return content._replace(file=file) if is_whole else None

    def _copy_file(self, source: str, target: str) -> Content:
        _copy(source, target)
        with open(target, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return Content(sha256, os.fstat(file.fileno()).st_size, "", False)

    def _copy_tree(self, source: str, target: str) -> Content:
        try:
            paths = list(_files_in(source))
        except OSError as error:
            raise ArtifactUnreadable(error.filename or source, os_reason(error)) from error
        if not paths:
            raise ArtifactUnreadable(source, "the folder holds no file")
        for path in paths:
            copy = os.path.join(target, path)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            _copy(os.path.join(source, path), copy)
        return Content(digest(target), size_of(target), "", True)


def digest(path: str) -> str:
    """Return the SHA-256 of a kept file or folder, as `Content` says; no link in it is followed.

    Raises:
        FileUnreadable: It is not a regular file or folder, or one in it is not, or it cannot be
            read.
        OSError: It is not there.
    """
    run, below = _parted(path)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        with open(open_file(below, within=run), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    listing = hashlib.sha256()
    for name in sorted(_kept_in(path), key=os.fsencode):
        with open(open_file(os.path.join(below, name), within=run), "rb") as file:
            line = f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n"
        listing.update(line.encode("utf-8", "surrogateescape"))
    return listing.hexdigest()


def copy_out(path: str, size: int, sha256: str, target: str) -> None:
    """Copy a kept file or folder to a place outside, checked: it appears whole or not at all.

    Args:
        path: Where it lies in the run's folder.
        size: How many bytes it has.
        sha256: Its hash.
        target: Where it is to be; nothing is there.

    Raises:
        FileUnreadable: It is not what was kept: another content, a link, a pipe, or gone.
        OSError: The copy cannot be written.
    """
    new = os.path.join(os.path.dirname(target) or ".", f".runbus-{os.urandom(6).hex()}.new")
    os.mkdir(new, 0o700)
    try:
        # As deep as in a run's folder, so that the copy is hashed like what is kept.
        copy = os.path.join(new, _FOLDER, "copy", os.path.basename(path))
        try:
            _copy_kept(path, size, copy)
        except FileNotFoundError as error:
            raise FileUnreadable(path, "it is gone") from error
        if digest(copy) != sha256:
            raise FileUnreadable(path, _OTHER)
        os.rename(copy, target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _copy_kept(path: str, size: int, target: str) -> None:
    """Copy a kept file or folder of a size, without following any link."""
    names = [""]
    if stat.S_ISDIR(os.lstat(path).st_mode):
        names = [f"/{name}" for name in _kept_in(path)]
    # A sparse file claims terabytes, and nobody may read them to find that out.
    if sum(os.lstat(path + name).st_size for name in names) != size:
        raise FileUnreadable(path, _OTHER)
    run, below = _parted(path)
    for name in names:
        os.makedirs(os.path.dirname(target + name), exist_ok=True)
        source = open_file(below + name, within=run)
        with open(source, "rb") as reading, open(target + name, "xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)


def _parted(path: str) -> tuple[str, str]:
    """Return the folder of the run that keeps a file or folder, and where in it that lies."""
    run, *below = path.rsplit("/", 3)
    return run, "/".join(below)


def _kept_in(folder: str) -> Iterator[str]:
    """Yield the paths of all files in a kept folder, relative to it.

    Raises:
        FileUnreadable: Something in it is neither a regular file nor a folder, or cannot be read.
        FileNotFoundError: It is not there.
    """
    folders = [""]
    while folders:
        within = folders.pop()
        here = os.path.join(folder, within)
        if within.count("/") > _DEEPEST:
            raise FileUnreadable(folder, _NESTED)
        try:
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FileUnreadable(here, os_reason(error)) from error
        for entry in found:
            path = os.path.join(within, entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                reason = "it is a symbolic link" if entry.is_symlink() else "it is no regular file"
                raise FileUnreadable(entry.path, reason)


def unusable_folder(folder: str) -> dict[str, str]:
    """Return why the folder of a run's artifacts cannot be one, by its path; nothing if it can."""
    root = os.path.join(folder, _FOLDER)
    if os.path.lexists(root) and (os.path.islink(root) or not os.path.isdir(root)):
        return {root: "it is not a folder"}
    return {}


def clear_unfinished(folder: str) -> None:
    """Remove what killed writers of a run left behind. Nobody may be writing it."""
    root = os.path.join(folder, _FOLDER)
    if unusable_folder(folder) or not os.path.isdir(root):
        return  # behind a link it would be somebody else's files
    for name in os.listdir(root):
        if name.startswith(UNFINISHED):
            shutil.rmtree(os.path.join(root, name), ignore_errors=True)


def safe_name(name: str) -> str:
    """Return a file name that is safe anywhere, as near to the last part of `name` as can be."""
    stem, extension = os.path.splitext(name.rpartition("/")[2])
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,10}", extension):
        stem, extension = stem + extension, ""
    return slug(stem, limit=50) + extension


def _files_in(folder: str, within: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths of all files in a folder, relative to it.

    Raises:
        ArtifactUnreadable: A link leads back to a folder above it, or it is nested too deep.
        OSError: A folder cannot be read.
    """
    here = os.path.join(folder, within)
    real = os.path.realpath(here)
    if real in above:
        raise ArtifactUnreadable(here, "the link leads back to a folder above it")
    if len(above) > _DEEPEST:
        raise ArtifactUnreadable(folder, _NESTED)
    for name in sorted(os.listdir(here)):
        path = os.path.join(within, name)
        if os.path.isdir(os.path.join(folder, path)):
            yield from _files_in(folder, path, (*above, real))
        else:
            yield path


def _copy(source: str, target: str) -> None:
    """Copy a file's bytes; where the file system can share them, none are written."""
    try:
        # A pipe would wait for its other end.
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ArtifactUnreadable(source, os_reason(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(reading).st_mode):
            raise ArtifactUnreadable(source, "it is neither a file nor a folder")
        with open(target, "xb") as writing:
            try:
                while os.copy_file_range(reading, writing.fileno(), _SHARED_BYTES):
                    pass
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
        # What is left, which is all of it where the kernel could not, or would not say so.
        with open(reading, "rb", closefd=False) as rest, open(target, "ab") as writing:
            shutil.copyfileobj(rest, writing, 1 << 20)
    finally:
        os.close(reading)


def protect(folder: str) -> None:
    """Take the right to write from all files, and others' to read: what is kept does not change."""
    kept = file_mode() & 0o440
    for path in _kept_in(folder):
        file = os.path.join(folder, path)
        os.chmod(file, kept | os.lstat(file).st_mode & 0o100)


def size_of(path: str) -> int:
    """Return the bytes of a file, or of all files in a folder.

    Raises:
        OSError: It cannot be read, or is not there.
    """
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(path, name)) for name in _files_in(path))
    return os.path.getsize(path)


def _all_of(folder: str) -> Iterator[str]:
    """Yield a folder, and all files and folders in it."""
    for within, _, files in os.walk(folder):
        yield within
        yield from (os.path.join(within, file) for file in files)


def _is_within(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
