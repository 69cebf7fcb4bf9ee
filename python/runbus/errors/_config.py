"""What should be built from data does not fit."""

from __future__ import annotations

from typing import NamedTuple

from runbus.errors._usage import UsageError


class ConfigProblem(NamedTuple):
    """One mistake in a configuration.

    Attributes:
        path: Where it is, such as `executors.gpu.nodes` or `layers[2].width`; empty for the root.
        reason: What is wrong, one clause.
        expected: What could be there.
        found: What is there, as Python shows it, shortened.
        near: Names that may have been meant, best first.
        origin: What said so: a file, a variable of the environment, an argument; empty in Python.
        line: The line of the file; 0 where there is none.
    """

    path: str
    reason: str
    expected: str = ""
    found: str = ""
    near: tuple[str, ...] = ()
    origin: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.origin}:{self.line}" if self.line else self.origin
        meant = f"; did you mean {' or '.join(map(repr, self.near))}" if self.near else ""
        return ": ".join(part for part in (place, self.path, self.reason + meant) if part)


class ConfigInvalid(UsageError):
    """A configuration does not fit what it is of; nothing was built from it.

    Attributes:
        what: What it configures: the name of the target, or a file.
        problems: Every mistake in it.
    """

    what: str
    problems: tuple[ConfigProblem, ...]

    def __str__(self) -> str:
        if len(self.problems) == 1:
            (problem,) = self.problems
            return str(problem) if problem.origin == self.what else f"{self.what}: {problem}"
        told = "\n".join(map(str, self.problems))
        return f"{self.what} has {len(self.problems)} mistakes\n{told}"


class FieldUnknown(UsageError, AttributeError):
    """A configuration has no field of that name.

    Attributes:
        what: What it configures.
        field: The name.
        near: Names that may have been meant, best first.
        known: The names of all fields.
    """

    what: str
    field: str
    near: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what} has no field {self.field!r}"

    @property
    def hint(self) -> str:
        if self.near:
            return f"did you mean {' or '.join(map(repr, self.near))}"
        return f"there are {', '.join(self.known)}" if self.known else "it has no fields"


class FieldUnset(UsageError, AttributeError):
    """A field of a configuration has neither a value nor a default.

    Attributes:
        what: What it configures.
        field: The name.
    """

    what: str
    field: str

    def __str__(self) -> str:
        return f"the field {self.field!r} of {self.what} has no value and no default"


class TargetUnusable(UsageError):
    """What a configuration should be of cannot be configured, or cannot be found.

    Attributes:
        target: The target as it was named.
        reason: What is wrong with it.
        advice: What to do instead; None where nothing can be said.
    """

    target: str
    reason: str
    advice: str | None = None

    def __str__(self) -> str:
        return f"cannot configure {self.target}: {self.reason}"

    @property
    def hint(self) -> str | None:
        return self.advice
