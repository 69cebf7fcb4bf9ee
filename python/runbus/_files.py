"""Files of a home: one way to open them, one way to write them, one check of what is in them.

Whatever lies in a home is input. It may have come with a copy of somebody else's folders, and a job
may have put anything there. So a file is opened without waiting, it must be a regular file, it must
not be larger than what is expected of it, and no link is followed inside a folder of the home.

A record is a small file that is written whole or not at all. Where a promise rests on it, it is on
the disk before the writer continues. A checked record of JSON ends in the CRC-32 of what stands
before, so that a flipped bit is noticed; other programs read it as the JSON that it is.

Only the standard library, and little of it: `init()` pays for this module.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import zlib
from typing import TYPE_CHECKING

from runbus.errors import FileUnreadable, NoCurrentFolder, UsageError, os_reason

if TYPE_CHECKING:
    from typing import TypeAlias

    Data: TypeAlias = bytes | bytearray | memoryview

__all__ = [
    "ENV_SHARED",
    "RECORD_BYTES",
    "add_check",
    "file_mode",
    "folder_mode",
    "is_shared",
    "make_file",
    "make_folder",
    "make_folders",
    "open_file",
    "read_file",
    "sync_file",
    "take_check",
    "write_file",
]

ENV_SHARED = "RUNBUS_SHARED"
"""Set to `group`, new files and folders of a home may be written by the group, too."""

RECORD_BYTES = 64 << 20
"""A record that is larger is not read: an experiment of 100,000 jobs takes less."""

_WITHOUT_WAITING = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o700
_NOT_ITS_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR}
"""What an open fails with for reasons that no other file would change."""

_LINK = "it is a symbolic link"
_REASONS = {
    errno.ELOOP: _LINK,
    errno.ENXIO: "it is a pipe, socket or device",
    errno.ENOTDIR: "a part of its path is not a directory",
    errno.ENAMETOOLONG: "its name is too long",
}
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}

# --- Reading ------------------------------------------------------------------------------------


def absolute_path(path: str | os.PathLike[str] = ".") -> str:
    """Return the absolute path of something.

    Raises:
        NoCurrentFolder: It is relative to the current folder, which has been deleted.
    """
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise NoCurrentFolder(os.fspath(path)) from error


def open_file(path: str, flags: int = os.O_RDONLY, *, within: str = "") -> int:
    """Open a regular file that exists, without waiting for anything, and return its descriptor.

    Args:
        path: The file; below `within`, if that is given, and then no part of it may be a link or
            lead out of it. Without `within`, only the file itself may not be a link.
        flags: As `os.open` takes them.
        within: The folder that is trusted.

    Raises:
        FileNotFoundError: There is no such file.
        FileUnreadable: It is another kind of file, or a link, or access is denied.
        OSError: The process has no more descriptors or memory.
    """
    return _open_regular(path, flags, within)[0]


def _open_regular(path: str, flags: int, within: str) -> tuple[int, int]:
    """Open a regular file, and return its descriptor and its size."""
    shown = os.path.join(within, path) if within else path
    try:
        file = _open(path, flags, within)
    except OSError as error:
        raise _judged(shown, error) from error
    except ValueError as error:  # a NUL in the path
        raise FileUnreadable(shown, "its name is not a file name") from error
    about = os.fstat(file)
    kind = stat.S_IFMT(about.st_mode)
    if kind == stat.S_IFREG:
        return file, about.st_size
    os.close(file)
    raise FileUnreadable(shown, f"it is {_KINDS.get(kind, 'no regular file')}")


def _open(path: str, flags: int, within: str) -> int:
    flags |= _WITHOUT_WAITING | os.O_NOFOLLOW
    *parents, name = path.split("/") if within else [path]
    if not parents:
        return os.open(os.path.join(within, name), flags)
    folder = os.open(within, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for parent in parents:
            if parent == "..":
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            below = os.open(parent or ".", _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _judged(path: str, error: OSError) -> OSError | FileUnreadable:
    """Return what to raise for a file that could not be opened."""
    if error.errno in _NOT_ITS_FAULT:
        return error
    if error.errno == errno.ENOENT:
        return FileNotFoundError(error.errno, error.strerror, path)
    if error.errno == errno.ENOTDIR and os.path.islink(os.path.dirname(path)):
        return FileUnreadable(path, "a part of its path is a symbolic link")
    reason = _REASONS.get(error.errno or 0) or os_reason(error)
    return FileUnreadable(path, reason)


def read_file(path: str, *, within: str = "", limit: int = RECORD_BYTES) -> bytes:
    """Return what is in a file.

    Args:
        path: The file, as `open_file` takes it.
        within: The folder that is trusted.
        limit: How many bytes it may have.

    Raises:
        FileNotFoundError: There is no such file.
        FileUnreadable: It is not a regular file, is too large, or cannot be read.
        OSError: The process has no more descriptors or memory.
    """
    file, size = _open_regular(path, os.O_RDONLY, within)
    try:
        # A sparse file claims terabytes, and nobody may read them to find that out.
        if size <= limit:
            data = os.read(file, size + 1)
            if len(data) != size:  # it is being written, or does not come at once
                while len(data) <= limit and (more := os.read(file, limit + 1 - len(data))):
                    data += more
                size = len(data)
    except OSError as error:
        raise _judged(os.path.join(within, path), error) from error
    finally:
        os.close(file)
    if size > limit:
        reason = f"it has {size:,} bytes or more, and {limit:,} are the most that are read"
        raise FileUnreadable(os.path.join(within, path), reason)
    return data


# --- Writing ------------------------------------------------------------------------------------


def write_file(
    path: str, data: Data, *, is_durable: bool = True, time_ns: int | None = None
) -> None:
    """Write a file, whole or not at all: a reader sees what was there before, or all of it.

    Two writers do not get in each other's way: the last one to be ready wins. A link in the place
    of the file is replaced, not followed.

    Args:
        path: The file; its folder exists.
        data: What it is to hold.
        is_durable: Whether to wait until the file and its name are on the disk, so that a power
            failure takes neither.
        time_ns: When it was written, Unix time in nanoseconds; now if None.

    Raises:
        OSError: The disk is full or failing, or access is denied. What was there is as it was.
    """
    folder, name = os.path.split(path)
    new = os.path.join(folder, f".{name}.{os.getpid()}-{os.urandom(6).hex()}.new")
    try:
        _write_by_way_of(new, path, data, is_durable=is_durable, time_ns=time_ns)
    except OSError as error:
        if error.filename is not None:  # nobody asked for the new one
            error.filename, error.filename2 = path, None
        raise
    if is_durable:
        sync_file(folder or ".")


def _write_by_way_of(
    new: str, path: str, data: Data, *, is_durable: bool, time_ns: int | None
) -> None:
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file_mode())
    try:
        try:
            if is_shared():
                os.fchmod(file, file_mode())  # the umask would take the group's rights
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            if time_ns is not None:
                os.utime(file, ns=(time_ns, time_ns))
            if is_durable:
                os.fsync(file)
        finally:
            os.close(file)
        os.replace(new, path)
    except BaseException:
        _remove(new)
        raise


def sync_file(path: str) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Raises:
        OSError: The disk failed, or there is no such file.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.fsync(file)
    except OSError as error:
        # Some file systems cannot sync a folder: there its names are on the disk at once.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(file)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


# --- Who may read and write ---------------------------------------------------------------------


def is_shared() -> bool:
    """Whether new files and folders are for the group, too.

    Raises:
        UsageError: `RUNBUS_SHARED` is something else than `group`.
    """
    chosen = os.environ.get(ENV_SHARED)
    if chosen in (None, "", "group"):
        return chosen == "group"
    raise UsageError(f"{ENV_SHARED} is {chosen!r}: set it to group, or do not set it")


def file_mode() -> int:
    """Return the mode of a new file: it may hold what a user wrote, so others do not read it."""
    return 0o660 if is_shared() else 0o600


def folder_mode() -> int:
    """Return the mode of a new folder; in a shared home what is made in it gets its group."""
    return 0o2770 if is_shared() else _PRIVATE


def make_file(path: str) -> None:
    """Make an empty file, with the mode of a home's files.

    Raises:
        OSError: It cannot be made, or something of its name is there.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file_mode())
    try:
        if is_shared():
            os.fchmod(file, file_mode())  # the umask would take the group's rights
    finally:
        os.close(file)


def make_folder(path: str) -> None:
    """Make a folder whose parent exists, with the mode of a home's folders.

    Raises:
        OSError: It cannot be made, or exists.
    """
    mode = folder_mode()
    os.mkdir(path, mode)
    if mode != _PRIVATE:
        os.chmod(path, mode)  # the umask would take the group's rights


def make_folders(path: str) -> None:
    """Make a folder and those above it that do not exist, as `make_folder` does; safe to repeat.

    Raises:
        OSError: One cannot be made, or is something else.
    """
    try:
        _make_or_find(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in {"", path}:
            raise
        make_folders(parent)
        # Once: /proc says "not found" of what cannot be made there, however often it is tried.
        _make_or_find(path)


def _make_or_find(path: str) -> None:
    try:
        make_folder(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


# --- The check of a record ----------------------------------------------------------------------

# Compiled, and kept, by those who read: a script that only logs does not pay for it.
_CHECK = rb',\s*"crc32":\s*"([0-9a-f]{8})"\s*\}\s*\Z'


def add_check(data: bytes) -> bytes:
    """Return an object of JSON with the CRC-32 of its text as a last field, `crc32`.

    Args:
        data: The text of an object that has fields. Its layout stays as it is.
    """
    body = data.rstrip()[:-1].rstrip()
    gap = b"\n  " if b"\n" in body else b""
    return b'%b,%b"crc32":%b"%08x"%b}' % (
        *(body, gap, b" " if gap else b"", zlib.crc32(body)),
        b"\n" if gap else b"",
    )


def take_check(data: bytes, path: str) -> bytes:
    """Return an object of JSON as it was before `add_check`.

    Args:
        data: What `add_check` returned, and perhaps the end of a line.
        path: The file, for the error.

    Raises:
        FileUnreadable: It has no check, or was changed after it was written.
    """
    found = re.compile(_CHECK).search(data, max(0, len(data) - 64))
    if found is None:
        raise FileUnreadable(path, "it is empty" if not data.strip() else "it has no checksum")
    if zlib.crc32(memoryview(data)[: found.start()]) != int(found[1], 16):
        raise FileUnreadable(path, "it is damaged or was changed: its checksum does not fit")
    return data[: found.start()] + b"}"
