"""What was asked for cannot be done as asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.errors._root import RunbusError


class UsageError(RunbusError):
    """The request itself is wrong; nothing was done."""

    if TYPE_CHECKING:  # they would believe that a class without fields takes nothing

        def __init__(self, text: str) -> None: ...


class FieldInvalid(UsageError):
    """A field of a value cannot be what was given for it.

    Attributes:
        field: The field.
        given: What was given, as Python shows it.
        reason: What is wrong with it.
        advice: What to write instead; None where nothing can be said.
    """

    field: str
    given: str
    reason: str
    advice: str | None = None

    def __str__(self) -> str:
        return f"{self.field} is {self.given}: {self.reason}"

    @property
    def hint(self) -> str | None:
        return self.advice


class NoCurrentFolder(UsageError):
    """The folder that this process is in has been deleted, and a path starts there.

    Attributes:
        path: The path.
    """

    path: str

    def __str__(self) -> str:
        return f"cannot tell where {self.path!r} is: the current folder has been deleted"

    @property
    def hint(self) -> str:
        return "cd to a folder that is there"


class ExtraMissing(UsageError):
    """Something needs a package that is installed only on request.

    Attributes:
        what: What needs it.
        package: The package.
        extra: The extra of runbus that brings it.
    """

    what: str
    package: str
    extra: str

    def __str__(self) -> str:
        return f"{self.what} needs the package {self.package}, which is not installed"

    @property
    def hint(self) -> str:
        return f"pip install 'runbus[{self.extra}]'"


class SecretMissing(UsageError):
    """A secret that a job needs is missing or cannot be read.

    Attributes:
        reference: Where it should be; never the secret itself.
        reason: What is wrong.
    """

    reference: str
    reason: str

    def __str__(self) -> str:
        return f"no secret at {self.reference}: {self.reason}"

    @property
    def hint(self) -> str:
        return "it is read by the process that submits the job: provide it there"


class QueryInvalid(UsageError):
    """A question in SQL cannot be answered.

    Attributes:
        reason: What DuckDB says.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason.rstrip(".")
