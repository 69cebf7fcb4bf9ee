"""Where an attempt works, and the files there of which its run keeps copies when it ends."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import anyio.to_thread
import msgspec
from msgspec.structs import replace

from runbus._files import open_file, read_file, write_file
from runbus.abc import FilePatterns, FoundFile, JobFiles, JobSpec
from runbus.codec import DecodeError, decode_json, encode_json
from runbus.errors import FileUnreadable, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.abc.files import Places

__all__ = ["FolderFiles", "as_it_worked", "note_work"]

_FILE = "work.json"
_LARGEST = 1 << 20
_DEEPEST = 100
"""How many folders within each other are looked into."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class _Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of an attempt after its end: a plugin may have changed its folder.

    Attributes:
        cwd: The folder where it starts, before its executor leads that elsewhere.
    """

    cwd: str


def note_work(job: JobSpec) -> None:
    """Note in an attempt's folder where it works, before it is submitted.

    Raises:
        OSError: It cannot be written.
    """
    data = encode_json(_Work(cwd=job.cwd))
    write_file(os.path.join(job.folder, _FILE), data, is_durable=False)


def as_it_worked(job: JobSpec) -> JobSpec:
    """Return a job with the folder in which its attempt was noted to work."""
    try:
        data = read_file(os.path.join(job.folder, _FILE), limit=_LARGEST)
        return replace(job, cwd=decode_json(data, _Work).cwd)
    except (FileNotFoundError, FileUnreadable, DecodeError):
        return job


class FolderFiles(JobFiles):
    """The files of a job that worked in a folder of this machine.

    Args:
        folder: The folder.
        run_folder: The folder of the job's run: if its home lies in `folder`, that is passed over.
        prefix: Where the job had the folder, in that where it worked; empty if it worked there.
    """

    def __init__(self, folder: str, run_folder: str, prefix: str = "") -> None:
        self._folder = folder
        self._prefix = prefix and f"{prefix}/"
        # <home>/experiments/<project>/<experiment>/runs/<run>
        self._apart = os.path.join(run_folder, *[os.pardir] * 5)

    async def find(self, patterns: FilePatterns) -> list[FoundFile]:
        """Return the files that patterns mean; see `JobFiles.find`."""
        return await anyio.to_thread.run_sync(self._find, patterns, abandon_on_cancel=True)

    async def look(self, path: str) -> FoundFile | None:
        """Look at a file once more; see `JobFiles.look`."""
        return await anyio.to_thread.run_sync(self._look, path)

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Return bytes of a file; see `JobFiles.read`."""
        return await anyio.to_thread.run_sync(self._read, path, offset, size)

    def _find(self, patterns: FilePatterns) -> list[FoundFile]:
        try:
            top = os.open(self._folder, _FOLDER & ~os.O_NOFOLLOW)
        except OSError as error:
            raise FileUnreadable(self._folder, os_reason(error)) from error
        try:
            apart: os.stat_result | None = os.stat(self._apart)
        except OSError:
            apart = None
        search = _Search(patterns, (apart.st_dev, apart.st_ino) if apart else None)
        places = patterns.begin()
        for name in self._prefix.split("/")[:-1]:
            places = patterns.enter(places, name)
        try:
            return list(search.below(top, self._prefix, places, 0))
        finally:
            os.close(top)

    def _look(self, path: str) -> FoundFile | None:
        try:
            file = self._open(path)
        except FileNotFoundError:
            return None
        try:
            return _found(path, os.fstat(file))
        finally:
            os.close(file)

    def _read(self, path: str, offset: int, size: int) -> bytes:
        try:
            file = self._open(path)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(file, size, offset)
        except OSError as error:
            raise FileUnreadable(os.path.join(self._folder, path), os_reason(error)) from error
        finally:
            os.close(file)

    def _open(self, path: str) -> int:
        return open_file(path.removeprefix(self._prefix), within=self._folder)


class _Search:
    """Looks through folders, and into none to which no pattern reaches.

    Args:
        patterns: What is looked for.
        apart: Device and number of a folder that is passed over.
    """

    def __init__(self, patterns: FilePatterns, apart: tuple[int, int] | None) -> None:
        self._patterns = patterns
        self._apart = apart

    def below(self, folder: int, at: str, places: Places, depth: int) -> Iterator[FoundFile]:
        """Yield what is meant below an open folder.

        Args:
            folder: The folder.
            at: Its path, with a slash at its end; empty for the first.
            places: How far the patterns reach there.
            depth: How many folders lie above it.
        """
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            return  # it may not be read
        for entry in found:
            reached = self._patterns.enter(places, entry.name)
            if not reached:
                continue
            path = at + entry.name
            if entry.is_dir(follow_symlinks=False):
                if self._patterns.may_hold(reached) and depth < _DEEPEST:
                    yield from self._in(folder, entry.name, path, reached, depth)
            elif self._patterns.meaning(reached):
                try:
                    yield _found(path, entry.stat(follow_symlinks=False))
                except OSError:
                    continue  # it is gone

    def _in(
        self, folder: int, name: str, path: str, places: Places, depth: int
    ) -> Iterator[FoundFile]:
        try:
            below = os.open(name, _FOLDER, dir_fd=folder)
        except OSError:
            return  # it may not be read, or is a link by now
        try:
            about = os.fstat(below)
            if (about.st_dev, about.st_ino) != self._apart:
                yield from self.below(below, f"{path}/", places, depth + 1)
        finally:
            os.close(below)


def _found(path: str, about: os.stat_result) -> FoundFile:
    problem = ""
    if stat.S_ISLNK(about.st_mode):
        problem = "it is a symbolic link"
    elif not stat.S_ISREG(about.st_mode):
        problem = "it is no regular file"
    stamp = f"{about.st_dev}:{about.st_ino} {about.st_mtime_ns} {about.st_ctime_ns}"
    return FoundFile(path, about.st_size, bool(about.st_mode & 0o100), stamp, problem)
