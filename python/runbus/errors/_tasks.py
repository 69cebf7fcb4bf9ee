"""What should run is not written as it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.errors._hints import did_you_mean
from runbus.errors._usage import UsageError

if TYPE_CHECKING:
    from runbus.errors._config import ConfigProblem


class ScriptUnusable(UsageError):
    """The script to run is missing, or is not a file that can be read.

    Attributes:
        path: The script as it was named.
        reason: What is wrong with it.
        similar: Files beside it that read almost the same.
        advice: What to do about it, if that is known.
    """

    path: str
    reason: str
    similar: tuple[str, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        return f"cannot run {self.path!r}: {self.reason}"

    @property
    def hint(self) -> str | None:
        return self.advice or did_you_mean(self.similar)


class ExecutorNotPortable(UsageError):
    """An executor was made from what no other process could make it from.

    Attributes:
        executor: Its name.
        reason: Why.
    """

    executor: str
    reason: str

    def __str__(self) -> str:
        what = f"executor {self.executor!r} could not be made again by another process"
        return f"{what}: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "make it from numbers, texts, tunnels and packagers; or give it to `plugins`, and "
            "name it"
        )


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
            return "what is async is run so: anyio.run(experiment.run)"
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


class SpaceInvalid(UsageError):
    """A sweep cannot be made; no point of it was.

    Attributes:
        what: What describes it: a file, or the kind of space.
        problems: Every mistake in it.
        advice: What to write instead of the first.
    """

    what: str
    problems: tuple[ConfigProblem, ...]
    advice: str = ""

    def __str__(self) -> str:
        return "\n".join(f"{one}" if one.origin else f"{self.what}: {one}" for one in self.problems)

    @property
    def hint(self) -> str | None:
        return self.advice or None


class SweepChanged(UsageError):
    """A sweep of that name has other points: it is not the one that was started before.

    Attributes:
        name: Its name.
        experiment: The experiment that has run of it what it was then.
        differences: What differs, each `path: then -> now`.
    """

    name: str
    experiment: str
    differences: tuple[str, ...]

    def __str__(self) -> str:
        told = "\n".join(self.differences)
        return f"the sweep {self.name!r} was another one in {self.experiment}:\n{told}"

    @property
    def hint(self) -> str:
        return "give it another name, or run all of its points again with --again"


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
