"""Whom a file or folder may be changed by: code that others may write is not run."""

from __future__ import annotations

import os
import stat

__all__ = ["distrust"]


def distrust(path: str, *, is_folder: bool = False) -> str:
    """Return why code at a path is not to be run; empty if nobody else can change it.

    The file, or the folder, and each folder above it belong to this user or to root, and no others
    may write there. A folder above in which everybody may make files, but nobody may replace those
    of others, does no harm: `/tmp` is one.

    Args:
        path: An absolute path without links.
        is_folder: Whether it is a folder, in which others could put files.
    """
    here = path
    while True:
        about = os.lstat(here)
        harmless = stat.S_ISVTX if here != path or not is_folder else 0
        if reason := _reason(here, about, harmless):
            return reason
        if here == (here := os.path.dirname(here)):
            return ""


def _reason(path: str, about: os.stat_result, harmless: int) -> str:
    if stat.S_ISLNK(about.st_mode):
        return f"{path} is a symbolic link"
    if about.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user (uid {about.st_uid})"
    if stat.S_ISDIR(about.st_mode) and about.st_mode & harmless:
        return ""
    if about.st_mode & stat.S_IWOTH:
        return f"others may write {path}: chmod o-w it"
    if about.st_mode & stat.S_IWGRP and not _is_own_group(about.st_gid):
        return f"its group may write {path}: chmod g-w it"
    return ""


def _is_own_group(gid: int) -> bool:
    """Whether a group is this user's alone, as most systems give each user one."""
    import grp
    import pwd

    try:
        user = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    is_named = gid == user.pw_gid and group.gr_name == user.pw_name
    return is_named and {*group.gr_mem} <= {user.pw_name}
