"""Packagers from their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.config import GitFields, PatternFields
from runbus.packaging._git import GitArchivePackager
from runbus.packaging._hybrid import HybridPackager
from runbus.packaging._pattern import PatternPackager

if TYPE_CHECKING:
    from runbus.abc import Packager
    from runbus.config import PackagerFields

__all__ = ["make_packager"]


def make_packager(fields: PackagerFields) -> Packager:
    """Return the packager that a batch file describes.

    Raises:
        UsageError: Its fields do not fit together.
    """
    if isinstance(fields, list):
        return HybridPackager([make_packager(part) for part in fields])
    if isinstance(fields, PatternFields):
        return PatternPackager(fields.include, fields.exclude, fields.relative_path)
    if not isinstance(fields, GitFields):
        fields = GitFields()
    return GitArchivePackager(
        fields.ref,
        fields.subpath,
        include_submodules=fields.include_submodules,
        include_uncommitted=fields.include_uncommitted,
        include_untracked=fields.include_untracked,
        include_pattern=fields.include_pattern,
    )
