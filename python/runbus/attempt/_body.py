"""What a backend that gives a shell is sent: the request of the wrapper, in its two forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runbus.abc import JobSpec
from runbus.attempt._rendezvous import without_meeting
from runbus.attempt._request import render_request, runs_script
from runbus.attempt._script import check_job, redacted_job, render_script

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AttemptBody"]


class AttemptBody(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a job as the wrapper takes it: `request.sh`, and `request` for the program.

    Both say the same; which of them is read depends on what runs the wrapper there.

    Attributes:
        job: The job as of where it runs: its folders are those of that machine.
        advice: What the job's stderr says if its folder is not there.
    """

    job: JobSpec
    advice: str = ""

    @classmethod
    def of(cls, job: JobSpec, *, advice: str = "") -> Self:
        """Return the request of a job.

        Raises:
            UsageError: There can be no script of it; see `check_job`.
        """
        check_job(job)
        return cls(job=job, advice=advice)

    @property
    def script(self) -> str:
        """The shell script that becomes the job's process."""
        return self.finished(render_script(self.job, advice=self.advice))

    @property
    def is_script(self) -> bool:
        """Whether the wrapper program, too, runs the script: some of the job is shell."""
        return runs_script(self.job)

    @staticmethod
    def finished(script: str) -> str:
        """Return what becomes of a rendered script; a subclass may change it for its machines."""
        return script

    def program_request(self, *, sampler: str = "") -> bytes:
        """Return the file `request`: the job as fields, for the wrapper program.

        Args:
            sampler: The path, where the job runs, of the program that samples the machine.
        """
        return render_request(self.job, advice=self.advice, sampler=sampler)

    def render(self) -> str:
        """Return the script as a person may see it.

        That is without what goes by a secret's name, and with one line for the variables that say
        where the ranks of a job on one machine meet.
        """
        job, meets = without_meeting(redacted_job(self.job))
        title, _, rest = render_script(job, advice=self.advice).partition("\n")
        return self.finished("\n".join([title, *([meets] if meets else []), rest]))
