"""What squeue and sacct answer, read so that any name, reason or unknown state survives."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from runbus.executors._slurm.numbers import element_name, expanded, is_id
from runbus.executors._slurm.words import digits, split, told, whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "SACCT_FIELDS",
    "SQUEUE_FORMAT",
    "Fact",
    "by_name",
    "parse_largest_array",
    "parse_sacct",
    "parse_squeue",
    "parse_submitted",
]

SQUEUE_FORMAT = "%i|%T|%S|%N|%r|%j"
SACCT_FIELDS = "JobID,State,ExitCode,Start,NodeList,Reason,JobName"
"""What may hold anything comes last: the reason, and after it our own name, which holds no bar."""


class Fact(NamedTuple):
    """What Slurm says about a job.

    Attributes:
        id: What Slurm calls it: a number, and for an element of an array, `5_2`.
        name: What we call it: its name there, and for an element of an array, `name[2]`.
        state: Slurm's word, without what follows it: `CANCELLED`.
        detail: What follows it: `by 0`.
        reason: Why it waits, or why it ended; empty if nothing is said.
        start_s: When it began, or is expected to, in seconds of Unix time; 0 while unknown.
        nodes: Its machines, as Slurm abbreviates them.
        exit_code: Its exit code, as sacct has it; None if unknown.
        signal: The signal that ended it, as sacct has it; 0 for none.
        source: What said so.
        component: Which component of a heterogeneous job this is said of: 0 for the first, and for
            all other jobs.
        is_part: Whether that is a job of ours by itself, as those of a group are.
    """

    id: str
    name: str
    state: str
    detail: str = ""
    reason: str = ""
    start_s: int = 0
    nodes: str = ""
    exit_code: int | None = None
    signal: int = 0
    source: str = "squeue"
    component: int = 0
    is_part: bool = False

    @property
    def part(self) -> str:
        """What Slurm calls it, and of a component that is a job of ours by itself, that: `5+1`."""
        return f"{self.id}+{self.component}" if self.is_part else self.id


def by_name(facts: Iterable[Fact]) -> dict[str, Fact]:
    """Return what is said of jobs, by our names: of each the last, of its components all.

    What runs its script is the first component: the job is as that is.
    """
    found: dict[str, Fact] = {}
    for fact in facts:
        before = found.get(fact.name)
        if before is None or before.id != fact.id or before.component == fact.component:
            found[fact.name] = fact
            continue
        first, other = sorted((before, fact), key=attrgetter("component"))
        found[fact.name] = first._replace(
            reason=first.reason or other.reason,
            nodes=",".join(filter(None, (first.nodes, other.nodes))),
            is_part=False,
        )
    return found


def parse_largest_array(output: bytes) -> int | None:
    """Return how many elements an array may have, as `scontrol show config` says; None if not."""
    for line in whole_lines(output):
        key, equals, value = line.partition("=")
        if equals and key.strip() == "MaxArraySize":
            return digits(value.strip())
    return None


def parse_submitted(output: bytes) -> str | None:
    """Return the number of the job that `sbatch --parsable` made; None if it tells none."""
    # A site's own message may come first.
    for line in reversed(output.decode("utf-8", "replace").split("\n")):
        number = line.strip().partition(";")[0]
        if number.isascii() and number.isdigit():
            return number
    return None


def parse_squeue(output: bytes) -> dict[str, Fact]:
    """Return what `squeue -h -o SQUEUE_FORMAT` says, by our names.

    Lines that are of no job, or of a job that cannot be ours, are passed over.
    """
    return by_name(_of_squeue(output))


def _of_squeue(output: bytes) -> Iterator[Fact]:
    for line in whole_lines(output):
        number, state, start, nodes, rest = split(line, 4)
        reason, bar, name = rest.rpartition("|")
        if is_id(number) and state and bar:
            word, detail = _state(state)
            job, component = _part(number)
            yield Fact(
                id=job, name=_called(number, name), state=word, detail=detail, reason=told(reason),
                start_s=_time(start), nodes=told(nodes), component=component,
                is_part="+" in number,
            )  # fmt: skip


def parse_sacct(output: bytes) -> dict[str, Fact]:
    """Return what `sacct -n -P -X -D -o SACCT_FIELDS` says, by our names: of each the last row."""
    return by_name(_of_sacct(output))


def _of_sacct(output: bytes) -> Iterator[Fact]:
    for line in whole_lines(output):
        numbers, state, code, start, nodes, rest = split(line, 5)
        reason, bar, name = rest.rpartition("|")
        if not state or not bar:
            continue
        word, detail = _state(state)
        status, _, signal = code.partition(":")
        # One row tells of all elements of an array that have not begun.
        for number in expanded(numbers):
            job, component = _part(number)
            yield Fact(
                id=job, name=_called(number, name), state=word, detail=detail, reason=told(reason),
                start_s=_time(start), nodes=told(nodes), exit_code=digits(status),
                signal=digits(signal) or 0, source="sacct", component=component,
                is_part="+" in number,
            )  # fmt: skip


def _part(number: str) -> tuple[str, int]:
    """Return the number of a job, and which of its components this is: `5+1`."""
    job, _, component = number.partition("+")
    return job, digits(component) or 0


def _called(number: str, name: str) -> str:
    _, is_element, index = number.partition("_")
    return element_name(name, index) if is_element else name


def _state(text: str) -> tuple[str, str]:
    word, _, detail = text.strip().partition(" ")
    return word.rstrip("+").upper(), detail


def _time(text: str) -> int:
    return digits(text) or 0
