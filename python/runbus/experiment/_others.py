"""Jobs of other experiments, which jobs of this one wait for or take results from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.config import Output, no_such_job, output_data, with_outputs
from runbus.errors import NotFound, UsageError
from runbus.jobs import Asked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runbus._home import Home
    from runbus.abc import Dependency
    from runbus.experiment._job import Job

__all__ = ["Others"]


class Others:
    """Knows the experiments that jobs name, by id or by project, which may be many by tomorrow.

    Args:
        home: The home that all of them lie in.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._ids: dict[str, str] = {}
        self._jobs: dict[str, set[str]] = {}

    def learn(self, jobs: Iterable[Job]) -> None:
        """Find the experiments that some jobs name, and the jobs there.

        Raises:
            AmbiguousId: Several have an id that begins so.
            UsageError: There is no such experiment, or it has no such job.
            FileUnreadable: What was asked of it cannot be read.
        """
        for job in jobs:
            for one in job.dependencies:
                if one.experiment:
                    self._find(job.name, one)

    def _find(self, job: str, one: Dependency) -> None:
        if one.experiment not in self._ids:
            from runbus.catalog import find_experiment  # not for those who need no other

            try:
                folder = find_experiment(one.experiment, home=self._home.path)
            except NotFound as error:
                waits = f"job {job!r} waits for one of {one.experiment!r}"
                raise UsageError(f"{waits}: {error}; {error.hint}") from error
            self._ids[one.experiment] = os.path.basename(folder)
            self._jobs[one.experiment] = {spec.name for spec in Asked.read(folder).jobs}
        if one.job not in (known := self._jobs[one.experiment]):
            where = self._ids[one.experiment]
            raise UsageError(f"job {job!r}: {no_such_job(one.job, known)} in {where}")

    def dependency(self, one: Dependency) -> Dependency:
        """Return the same with the id of its experiment."""
        return replace(one, experiment=self._ids[one.experiment]) if one.experiment else one

    def output(self, one: Output) -> dict[str, str]:
        """Return the data of the same with the id of its experiment."""
        where = one.experiment and self._ids[one.experiment]
        return output_data(Output(one.job, one.key, experiment=where))

    def given(self, text: str) -> str:
        """Return what a job is given with the ids of experiments in it."""
        return with_outputs(text, self.output) if self._ids else text
