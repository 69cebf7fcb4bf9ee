"""What the wrapper program reads: a job as fields, with no shell between it and its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.attempt._script import references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.abc import JobSpec

__all__ = ["render_request"]


def render_request(job: JobSpec, *, advice: str = "") -> bytes:
    """Return the file `request` of an attempt; `rust/runbus-wrap/src/request.rs` describes it.

    A job with bootstrap lines, packaged code or a text that is given to it is left to its script:
    that is shell.

    Args:
        job: The job, checked by `render_script`.
        advice: What the job's stderr says if its folder is not there.
    """
    return b"".join(
        b"%s %d\n%s\n" % (name.encode(), len(value), value)
        for name, text in _fields(job, advice)
        for value in [text.encode("utf-8", "surrogateescape")]
    )


def _fields(job: JobSpec, advice: str) -> Iterator[tuple[str, str]]:
    yield "version", "1"
    if job.bootstrap or job.package or job.given:
        return
    yield "cwd", job.cwd
    yield "advice", advice
    for name in references(job):
        yield "secret", name
    for name, value in {**job.image.env, **job.env}.items():
        yield "env", f"{name}={value}"
    if job.resources.nice:
        yield "nice", str(job.resources.nice)
    if job.resources.cpus:
        yield "cpus", job.resources.cpus
    for word in job.argv:
        yield "arg", word
