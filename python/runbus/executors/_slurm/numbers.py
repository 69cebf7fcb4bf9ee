"""How Slurm writes the numbers of jobs and of the elements of arrays."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["array_of", "chunks", "compressed", "element_name", "expanded", "is_id", "spans"]

T = TypeVar("T")

_LARGEST = 1 << 22
"""The highest index that an array can have in any Slurm."""


def is_id(text: str) -> bool:
    """Whether a text is the number of a job, or of an element of an array or of several parts."""
    number = text.replace("_", "", 1).replace("+", "", 1)
    return number.isascii() and number.isdigit()


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
