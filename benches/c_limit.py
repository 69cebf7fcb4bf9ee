"""Builds benches/c/limit.c with the C compiler at hand and imports it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["build"]

SOURCE = Path(__file__).parent / "c" / "limit.c"


def build(folder: str) -> ModuleType:
    """Return the C limit, built in `folder` and with a file of its own there."""
    library = os.path.join(folder, "limit.so")
    include = sysconfig.get_paths()["include"]
    compiler = os.environ.get("CC", "gcc")
    flags = ["-O2", "-shared", "-fPIC", f"-I{include}"]
    subprocess.run([compiler, *flags, "-o", library, str(SOURCE)], check=True)
    loader = importlib.machinery.ExtensionFileLoader("limit", library)
    spec = importlib.util.spec_from_loader("limit", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    module.open(os.path.join(folder, "limit.rows"))
    return module
