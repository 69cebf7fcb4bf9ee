"""What squeue and sacct answer, read so that any name, reason or unknown state survives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runbus.executors._slurm.numbers import element_name, expanded, is_id

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PARTITIONS_FORMAT",
    "SACCT_FIELDS",
    "SQUEUE_FORMAT",
    "Fact",
    "Partition",
    "parse_largest_array",
    "parse_partitions",
    "parse_sacct",
    "parse_squeue",
    "parse_submitted",
]

SQUEUE_FORMAT = "%i|%T|%S|%N|%r|%j"
PARTITIONS_FORMAT = "%R|%a|%l|%D|%c|%m|%G"
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


def parse_largest_array(output: bytes) -> int | None:
    """Return how many elements an array may have, as `scontrol show config` says; None if not."""
    for line in _lines(output):
        key, equals, value = line.partition("=")
        if equals and key.strip() == "MaxArraySize":
            return _number(value.strip())
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
    found = {}
    for line in _lines(output):
        number, state, start, nodes, rest = _fields(line, 4)
        reason, bar, name = rest.rpartition("|")
        if is_id(number) and state and bar:
            word, detail = _state(state)
            called = _called(number, name)
            found[called] = Fact(
                id=number, name=called, state=word, detail=detail, reason=_said(reason),
                start_s=_time(start), nodes=_said(nodes),
            )  # fmt: skip
    return found


def parse_sacct(output: bytes) -> dict[str, Fact]:
    """Return what `sacct -n -P -X -D -o SACCT_FIELDS` says, by our names: of each the last row."""
    found = {}
    for line in _lines(output):
        numbers, state, code, start, nodes, rest = _fields(line, 5)
        reason, bar, name = rest.rpartition("|")
        if not state or not bar:
            continue
        word, detail = _state(state)
        status, _, signal = code.partition(":")
        # One row tells of all elements of an array that have not begun.
        for number in expanded(numbers):
            called = _called(number, name)
            found[called] = Fact(
                id=number, name=called, state=word, detail=detail, reason=_said(reason),
                start_s=_time(start), nodes=_said(nodes), exit_code=_number(status),
                signal=_number(signal) or 0, source="sacct",
            )  # fmt: skip
    return found


class Partition(NamedTuple):
    """Where jobs can queue, and what they find there.

    Attributes:
        name: Its name.
        state: Whether it takes jobs: `up`, or why not.
        time: The longest that a job may run there, as Slurm writes it.
        nodes: How many machines there are of this kind.
        cpus: Processors of each; a `+` after it where some have more.
        memory_mib: Memory of each, in MiB, in the same way.
        gres: Generic resources of each, such as `gpu:a100:8`; empty if none.
    """

    name: str
    state: str
    time: str
    nodes: str
    cpus: str
    memory_mib: str
    gres: str


def parse_partitions(output: bytes) -> list[Partition]:
    """Return what `sinfo -h -o PARTITIONS_FORMAT` says."""
    found = []
    for line in _lines(output):
        name, state, time, nodes, cpus, memory, gres = _fields(line, 6)
        if name and memory:
            found.append(Partition(name, state, time, nodes, cpus, memory, _said(gres)))
    return found


def _lines(output: bytes) -> Iterator[str]:
    """Yield the whole lines: one that was cut off says nothing."""
    *whole, _ = output.decode("utf-8", "replace").split("\n")
    yield from whole


def _fields(line: str, count: int) -> list[str]:
    """Return so many fields and the rest; empty ones for what is missing."""
    fields = line.split("|", count)
    return fields + [""] * (count + 1 - len(fields))


def _called(number: str, name: str) -> str:
    _, is_element, index = number.partition("_")
    return element_name(name, index) if is_element else name


def _state(text: str) -> tuple[str, str]:
    word, _, detail = text.strip().partition(" ")
    return word.rstrip("+").upper(), detail


def _said(text: str) -> str:
    """Return a field; empty where Slurm has only said that it has nothing to say."""
    text = text.strip()
    return "" if text in {"None", "(null)", "None assigned", "n/a", "N/A"} else text


def _time(text: str) -> int:
    return _number(text) or 0


def _number(text: str) -> int | None:
    # Longer ones are no times and no codes.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
