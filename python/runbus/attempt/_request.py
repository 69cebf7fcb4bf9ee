"""What the wrapper program reads: a job as fields, with no shell between it and its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._home import ENV_RUN, ENV_SAMPLER, ENV_SYSTEM
from runbus.attempt._script import references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.abc import JobSpec

__all__ = ["render_request", "runs_script"]

_SAMPLED = (
    ENV_RUN, ENV_SYSTEM, "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "RUNBUS_NVML", "RUNBUS_ROCM_SMI",
)  # fmt: skip
"""What the program that samples is told of a job's own variables."""


def render_request(
    job: JobSpec, *, advice: str = "", sampler: str = "", by_script: bool = False
) -> bytes:
    """Return the file `request` of an attempt; `rust/runbus-wrap/src/request.rs` describes it.

    A job with bootstrap lines, packaged code or a text that is given to it is left to its script:
    that is shell.

    Args:
        job: The job, checked by `check_job`.
        advice: What the job's stderr says if its folder is not there.
        sampler: The path, where the job runs, of the program that samples the machine beside it.
        by_script: Leave any job to its script.
    """
    is_script = by_script or runs_script(job)
    return "".join(
        f"{name} {_length(text)}\n{text}\n"
        for name, text in _fields(job, advice, sampler, is_script)
    ).encode("utf-8", "surrogateescape")


def _length(text: str) -> int:
    """Return how many bytes a text becomes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def runs_script(job: JobSpec) -> bool:
    """Whether the wrapper program leaves a job to its script."""
    return bool(job.bootstrap or job.package or job.given)


def _fields(job: JobSpec, advice: str, sampler: str, is_script: bool) -> Iterator[tuple[str, str]]:
    yield "version", "1"
    variables = {**job.image.env, **job.env}
    is_sampled = bool(sampler) and variables.get(ENV_SYSTEM) != "0"
    if is_sampled:
        yield "sampler", sampler
    if is_script:
        # The script sets them all, where the sampler does not see them.
        for name in _SAMPLED if is_sampled else (ENV_SAMPLER,):
            if name in variables:
                yield "env", f"{name}={variables[name]}"
        return
    yield "cwd", job.cwd
    yield "advice", advice
    for name in references(job):
        yield "secret", name
    for name, value in variables.items():
        yield "env", f"{name}={value}"
    if job.resources.nice:
        yield "nice", str(job.resources.nice)
    if job.resources.cpus:
        yield "cpus", job.resources.cpus
    for word in job.argv:
        yield "arg", word
