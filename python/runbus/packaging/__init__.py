"""Packages: one working tree as one reproducible archive."""

from runbus.packaging._archive import build_package as build_package
from runbus.packaging._archive import build_package_blocking as build_package_blocking
from runbus.packaging._git import GitArchivePackager as GitArchivePackager
from runbus.packaging._hybrid import HybridPackager as HybridPackager
from runbus.packaging._pattern import PatternPackager as PatternPackager

__all__ = [
    "GitArchivePackager",
    "HybridPackager",
    "PatternPackager",
    "build_package",
    "build_package_blocking",
]
