"""The files of a job that worked on a machine with a POSIX shell."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from runbus.abc import FilePatterns, FoundFile, JobFiles
from runbus.errors import RemoteFailed
from runbus.executors._shell import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.abc import Tunnel

__all__ = ["ShellFiles", "find_script", "look_script", "parse_looks"]

_PIECE = 1 << 20
_AT_ONCE = 200
"""How many files are looked at in one request."""

_KINDS = {b"f": "", b"l": "it is a symbolic link", b"o": "it is no regular file"}


class ShellFiles(JobFiles):
    """The files below a folder of a machine.

    Args:
        tunnel: How to reach the machine.
        folder: The folder, as a word of its shell.
        apart: A folder that is passed over where it lies in it; an absolute path, or empty.
    """

    def __init__(self, tunnel: Tunnel, folder: bytes, apart: str = "") -> None:
        self._tunnel = tunnel
        self._word = folder
        self._apart = apart
        self._root = b""

    async def find(self, patterns: FilePatterns) -> list[FoundFile]:
        """Return the files that patterns mean; see `JobFiles.find`."""
        output = await self._ask(find_script(self._word, patterns.texts, self._apart))
        root, *paths = output.split(b"\0")[:-1] or [b""]
        if not root.startswith(b"/"):
            raise RemoteFailed(self._tunnel.name, "the folder where the job worked is not there")
        self._root = root
        beside = (one.removeprefix(b"./") for one in paths)
        wanted = [path for path in beside if patterns.of(os.fsdecode(path))]
        found = []
        for start in range(0, len(wanted), _AT_ONCE):
            found += await self._looks(wanted[start : start + _AT_ONCE])
        return [one for one in found if one is not None]

    async def look(self, path: str) -> FoundFile | None:
        """Look at a file once more; see `JobFiles.look`."""
        return (await self._looks([os.fsencode(path)]))[0]

    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Return bytes of a file; see `JobFiles.read`."""
        at = self._root + b"/" + os.fsencode(path)
        return await self._tunnel.read(at, offset, min(size, _PIECE))

    async def _looks(self, paths: Sequence[bytes]) -> list[FoundFile | None]:
        output = await self._ask(look_script(self._root, paths))
        try:
            return parse_looks(output, paths)
        except ValueError as error:
            raise RemoteFailed(self._tunnel.name, str(error)) from error

    async def _ask(self, script: bytes) -> bytes:
        return (await self._tunnel.run(["sh"], stdin=script)).stdout


def find_script(folder: bytes, patterns: Sequence[str], apart: str = "") -> bytes:
    """Ask for everything below a folder that patterns may mean, and perhaps for more than that.

    The answer is the folder's real path and what was found, each with a NUL behind it. No link is
    followed, and no folder looked into to which no pattern reaches.

    Args:
        folder: The folder, as a word of the shell.
        patterns: The patterns.
        apart: A folder that is passed over; an absolute path, or empty.
    """
    names = {part for pattern in patterns for part in pattern.split("/")}
    hidden = b"" if any(name.startswith(".") for name in names) else b"-name '.?*' -o "
    folders = b" -o ".join(b"-path %s" % quote(path) for path in sorted(_folders(patterns)))
    files = b" -o ".join(b"-path %s" % quote(_loose(pattern)) for pattern in patterns)
    return b"""
cd %(folder)s 2>/dev/null || exit
rb_root=$(pwd -P && echo .) && rb_root=${rb_root%%??} && printf '%%s\\0' "$rb_root"
rb_a=%(apart)s; rb_a=./${rb_a#"${rb_root%%/}"/}
find . ! -name . -type d \\( %(hidden)s-path "$rb_a" -o ! \\( %(folders)s \\) \\) -prune -o \\
    ! -type d \\( %(files)s \\) -print0 2>/dev/null
""" % {
        b"folder": folder,
        b"apart": quote(apart),
        b"hidden": hidden,
        b"folders": folders or b"-name .",
        b"files": files,
    }


def _folders(patterns: Sequence[str]) -> Iterator[str]:
    """Yield what the paths of folders look like that may hold what patterns mean."""
    for pattern in patterns:
        parts = pattern.split("/")
        for at, part in enumerate(parts):
            if at:
                yield _loose("/".join(parts[:at]))
            if part == "**":
                yield _loose("/".join([*parts[:at], "*"]))
                break


def _loose(pattern: str) -> str:
    """Return a pattern as `find -path` reads it, which means all that it means: `*` goes anywhere.

    What else is special there, and in which way, depends on the machine.
    """
    anywhere = re.sub(r"\*\*(?:/|$)", "*", pattern)
    return "./" + re.sub(r"\[!?\]?[^\]]*\]|[\[\]\\]", "?", anywhere)


def look_script(root: bytes, paths: Sequence[bytes]) -> bytes:
    """Ask for a line about each of some files below a folder; `parse_looks` reads the answer."""
    words = b" ".join(quote(b"./" + path) for path in paths)
    # No part of the path may be a link: what lies behind one is not in the folder.
    return b"""
cd %(root)s 2>/dev/null || exit
rb_root=%(root)s; rb_root=${rb_root%%/}
for rb_f in %(words)s; do
    if [ -L "$rb_f" ]; then echo l
    elif [ ! -e "$rb_f" ]; then echo g
    elif [ ! -f "$rb_f" ]; then echo o
    elif [ "$(readlink -f -- "$rb_f" && echo .)" != "$rb_root/${rb_f#./}
." ]; then echo l
    else stat -c 'f %%s %%a %%d:%%i %%y %%z' -- "$rb_f" 2>/dev/null || echo g
    fi
done
""" % {b"root": quote(root), b"words": words}


def parse_looks(output: bytes, paths: Sequence[bytes]) -> list[FoundFile | None]:
    """Read the answer to `look_script`; None for a file that is gone.

    Raises:
        ValueError: It is not one about so many files.
    """
    lines = output.split(b"\n")[:-1]
    if len(lines) != len(paths):
        raise ValueError(f"an answer about {len(lines)} files of {len(paths)}")
    return [_parsed(line, os.fsdecode(path)) for line, path in zip(lines, paths, strict=True)]


def _parsed(line: bytes, path: str) -> FoundFile | None:
    kind, _, rest = line.partition(b" ")
    if kind == b"g":
        return None
    if kind not in _KINDS:
        raise ValueError(f"an answer about {path!r} that cannot be read")
    if kind != b"f":
        return FoundFile(path, 0, False, "", _KINDS[kind])
    size, mode, stamp = rest.split(b" ", 2)
    return FoundFile(path, int(size), bool(int(mode, 8) & 0o100), stamp.decode("ascii", "replace"))
