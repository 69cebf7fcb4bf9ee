"""How Slurm writes the numbers of jobs and of the elements of arrays."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Array",
    "array_of",
    "chunks",
    "compressed",
    "element_name",
    "expanded",
    "is_id",
    "read_array",
    "spans",
    "whole",
]

T = TypeVar("T")

_LARGEST = 1 << 22
"""The highest index that an array can have in any Slurm, and one more."""

_MOST = 10_000
"""How many elements are asked for at the most: each is a job of the experiment, with its folder."""


class Array(NamedTuple):
    """What the option `--array` of sbatch says.

    Attributes:
        indices: The indices, each once, in their order.
        at_a_time: How many elements run at a time; None for any number.
        step: The first step that it says, as Slurm tells it to each element; 1 if it says none.
    """

    indices: tuple[int, ...]
    at_a_time: int | None = None
    step: int = 1


@lru_cache(maxsize=16)
def read_array(text: str) -> Array:
    """Return what a value of `--array` says, such as `0,6,16-32:4%2`.

    Raises:
        ValueError: Slurm would not read it, or it asks for too many elements.
    """
    whole, percent, limit = text.partition("%")
    if percent and not _LIMIT.fullmatch(limit):
        raise ValueError("after % there is how many run at a time, at least 1")
    found: set[int] = set()
    count, first_step = 0, 0
    for span in whole.split(","):
        if (parts := _SPAN.fullmatch(span)) is None:
            raise ValueError(f"{span[:40]!r} is not an index, or a range of them")
        low = int(parts["low"])
        high = int(parts["high"] or low)
        step = int(parts["step"] or 1)
        if low > high:
            raise ValueError(f"{span!r} ends before it begins")
        if not step:
            raise ValueError(f"{span!r} has no step")
        if high >= _LARGEST:
            raise ValueError(f"the highest index is {_LARGEST - 1:,}")
        indices = range(low, high + 1, step)
        count += len(indices)  # those that are there twice, too: the work is bounded
        if count > _MOST:
            raise ValueError(f"there are at most {_MOST:,} elements")
        found.update(indices)
        first_step = first_step or (step if parts["step"] else 0)
    return Array(tuple(sorted(found)), int(limit) if percent else None, first_step or 1)


_LIMIT = re.compile(r"0*[1-9]\d{0,6}", re.ASCII)
_SPAN = re.compile(r"(?P<low>\d{1,9})(-(?P<high>\d{1,9})(:(?P<step>\d{1,9}))?)?", re.ASCII)


def is_id(text: str) -> bool:
    """Whether a text is the number of a job, or of an element of an array or of several parts."""
    number = text.replace("_", "", 1).replace("+", "", 1)
    return number.isascii() and number.isdigit()


def whole(number: str) -> str:
    """Return the number of all of a job, of that of one of its parts: `5+1`."""
    return number.partition("+")[0]


def element_name(array: str, index: int | str) -> str:
    """Return what we call an element of an array."""
    return f"{array}[{index}]"


def array_of(name: str) -> str:
    """Return what Slurm calls a job: all elements of an array have its name."""
    return name.partition("[")[0]


def spans(indices: Iterable[int]) -> str:
    """Return indices as Slurm writes them: `0-2,9`."""
    found: list[list[int]] = []
    for index in sorted(set(indices)):
        if found and index == found[-1][1] + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in found)


def compressed(ids: Iterable[str]) -> list[str]:
    """Return numbers of jobs as Slurm takes them: elements of an array together, `5_[0-2,9]`."""
    plain: list[str] = []
    elements: defaultdict[str, list[int]] = defaultdict(list)
    for number in ids:
        array, is_element, index = number.partition("_")
        if is_element and index.isdigit():
            elements[array].append(int(index))
        else:
            plain.append(number)
    return plain + [f"{array}_[{spans(indices)}]" for array, indices in elements.items()]


def expanded(number: str) -> list[str]:
    """Return the numbers of jobs that Slurm writes as one: `5`, `5_2`, `5_[0-2,9%4]`.

    None where it is no such number.
    """
    array, is_element, indices = number.partition("_")
    if not (is_element and indices.startswith("[")):
        return [number] if is_id(number) else []
    found: list[str] = []
    for span in indices[1:].rstrip("]").partition("%")[0].split(","):
        low, _, high = span.partition("-")
        if not all(one.isascii() and one.isdigit() for one in (array, low, high or low)):
            return []
        if int(high or low) > _LARGEST or len(found) > _LARGEST:
            return []
        found += [f"{array}_{index}" for index in range(int(low), int(high or low) + 1)]
    return found


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return the items in order, so many at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]
