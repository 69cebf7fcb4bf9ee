"""Paths on a machine whose homes only its own shell can tell."""

from __future__ import annotations

import re

from runbus._home import ENV_ATTEMPT

__all__ = ["OWN_ATTEMPT", "at_home", "expanded", "marked"]

OWN_ATTEMPT = "\x01.\x01"
"""The folder of an attempt in a script that several attempts read: the wrapper tells it."""

# What a path may begin with that only the machine's shell can tell.
_HOME = re.compile(r"(?:\$HOME|\$\{HOME\}|(~[A-Za-z0-9_.-]*))(?=/|$)")
_MARK = re.compile("\x01(\\.|~[A-Za-z0-9_.-]*)\x01")


def marked(path: str, *, is_program: bool = False) -> str:
    """Return a path on a machine with a mark in the place of a home at its beginning.

    A home is `~`, `~user`, `$HOME` or `${HOME}`. A mark survives the quoting of a script;
    `expanded` then puts the shell's own words in its place.

    Args:
        path: The path. A relative one starts at the login's own home.
        is_program: It names a program instead, which a relative path leaves to the shell to find.
    """
    found = _HOME.match(path)
    if found is None:
        return path if is_program or path.startswith("/") else f"\x01~\x01/{path}"
    return f"\x01{found[1] or '~'}\x01{path[found.end() :]}"


def expanded(script: str) -> str:
    """Return a script in which the marks of `marked`, each within single quotes, are expansions."""
    return _MARK.sub(lambda mark: f"'{_expansion(mark[1])}'", script)


def at_home(path: str, home: str) -> str | None:
    """Return a path of `marked` with the login's home; None if only a shell can tell it."""
    if home and path.startswith("\x01~\x01"):
        return home + path.removeprefix("\x01~\x01")
    return None if path.startswith("\x01") else path


def _expansion(home: str) -> str:
    if home == ".":
        return f'"${ENV_ATTEMPT}"'
    # A tilde is expanded where it begins a word: inside of a substitution it does.
    return '"$HOME"' if home == "~" else f'"$(printf %s {home})"'
