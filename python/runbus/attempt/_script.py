"""The shell script that becomes a job's process."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus import codec
from runbus._home import GIVEN
from runbus._secrets import Secret, redacted, redacted_text
from runbus.errors import UsageError

if TYPE_CHECKING:
    from runbus.abc import JobSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PREFIX = "RUNBUS_SECRET_"

__all__ = [
    "WRAPPER",
    "check_job",
    "redacted_job",
    "references",
    "render_script",
    "secret_environment",
]

WRAPPER = os.path.join(os.path.dirname(__file__), "wrapper.sh")
"""The script that runs a job and keeps its record; see its first lines."""


def render_script(job: JobSpec, *, advice: str = "") -> str:
    """Return the POSIX shell script for a job: environment, code, folder, bootstrap lines, program.

    Every value is quoted, so no value can be read as shell; only bootstrap lines are shell. Secrets
    are not in it: it takes them from the variables of `secret_environment`. The wrapper reads it
    into a process that becomes the job. `rb_alone` is then what gives a program a session of its
    own, which a job has from its first bootstrap line on.

    Args:
        job: The job.
        advice: What the job's stderr says if its folder is not there.

    Raises:
        UsageError: As `check_job`.
    """
    check_job(job)
    env, secrets = {**job.image.env, **job.env}, references(job)
    # As Python writes it: a line end in a name must not end the comment.
    lines = [f"# runbus: {job.name!r} of {job.experiment_id}, attempt {job.attempt}"]
    # What runs before the program, too, must be within reach of what ends the job.
    has_prelude = bool(job.bootstrap or job.package)
    if has_prelude:
        lines += ['${rb_alone:+exec "$rb_alone" sh "$rb_request"}']
    for name, place in sorted(secrets.items()):
        lines.append(f"# {name} is {place!r}")
        lines.append(f'export {name}="${{{_PREFIX}{name}?}}"; unset {_PREFIX}{name}')
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(env.items())]
    lines += [*_giving(job), *_unpacking(job)]
    advised = f"{{ echo {shlex.quote(advice)} >&2; exit 126; }}" if advice else "exit 126"
    lines += [f"cd {shlex.quote(job.cwd)} || {advised}"]
    lines += [f"{{ {line}\n}} || exit" for line in job.bootstrap]
    # A word each: the job's IFS, which is set by now, parts none.
    alone = "" if has_prelude else '${rb_alone:+"$rb_alone"} ${rb_alone:+--} '
    lines += [f"exec {alone}" + shlex.join((*_limits(job), *job.argv))]
    return "\n".join(lines) + "\n"


def check_job(job: JobSpec) -> None:
    """Make sure that a job means something to a shell and to the system.

    Args:
        job: The job.

    Raises:
        UsageError: The name of a variable is none that a shell can set, a value, a word or the
            folder has a NUL in it or cannot be encoded as names of files are, or a variable is both
            plain and a secret.
    """
    env = {**job.image.env, **job.env}
    secrets = references(job)
    for name, value in {**env, **secrets}.items():
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"job {job.name!r}: {name!r} cannot be set in an environment by every shell, and "
                f"a job means the same under each wrapper; as a command, env '{name}=…' PROGRAM "
                "sets it"
            )
        if "\0" in value:
            raise UsageError(f"job {job.name!r}: {name!r} cannot be set: its value has a NUL in it")
    if any("\0" in word for word in (job.cwd, job.given, *job.argv)):
        raise UsageError(f"job {job.name!r}: there is a NUL in its folder, command or given text")
    _check_encodable(job)
    if both := sorted(env.keys() & secrets.keys()):
        raise UsageError(f"job {job.name!r}: {both[0]!r} is both a plain value and a secret")


def _check_encodable(job: JobSpec) -> None:
    """Refuse what the encoding of this locale has no bytes for.

    Raises:
        UsageError: A folder or a word of the command is such.
    """
    for text in (job.folder, job.cwd, *job.argv):
        try:
            os.fsencode(text)
        except UnicodeEncodeError:
            raise UsageError(
                f"job {job.name!a}: {text!a} cannot be a name or argument in the encoding "
                f"of this locale, {sys.getfilesystemencoding()}; start Python with PYTHONUTF8=1"
            ) from None


def _giving(job: JobSpec) -> list[str]:
    """Return the lines that write what is given to the program; no process of its own does that."""
    if not job.given:
        return []
    path = shlex.quote(os.path.join(job.folder, GIVEN))
    return [f"printf %s {shlex.quote(job.given)} >{path} || exit 126"]


def _unpacking(job: JobSpec) -> list[str]:
    """Return the lines that give an attempt a copy of the packaged code."""
    if job.package is None:
        return []
    code = shlex.quote(os.path.join(job.folder, "code"))
    archive = shlex.quote(job.package.path)
    return [f"mkdir -p {code} && tar -xzf {archive} -C {code} || exit 126"]


def secret_environment(job: JobSpec) -> dict[str, str]:
    """Return the variables that must be set where a job's script begins; hold on to none of them.

    They are not those that the job sees: a shell on the way may use the same names for itself.

    Raises:
        SecretMissing: A secret cannot be read.
    """
    return {f"{_PREFIX}{name}": Secret(place).value() for name, place in references(job).items()}


def redacted_job(job: JobSpec) -> JobSpec:
    """Return a job to show to people: plain values that go by a secret's name are replaced.

    So are the tokens and credentials that its command and its bootstrap lines hold.
    """
    image = dataclasses.replace(job.image, env=redacted(job.image.env))
    words = redacted({"argv": job.argv, "bootstrap": job.bootstrap})
    words["given"] = _redacted_given(job.given)
    return replace(job, env=redacted(job.env), image=image, **words)


def _redacted_given(given: str) -> str:
    """Return what is given to a program without what goes by a secret's name in it."""
    try:
        return codec.encode_json(redacted(codec.decode_json(given, dict))).decode()
    except codec.DecodeError:
        return redacted_text(given)


def references(job: JobSpec) -> dict[str, str]:
    """Return where the secrets of a job come from, by the variable that gets each."""
    return {**job.image.secrets, **job.secrets}


def _limits(job: JobSpec) -> list[str]:
    """Return the words that go before a program to hold it within its share of the machine."""
    words = []
    if job.resources.nice:
        words += ["nice", "-n", str(job.resources.nice)]
    if job.resources.cpus:
        words += ["taskset", "-c", job.resources.cpus]
    return words
