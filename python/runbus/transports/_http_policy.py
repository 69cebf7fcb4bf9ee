"""When an HTTP request is repeated, how long to wait first, and what may be shown of it.

Decisions only: nothing here sends anything or reads a clock.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from runbus._secrets import redacted_text

__all__ = ["Phases", "Try", "next_pause_s", "reason_of", "retry_after_s", "shown_url"]

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""Methods of which a second request asks for the same as the first."""

PASSING = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses of what may be otherwise in a moment. 500 is not: servers say so of what cannot be."""

UNDONE = frozenset({425, 429, 503})
"""Statuses that say that nothing was done: any request may follow again."""

FIRST_S, LONGEST_S = 0.5, 30.0
"""Between which pauses grow, in seconds."""

ASKED_MOST_S = 300.0
"""The longest wait that a server may ask for, in seconds."""

_SHOWN = 500


class Phases(NamedTuple):
    """How long each phase of a request may take, in seconds; None for any time.

    Attributes:
        connect_s: Until there is a connection.
        write_s: Until the next part of the request was taken.
        read_s: Until the next part of the answer has come.
        pool_s: Until a connection of ours is free.
    """

    connect_s: float | None = 5.0
    write_s: float | None = 30.0
    read_s: float | None = 60.0
    pool_s: float | None = 30.0


class Try(NamedTuple):
    """How one try of a request ended without success.

    Attributes:
        method: The request's method.
        number: Which try it was, from 1.
        is_named: Whether the request carries a name of ours, so that the server refuses a second.
        was_sent: Whether any of it may have reached the server.
        status: The answer's status; None if there was no answer.
        retry_after: The answer's header of that name; empty without one.
    """

    method: str
    number: int
    is_named: bool = False
    was_sent: bool = True
    status: int | None = None
    retry_after: str = ""


def next_pause_s(tried: Try, *, left_s: float, now: float, chance: float) -> float | None:
    """Return how long to wait before a request is sent again; None if it must not be.

    Args:
        tried: How it ended.
        left_s: How many seconds are left for all tries.
        now: Unix time in seconds.
        chance: A random number from 0 to 1, so that many clients do not come back at once.
    """
    if tried.status is not None and tried.status not in PASSING:
        return None
    if not _may_repeat(tried):
        return None
    asked = retry_after_s(tried.retry_after, now)
    grown = min(LONGEST_S, FIRST_S * 2 ** min(tried.number - 1, 10))
    pause = chance * grown if asked is None else asked
    return pause if pause <= left_s else None


def _may_repeat(tried: Try) -> bool:
    """Whether a second request does no more than the first."""
    return (
        tried.method in IDEMPOTENT or tried.is_named or not tried.was_sent or tried.status in UNDONE
    )


def retry_after_s(header: str, now: float) -> float | None:
    """Return how long a server asks to wait, in seconds or by a date; None if it does not ask.

    Args:
        header: The value of `Retry-After`.
        now: Unix time in seconds.
    """
    text = header.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), ASKED_MOST_S)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    try:
        seconds = when.timestamp() - now
    except (OverflowError, ValueError):
        return None
    return min(max(0.0, seconds), ASKED_MOST_S)


def shown_url(url: str) -> str:
    """Return an address as a person may see it: without a login, parameters or fragment."""
    try:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"
    return redacted_text(urlunsplit((parts.scheme, place, parts.path, "", "")))


def reason_of(status: int, content_type: str, text: str) -> str:
    """Return what an answer says of itself in one line, without secrets.

    Args:
        status: Its status.
        content_type: What it says that its body is.
        text: Its body: a message, JSON that holds one, or the page of some proxy.
    """
    said = text.strip()
    if "html" in content_type or said[:1] == "<":
        title = re.search(r"(?is)<title>(.{0,200}?)</title>", said)
        said = title[1].strip() if title else ""
    elif found := re.match(r'(?s)\{\s*"(?:message|error|cause)"\s*:\s*"((?:[^"\\]|\\.)*)"', said):
        said = re.sub(r'\\(["\\/])', r"\1", found[1]).replace("\\n", " ")
    said = redacted_text(" ".join(said.split())[:_SHOWN])
    return f"{said} (HTTP {status})" if said else f"HTTP {status}"
