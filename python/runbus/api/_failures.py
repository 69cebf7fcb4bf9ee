"""Why jobs did not succeed, as one error that has all of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._secrets import redacted_text
from runbus.api._explain import last_words
from runbus.catalog import open_run
from runbus.errors import ExperimentFailed, JobFailure, RunbusError
from runbus.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.jobs import JobRecord

__all__ = ["failure_of", "raise_failures"]

_QUOTED = 10
"""Of so many failures the last lines are read: more nobody reads in one text."""


def failure_of(
    record: JobRecord, folder: str, *, home: str | None = None, quoted: bool = True
) -> JobFailure:
    """Return how a job ended that did not succeed. Blocks.

    Args:
        record: The job.
        folder: The folder of its experiment.
        home: The home that it lies in; the default one if None.
        quoted: Whether to read its last lines.
    """
    said: list[str] = []
    log = ""
    if quoted and record.started_ns:
        try:
            run = open_run(record.run_id, home=home)
            said, source = last_words(run)
        except (RunbusError, OSError):  # what a job has left must not hide how it ended
            said, source = [], "stderr"
        name = "stdout.log" if source == "stdout" else "stderr.log"
        log = os.path.join(folder, record.folder, name)
    reason = redacted_text(record.reason)
    return JobFailure(record.name, record.run_id, str(record.state), reason, tuple(said), log)


def raise_failures(records: Sequence[JobRecord], folder: str, *, home: str | None = None) -> None:
    """Raise one error for all jobs that did not succeed. Blocks.

    One that was skipped fails nothing by itself: the job that it was skipped for does.

    Raises:
        ExperimentFailed: There is such a job.
    """
    fine = (JobState.SUCCEEDED, JobState.SKIPPED)
    failed = [one for one in records if one.state not in fine]
    if not failed:
        return
    skipped = [one for one in records if one.state is JobState.SKIPPED]
    raise ExperimentFailed(
        os.path.basename(folder),
        len(records),
        tuple(
            failure_of(one, folder, home=home, quoted=index < _QUOTED)
            for index, one in enumerate(failed)
        ),
        tuple(failure_of(one, folder, quoted=False) for one in skipped),
        folder,
    )
