"""What a job on Slurm is sent as: the wrapper's request, and the batch script that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.attempt import check_job
from runbus.executors._paths import expanded
from runbus.executors._slurm.options import SlurmOptions  # noqa: TC001 - a field of a struct
from runbus.executors._slurm.script import Batch, batch_script, job_name
from runbus.executors._slurm.together import Part, group_script
from runbus.executors._tunnelled import NO_FOLDER, MarkedBody

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec

__all__ = ["SlurmBody"]


class SlurmBody(MarkedBody, frozen=True, kw_only=True):
    """One attempt as Slurm and its wrapper take it.

    Attributes:
        options: What is asked of Slurm.
        name: What Slurm calls it.
        folder: The attempt's folder there, which may have marks.
        group: What is sent of all attempts with which it begins; empty where it is sent alone.
        apart: Why it is sent alone although others of its group begin with it.
    """

    options: SlurmOptions
    name: str
    folder: str
    group: Sequence[Part] = ()
    apart: str = ""

    @classmethod
    def for_slurm(cls, job: JobSpec, options: SlurmOptions, folder: str) -> SlurmBody:
        """Return what is sent of a job whose folders may have marks.

        Args:
            job: The job as of its machine.
            options: What is asked of Slurm.
            folder: The attempt's folder there.

        Raises:
            UsageError: It and the options contradict each other, or there can be no script of it.
        """
        check_job(job)
        body = cls(
            job=job,
            advice=NO_FOLDER,
            options=options,
            name=job_name(job, folder),
            folder=folder,
        )
        body.batch(folder, b"")
        return body

    def batch(self, folder: str, run: bytes) -> Batch:
        """Return what Slurm gets.

        Args:
            folder: The attempt's folder there.
            run: The words that run the wrapper there.
        """
        return batch_script(self.options, self.job, self.name, folder, run)

    def batch_of(self, name: str, folders: Mapping[int, str], run: bytes) -> Batch:
        """Return what Slurm gets for an array of attempts, each of which is `like` this one.

        Args:
            name: What Slurm calls all of them.
            folders: Their folders there, by their indices.
            run: The words that run the wrapper there.
        """
        return batch_script(self.options, self.job, name, folders, run)

    def part(self, folder: str) -> Part:
        """Return it as one of several attempts that begin together.

        Args:
            folder: The attempt's folder there.
        """
        return Part(self.options, self.job, self.name, folder)

    @property
    def like(self) -> bytes:
        """What is the same in all attempts that can be elements of one array."""
        withheld = " ".join(self.job.withheld).encode()
        return b"%s\0%s" % (batch_script(self.options, self.job, "", "", b"").text, withheld)

    @property
    def is_bounded(self) -> bool:
        """Whether it is an element of an array of which only so many run at a time."""
        elements = self.options.elements
        return elements is not None and elements.at_a_time is not None

    def render(self) -> str:
        """Return both scripts as a person may see them."""
        run, copy = b"runbus-wrapper", self.job.copy
        sent = group_script(self.group, run) if self.group else self.batch(self.folder, run)
        if copy is not None:
            sent = self.batch_of(self.name, {copy.index: self.folder}, run)
        batch = expanded(sent.text.decode("utf-8", "surrogateescape"))
        if self.group and self.name != self.group[0].name:
            shown = self.group[0].job.name
            batch = f"# a component of the job of Slurm that is shown for {shown}\n"
        told = f"# {self.apart}\n" if self.apart else ""
        return f"{told}{batch}\n# request.sh\n{super().render()}"
