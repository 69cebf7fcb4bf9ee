"""A job whose code is packaged: the same job, as it is where that code lies."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from runbus.abc import JobSpec

__all__ = ["in_unpacked_code"]


def in_unpacked_code(job: JobSpec) -> JobSpec:
    """Return a job with paths in the packaged folder led to its own copy in `<folder>/code`.

    Code in an image lies in a folder of that, and there is nothing left to unpack.

    It starts in the copy, also if its folder was outside of what is packaged. The interpreter that
    runs this is no part of the code, even if it lies in the same folder.
    """
    if job.package is None:
        return job
    image = job.package.image
    root, code = job.package.root, image.folder if image else os.path.join(job.folder, "code")

    def moved(path: str) -> str:
        if path == root:
            return code
        below = root.rstrip("/") + "/"
        return os.path.join(code, path[len(below) :]) if path.startswith(below) else path

    cwd = moved(job.cwd)
    return replace(
        job,
        package=None if image else job.package,
        argv=tuple(word if word == sys.executable else moved(word) for word in job.argv),
        cwd=code if cwd == job.cwd else cwd,
        env={
            name: value if value == job.run_folder else moved(value)
            for name, value in job.env.items()
        },
    )
