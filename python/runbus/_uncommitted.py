"""The uncommitted changes of a working tree, kept as a diff.

Called in a process of its own, in the background, where git has said that there are any: nobody
waits for it, and it needs no more than this file imports.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from runbus._files import make_folder, write_file
from runbus._secrets import REDACTED, redacted_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["keep_diff"]

_MOST_BYTES = 512 << 10
_LONGEST_S = 60
_GIT = (
    *("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false"),
    # Files that are no text by name and digest; and nothing runs that the repository names.
    *("diff", "--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv"),
)


def keep_diff(path: str, cwd: str, commit: str) -> None:
    """Keep how the files that git tracks differ from a commit; secrets in it are replaced.

    The process ends if that takes more than a minute.

    Args:
        path: The file to write; its folder is made, but none above it: an experiment that was
            removed meanwhile stays so.
        cwd: A folder of the working tree.
        commit: The commit.

    Raises:
        OSError: There is no git, the experiment is gone, or the file cannot be written.
    """
    signal.alarm(_LONGEST_S)
    with subprocess.Popen(
        [*_GIT, commit, "--"],
        cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as git:  # fmt: skip
        assert git.stdout is not None
        data = git.stdout.read(_MOST_BYTES + 1)
        git.kill()
    if not data:
        return
    rest = b""
    if len(data) > _MOST_BYTES:
        data = data[: data.rfind(b"\n", 0, _MOST_BYTES) + 1]
        rest = b"# cut here: the diff has more than %d bytes\n" % _MOST_BYTES
    text = "\n".join(_without_secrets(data.decode("utf-8", "surrogateescape").split("\n")))
    with suppress(FileExistsError):
        make_folder(os.path.dirname(path))
    write_file(path, text.encode("utf-8", "surrogateescape") + rest, is_durable=False)


def _without_secrets(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a diff without secrets; a private key has many lines."""
    is_key = False
    for line in lines:
        if is_key and line.startswith(("@@", "diff ")):
            is_key = False  # its end is not in the diff
        yield line[:1] + REDACTED if is_key else redacted_text(line)
        if "PRIVATE KEY-----" in line:
            is_key = "-----BEGIN" in line and "-----END" not in line
