"""The code that travels with an experiment's jobs: built once, and kept with the experiment."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.abc import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runbus._home import Home
    from runbus.abc import Executor
    from runbus.packaging import Chosen

__all__ = ["build_code", "keep_code", "planned_code", "unbuilt_code"]

_FOLDER = "code"


def unbuilt_code(executors: Mapping[str, Executor], root: str) -> dict[str, Package]:
    """Return what stands for the packages, by executor, where nothing may be written."""
    stand_in = Package(path="PACKAGE", sha256="PACKAGE", size=0, root=os.path.abspath(root))
    return {name: stand_in for name, executor in executors.items() if executor.packager}


def build_code(
    executors: Mapping[str, Executor], names: Iterable[str], root: str, home: Home
) -> dict[str, Package]:
    """Package `root` for each of some executors that takes code along. Blocking.

    Raises:
        UsageError: There is nothing to package, or not as asked.
        HomeUnusable: The cache cannot be written.
    """
    # Costs what archives cost, which who packages nothing need not pay.
    from runbus.packaging import build_package_blocking

    return {
        name: build_package_blocking(packager, root, home=home)
        for name in names
        if (packager := executors[name].packager) is not None
    }


def planned_code(
    executors: Mapping[str, Executor],
    names: Iterable[str],
    root: str,
    packages: Mapping[str, Package],
) -> dict[str, Chosen]:
    """Return what packages hold that are there, and what `build_code` would package. Blocking.

    Raises:
        UsageError: There is nothing to package, or not as asked.
        PackageChanged: What is in a package is not known any more.
    """
    taking = [name for name in names if name in packages or executors[name].packager]
    if not taking:
        return {}
    from runbus.packaging import Chosen

    found = {}
    for name in taking:
        if (package := packages.get(name)) is not None:
            found[name] = Chosen.of(package)
        elif (packager := executors[name].packager) is not None:
            found[name] = Chosen.blocking(packager, root)
    return found


def keep_code(packages: Mapping[str, Package], folder: str) -> dict[str, Package]:
    """Keep packages and their manifests with the experiment: the cache may forget them.

    Raises:
        OSError: They cannot be written.
    """
    kept = {}
    for name, package in packages.items():
        os.makedirs(os.path.join(folder, _FOLDER), mode=0o700, exist_ok=True)
        for path in (package.path, package.manifest_path):
            _copy(path, os.path.join(folder, _FOLDER, os.path.basename(path)))
        path = os.path.join(folder, _FOLDER, os.path.basename(package.path))
        kept[name] = replace(package, path=path)
    return kept


def _copy(source: str, target: str) -> None:
    """Give a file another name, or copy it where that cannot be."""
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:
        shutil.copyfile(source, target)
