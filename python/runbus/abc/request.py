"""What an executor sends to its backend, and how a person may see it."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec

from runbus._secrets import redacted
from runbus.abc.job import JobSpec
from runbus.codec import encode_json
from runbus.errors import UsageError

__all__ = ["Body", "JsonBody", "Request"]

B = TypeVar("B")


class Body(Protocol):
    """What a backend is sent: a script, a command line, a JSON document, of any class.

    Two that are equal ask for the same. Secrets are in it by reference only, and never by value.
    """

    def render(self) -> str:
        """Return all of it as a person may see it: what goes by a secret's name is replaced."""
        ...


class JsonBody(msgspec.Struct, frozen=True):
    """A document, for a backend that is spoken to over HTTP.

    Attributes:
        data: What is sent: mappings with text as keys, lists, texts, numbers, booleans, None.
    """

    data: dict[str, Any]

    def encode(self) -> bytes:
        """Return the document as it is sent.

        Raises:
            TypeError: It holds what JSON does not know.
        """
        return encode_json(self.data)

    def render(self) -> str:
        """Return the document as a person may see it, indented."""
        return encode_json(redacted(self.data), indent=2).decode()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor is about to send: printable, comparable, complete.

    Attributes:
        job: The job that it is for.
        body: What is sent, of the class that this kind of executor sends.
    """

    job: JobSpec
    body: Body

    def of(self, kind: type[B]) -> B:
        """Return the body as one of a class: what `submit` begins with.

        Raises:
            UsageError: It is of another: another kind of executor has planned this.
        """
        if not isinstance(self.body, kind):
            sent, got = kind.__name__, type(self.body).__name__
            raise UsageError(f"job {self.job.name!r}: the request holds {got} instead of {sent}")
        return self.body

    def render(self) -> str:
        """Return the request as a person may see it: a dry run prints it."""
        return self.body.render()
