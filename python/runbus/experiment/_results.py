"""What jobs returned, as values of the jobs that wait for them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus._home import ENV_RESULT, Home
from runbus.config import literal, output_of, value_at, with_outputs
from runbus.errors import UsageError
from runbus.jobs import read_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.abc import JobSpec
    from runbus.config import Output
    from runbus.jobs import JobRecord

__all__ = ["Results"]

_LONGEST_TEXT = (128 << 10) - 1
"""The kernel takes no longer word or variable; its end counts."""

_WHAT_IT_IS = f"a result is what a function returns, or what a program writes to ${ENV_RESULT}"


class Results:
    """Gives jobs the values that others have returned.

    Args:
        folder: The folder of their experiment.
        jobs: The records of its jobs, as they are at each moment.
    """

    def __init__(self, folder: str, jobs: Mapping[str, JobRecord]) -> None:
        self._folder = folder
        self._jobs = jobs

    def filled(self, spec: JobSpec) -> JobSpec:
        """Return a job with values where the outputs of others stand. Blocking.

        What others returned is data: it makes nothing, and names no class.

        Raises:
            UsageError: A value is not there.
            ResultNotKept: JSON could not hold it.
            RunbusError: It cannot be read.
        """
        texts = {name: self._text(name, output_of(one)) for name, one in spec.outputs.items()}
        words = {
            at: self._text(f"word {at + 1} of its command", output_of(one))
            for at, one in spec.output_words.items()
        }
        argv = tuple(words.get(at, word) for at, word in enumerate(spec.argv))
        given = with_outputs(spec.given, lambda one: literal(self._value(one)))
        env = {**spec.env, **texts}
        return replace(spec, argv=argv, env=env, given=given, outputs={}, output_words={})

    def _text(self, name: str, output: Output) -> str:
        value = self._value(output)
        text = value if isinstance(value, str) else json.dumps(value)
        what = f"{name}: what job {output.job!r} returned"
        if "\0" in text:
            raise UsageError(f"{what} has a zero byte")
        try:
            size = len(f"{name}={text}".encode())
        except UnicodeEncodeError:
            raise UsageError(f"{what} is not valid Unicode") from None
        if size > _LONGEST_TEXT:
            raise UsageError(f"{what} has {size:,} bytes; no program takes 128 KiB in one text")
        return text

    def _value(self, output: Output) -> Any:
        from runbus.catalog import result_of  # not for jobs that take nothing
        from runbus.metrics import StoredRun

        folder, jobs = self._folder, self._jobs
        if output.experiment:
            folder = Home.of(folder).find_experiment(output.experiment) or ""
            jobs = read_jobs(folder) if folder else {}
        if (record := jobs.get(output.job)) is None:
            raise UsageError(f"job {output.job!r} of {output.experiment} is gone, and its result")
        run = StoredRun(os.path.join(folder, "runs", record.run_id))
        at = os.path.join(folder, record.folder)
        if (result := result_of(run, record.attempt, at)) is None:
            ended = f"job {output.job!r} ended as {record.state} and has returned nothing"
            raise UsageError(f"{ended}: {_WHAT_IT_IS}")
        try:
            return value_at(result, output.key)
        except LookupError as error:
            raise UsageError(f"job {output.job!r} has returned {error}") from None
