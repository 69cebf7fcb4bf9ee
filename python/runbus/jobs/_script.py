"""The shell script that becomes a job's process."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from runbus.errors import UsageError

if TYPE_CHECKING:
    from runbus.abc import JobSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

__all__ = ["WRAPPER", "render_script"]

WRAPPER = os.path.join(os.path.dirname(__file__), "wrapper.sh")
"""The script that runs a job and keeps its record; see its first lines."""


def render_script(job: JobSpec, *, advice: str = "") -> str:
    """Return the POSIX shell script for a job: environment, code, folder, bootstrap lines, program.

    Every value is quoted, so no value can be read as shell; only bootstrap lines are shell. The
    wrapper reads it into a process that becomes the job. `rb_alone` is then what gives a program a
    session of its own, which a job has from its first bootstrap line on.

    Args:
        job: The job.
        advice: What the job's stderr says if its folder is not there.

    Raises:
        UsageError: The name of a variable is none that a shell can set, or a value has a NUL in it.
    """
    env = {**dict(job.image.env), **job.env}
    for name, value in env.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise UsageError(f"job {job.name!r}: {name!r} cannot be set in an environment")
    # As Python writes it: a line end in a name must not end the comment.
    lines = [f"# runbus: {job.name!r} of {job.experiment_id}, attempt {job.attempt}"]
    if job.bootstrap:
        lines += ['${rb_alone:+exec "$rb_alone" sh "$rb_request"}']
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(env.items())]
    lines += _unpacking(job)
    advised = f"{{ echo {shlex.quote(advice)} >&2; exit 126; }}" if advice else "exit 126"
    lines += [f"cd {shlex.quote(job.cwd)} || {advised}"]
    lines += [f"{{ {line}\n}} || exit" for line in job.bootstrap]
    alone = "" if job.bootstrap else '${rb_alone:+"$rb_alone" --} '
    lines += [f"exec {alone}" + shlex.join((*_limits(job), *job.argv))]
    return "\n".join(lines) + "\n"


def _unpacking(job: JobSpec) -> list[str]:
    """Return the lines that give an attempt a copy of the packaged code."""
    if job.package is None:
        return []
    code = shlex.quote(os.path.join(job.folder, "code"))
    archive = shlex.quote(job.package.path)
    return [f"mkdir -p {code} && tar -xzf {archive} -C {code} || exit 126"]


def _limits(job: JobSpec) -> list[str]:
    """Return the words that go before a program to hold it within its share of the machine."""
    words = []
    if job.nice:
        words += ["nice", "-n", str(job.nice)]
    if job.cpus:
        words += ["taskset", "-c", job.cpus]
    return words
