"""Interpreters for rivals whose packages do not agree with those of the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["PACKAGES", "environment"]

PACKAGES = {
    "aim": ("aim==3.29.1",),
    "dvclive": ("dvclive==3.49.1",),
    "mlflow": ("mlflow==3.17.2",),
    # It imports only with a leptonai that still has the module it needs.
    "nemo_run": ("nemo_run==0.11.1", "leptonai==0.26.7"),
    "tensorboard": ("tensorboard==2.21.0", "tensorboardX==2.6.5", "numpy", "setuptools<81"),
}


def environment(rival: str) -> str:
    """Return the interpreter that has a rival; its environment is made once, in the cache.

    Args:
        rival: One of `PACKAGES`; any other is in this interpreter's own environment.
    """
    if rival not in PACKAGES:
        return sys.executable
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "runbus" / "rivals" / rival
    python = str(folder / "bin" / "python")
    done = folder / "packages"
    wanted = "\n".join(PACKAGES[rival])
    if not done.exists() or done.read_text() != wanted:
        if uv := shutil.which("uv"):
            make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        else:
            make = [sys.executable, "-m", "venv", "--clear", str(folder)]
            install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run(make, check=True)
        subprocess.run([*install, *PACKAGES[rival]], check=True)
        done.write_text(wanted)
    return python
