"""What should run is not written as it must be."""

from __future__ import annotations

from runbus.errors._hints import did_you_mean
from runbus.errors._usage import UsageError


class ScriptUnusable(UsageError):
    """The script to run is missing, or is not a file that can be read.

    Attributes:
        path: The script as it was named.
        reason: What is wrong with it.
        similar: Files beside it that read almost the same.
    """

    path: str
    reason: str
    similar: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"cannot run {self.path!r}: {self.reason}"

    @property
    def hint(self) -> str | None:
        return did_you_mean(self.similar)


class TaskInvalid(UsageError):
    """What was given to run is not a task, or cannot run.

    Attributes:
        given: What was given, as Python shows it.
        reason: What is wrong with it.
        advice: What to do about it; that tasks are written so if empty.
    """

    given: str
    reason: str
    advice: str = ""

    def __str__(self) -> str:
        return f"cannot run {self.given}: {self.reason}"

    @property
    def hint(self) -> str:
        if self.advice:
            return self.advice
        if self.given.endswith(".py'"):
            return f"write Script({self.given})"
        if self.reason.endswith("a coroutine"):
            return "what is async is run so: anyio.run(api.submit, experiment)"
        return (
            'write Script("train.py"), Partial(function), Command(("echo", "hi")) '
            'or Command(("sh", "-c", "…"))'
        )


class SweepInvalid(UsageError):
    """A sweep is not `name=value,value…`.

    Attributes:
        text: The sweep as it was written.
        reason: What is wrong with it.
    """

    text: str
    reason: str

    def __str__(self) -> str:
        return f"cannot read the sweep {self.text!r}: {self.reason}"

    @property
    def hint(self) -> str:
        return "write it as name=value,value, for example lr=0.01,0.1"


class BatchInvalid(UsageError):
    """A batch file is refused whole: nothing of it was submitted.

    Attributes:
        path: The file.
        problems: Every mistake in it, as `file:line: key: what is wrong`.
    """

    path: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path} is refused, nothing was submitted\n" + "\n".join(self.problems)
