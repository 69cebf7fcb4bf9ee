"""What a home folder keeps that nothing in it needs any more, and that is made again if need be."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runbus._home import Home
from runbus.attempt import program_names
from runbus.errors import HomeUnusable, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Leftover", "leftovers", "remove_leftover"]

_PROGRAM = re.compile(r"[0-9a-f]{64}")


class Leftover(NamedTuple):
    """A file that could be removed.

    Attributes:
        id: Its path within the home.
        name: What it is.
        project: Nothing: it is of no project.
        size: How many bytes it has.
        used_ns: When it was made, or made again, last, Unix time in nanoseconds.
        path: Where it is.
    """

    id: str
    name: str
    project: str
    size: int
    used_ns: int
    path: str


def leftovers(home: str | os.PathLike[str] | None = None) -> list[Leftover]:
    """Return what a home keeps that nothing in it needs, the oldest first. Blocks.

    That is packaged code, of which experiments have their own; and, as long as no job runs,
    programs of other versions than this one.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.
    """
    return sorted(_found(Home(home)), key=lambda one: one.used_ns)


def remove_leftover(one: Leftover) -> None:
    """Remove a file for good; one that is gone is gone.

    Raises:
        HomeUnusable: It cannot be removed.
    """
    try:
        os.unlink(one.path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HomeUnusable(one.path, os_reason(error)) from None


def _found(home: Home) -> Iterator[Leftover]:
    yield from _files(home, os.path.join("cache", "packages"), "packaged code")
    if not home.open_experiments():
        own = program_names()
        for one in _files(home, "bin", "program of another version"):
            name = os.path.basename(one.path)
            if _PROGRAM.fullmatch(name) and name not in own:
                yield one


def _files(home: Home, folder: str, what: str) -> Iterator[Leftover]:
    with suppress(FileNotFoundError), os.scandir(os.path.join(home.path, folder)) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    path = os.path.join(folder, entry.name)
                    yield Leftover(path, what, "", about.st_size, about.st_mtime_ns, entry.path)
