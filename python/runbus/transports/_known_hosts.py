"""Which host keys are known: what files of known hosts say, as forgiving as OpenSSH is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import asyncssh

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["load_known_hosts"]

logger = logging.getLogger("runbus.transports")


def load_known_hosts(paths: Iterable[str]) -> asyncssh.SSHKnownHosts:
    """Read files of known hosts. One that cannot be read, or a line that is broken, is passed over.

    A broken line is reported to the logger, with its file and number.
    """
    return asyncssh.import_known_hosts("".join(_valid_lines(path) for path in paths))


def _valid_lines(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return ""
    if _is_valid(text):
        return text + "\n"
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if _is_valid(line):
            lines.append(line + "\n")
        else:
            logger.warning("%s, line %d is not valid and is skipped", path, number)
    return "".join(lines)


def _is_valid(text: str) -> bool:
    try:
        asyncssh.import_known_hosts(text)
    except ValueError:
        return False
    return True
