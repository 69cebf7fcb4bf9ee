"""What slurmrestd answers, read so that any name, reason or unknown state survives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runbus._secrets import redacted_text
from runbus.executors._slurm.asked import refusal
from runbus.executors._slurm.listing import Fact, by_name
from runbus.executors._slurm.numbers import element_name, expanded
from runbus.executors._slurm.rest_values import exit_of, integer, state_of, text, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runbus.executors._slurm.asked import Refusal

__all__ = [
    "Accounted",
    "Errors",
    "Listed",
    "Paths",
    "Queued",
    "facts_of_accounts",
    "facts_of_queue",
]

_MOST = 1 << 20
"""The most elements of arrays that one answer may tell of."""

_SHOWN = 500


class Paths(msgspec.Struct):
    """The document that describes the interface, as far as it is looked at."""

    paths: dict[str, msgspec.Raw]


class Trouble(msgspec.Struct):
    """What is wrong. Versions call the number of an error differently."""

    error: Any = ""
    description: Any = ""
    error_number: Any = 0
    error_code: Any = 0

    @property
    def number(self) -> int:
        """The number of the error in Slurm; 0 if none is told."""
        return integer(self.error_number) or integer(self.error_code) or 0

    @property
    def text(self) -> str:
        """What it says, in one line."""
        said = [one for one in (self.error, self.description) if isinstance(one, str) and one]
        kept = [one for one in said if one != _NOTHING_SAID] or said
        return " ".join(": ".join(dict.fromkeys(kept)).split())


_NOTHING_SAID = "Unspecified error"
_NOT_FOUND = 9003
_NO_SUCH_JOB = 2017
_REFUSED = {1007, 5, 8008}
"""Numbers that say that the token does not let anybody in."""

_CUT_OFF = {-1, 5005}
"""Numbers of what a controller that refuses a token looks like from the server: as one that cut the
connection."""


_VAGUE = {-1, 1}


class Errors(msgspec.Struct):
    """The part that all answers have.

    Attributes:
        errors: What is wrong; a job may be told of all the same.
        job_id: The number of the job that was made.
        result: Where newer versions have it.
    """

    errors: list[Trouble] | None = None
    job_id: Any = None
    result: Any = None

    @property
    def number(self) -> str:
        """The number of the job that was made; empty if there is none."""
        inner = self.result.get("job_id") if isinstance(self.result, dict) else None
        number = integer(self.job_id) or integer(inner)
        return str(number) if number else ""

    @property
    def troubles(self) -> list[Trouble]:
        """What is wrong; that nothing was found is not."""
        return [one for one in self.errors or () if one.number != _NOT_FOUND]

    @property
    def said(self) -> str:
        """What is wrong, in one line; empty if nothing is."""
        whole = "; ".join(dict.fromkeys(one.text for one in self.troubles if one.text))
        return redacted_text(whole[: 1 << 16])[:_SHOWN] or ("it failed" if self.troubles else "")

    @property
    def is_of_token(self) -> bool:
        """Whether the token is refused."""
        return any(one.number in _REFUSED for one in self.troubles)

    @property
    def may_be_of_token(self) -> bool:
        """Whether that would look like this."""
        return any(one.number in _CUT_OFF for one in self.troubles)

    @property
    def is_vague(self) -> bool:
        """Whether it says nothing but that something is wrong, as of a controller that is away."""
        return any(one.number in _VAGUE for one in self.troubles)

    @property
    def knows_no_such_job(self) -> bool:
        """Whether the controller has said that it has no job of the number that was asked for."""
        return any(one.number == _NO_SUCH_JOB for one in self.troubles)

    @property
    def refusal(self) -> Refusal:
        """What it means for a job that was handed over."""
        return refusal(self.said)


class Queued(msgspec.Struct):
    """A job as the controller tells of it."""

    job_id: Any = None
    array_job_id: Any = None
    array_task_id: Any = None
    array_task_string: Any = ""
    het_job_id: Any = None
    het_job_offset: Any = None
    name: Any = ""
    user_name: Any = ""
    job_state: Any = ""
    state_reason: Any = ""
    start_time: Any = 0
    nodes: Any = ""
    exit_code: Any = None


class Listed(Errors):
    """All jobs, as the controller tells of them; None where the answer has no list of them."""

    jobs: list[Queued] | None = None


class Row(msgspec.Struct):
    """A job as the accounts tell of it."""

    job_id: Any = None
    array: Any = None
    het: Any = None
    name: Any = ""
    user: Any = ""
    state: Any = None
    time: Any = None
    nodes: Any = ""
    exit_code: Any = None
    kill_request_user: Any = None


class Accounted(Errors):
    """Jobs, as the accounts tell of them."""

    jobs: list[Row] | None = None


def facts_of_queue(jobs: Iterable[Queued], user: str) -> dict[str, Fact]:
    """Return what the controller says of a user's jobs, by our names."""
    return by_name(_of_queue(jobs, user))


def _of_queue(jobs: Iterable[Queued], user: str) -> Iterator[Fact]:
    count = 0
    for job in jobs:
        if not isinstance(job.name, str) or (user and job.user_name not in {user, ""}):
            continue
        exit_code, number = exit_of(job.exit_code)
        for called, name in _called(job, count):
            count += 1
            yield Fact(
                id=called, name=name, state=state_of(job.job_state),
                reason=told(job.state_reason), start_s=integer(job.start_time) or 0,
                nodes=told(job.nodes), exit_code=exit_code, signal=number,
                source="slurmrestd", component=integer(job.het_job_offset) or 0,
                is_part=bool(integer(job.het_job_id)),
            )  # fmt: skip


def _called(job: Queued, count: int) -> Iterator[tuple[str, str]]:
    """Yield the numbers of a job, or of the elements of an array that have not begun; our names."""
    array = integer(job.array_job_id)
    task = integer(job.array_task_id)
    if not array:
        if number := integer(job.het_job_id) or integer(job.job_id):
            yield str(number), job.name
        return
    if task is not None:
        yield f"{array}_{task}", element_name(job.name, task)
        return
    # Where it is long the server cuts it, in the middle of an index: then the array stands for
    # those elements that are not told of.
    whole, dots, _ = text(job.array_task_string).partition("...")
    if dots:
        whole = whole.rpartition(",")[0]
        yield str(array), job.name
    for element in expanded(f"{array}_[{whole}]")[: max(0, _MOST - count)] if whole else ():
        yield element, element_name(job.name, element.partition("_")[2])


def facts_of_accounts(rows: Iterable[Row], user: str) -> dict[str, Fact]:
    """Return what the accounts say of a user's jobs, by our names: of each the last row."""
    return by_name(_of_accounts(rows, user))


def _of_accounts(rows: Iterable[Row], user: str) -> Iterator[Fact]:
    count = 0
    for row in rows:
        if not isinstance(row.name, str) or (user and row.user not in {user, ""}):
            continue
        state = row.state if isinstance(row.state, dict) else {}
        times = row.time if isinstance(row.time, dict) else {}
        by, start = text(row.kill_request_user), integer(times.get("start"))
        word = state_of(state.get("current"))
        exit_code, number = exit_of(row.exit_code)
        if word == "FAILED" and not exit_code and not number:
            exit_code = None  # 22.05 says that of any
        het = row.het if isinstance(row.het, dict) else {}
        for called, name in _accounted(row, count):
            count += 1
            yield Fact(
                id=called, name=name, state=word, detail=f"by {by}" if by else "",
                reason=told(state.get("reason")), start_s=start or 0,
                nodes=told(row.nodes), exit_code=exit_code, signal=number,
                source="slurmdbd", component=integer(het.get("job_offset")) or 0,
                is_part=bool(integer(het.get("job_id"))),
            )  # fmt: skip


def _accounted(row: Row, count: int) -> Iterator[tuple[str, str]]:
    array = row.array if isinstance(row.array, dict) else {}
    number, task = integer(array.get("job_id")), integer(array.get("task_id"))
    if not number:
        het = row.het if isinstance(row.het, dict) else {}
        if alone := integer(het.get("job_id")) or integer(row.job_id):
            yield str(alone), row.name
        return
    if task is not None:
        yield f"{number}_{task}", element_name(row.name, task)
        return
    rest = text(array.get("task"))
    for index in _indices(rest, max(0, _MOST - count)):
        yield f"{number}_{index}", element_name(row.name, index)


def _indices(rest: str, most: int) -> list[int]:
    """Return the elements that have not begun: the bits of a number, or spans."""
    if rest.lower().startswith("0x"):
        try:
            bits = int(rest[: 2 + most // 4], 16)
        except ValueError:
            return []
        return [index for index, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]
    spans = expanded(f"1_[{rest}]") if rest else []
    return [int(one.partition("_")[2]) for one in spans[:most]]
