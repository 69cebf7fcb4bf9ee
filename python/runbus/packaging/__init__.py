"""Packages: one working tree as one reproducible archive."""

from runbus.packaging._archive import Chosen as Chosen
from runbus.packaging._archive import build_package as build_package
from runbus.packaging._archive import build_package_blocking as build_package_blocking
from runbus.packaging._archive import check_package as check_package
from runbus.packaging._docker_image import DockerImagePackager as DockerImagePackager
from runbus.packaging._function import FunctionPackager as FunctionPackager
from runbus.packaging._git import GitArchivePackager as GitArchivePackager
from runbus.packaging._hybrid import HybridPackager as HybridPackager
from runbus.packaging._pattern import PatternPackager as PatternPackager

__all__ = [
    "Chosen",
    "DockerImagePackager",
    "FunctionPackager",
    "GitArchivePackager",
    "HybridPackager",
    "PatternPackager",
    "build_package",
    "build_package_blocking",
    "check_package",
]
