"""What a configuration is made of, apart from plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.errors import ConfigProblem

__all__ = ["MISSING", "PLAIN", "Mistake", "Mistakes", "Node", "Path", "Ref", "Word", "path_text"]

Path = tuple[str | int, ...]
"""Where a value is: names of fields, keys and indices, from the root."""


class _Missing:
    """Stands where no value is."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Any = _Missing()

PLAIN = frozenset((str, int, float, bool, bytes, complex, type(None)))
"""Types whose values have no parts and never change."""


class Word(str):
    """A text whose meaning is left to the type that it is wanted as: of a command line, say.

    `Word("5")` is 5 where an integer is wanted, and "5" where a text is.
    """

    __slots__ = ()


class Ref:
    """Stands for the value at another path of the same configuration; in data `{_ref_: PATH}`.

    It is resolved when the whole is built, after all overrides.

    Args:
        path: Where the value is, from the root, such as `model.width`.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Ref({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and self.path == other.path

    def __hash__(self) -> int:
        return hash((Ref, self.path))


class Node:
    """What `Config` and `Partial` have in common: a target, and the values of its fields.

    Fields are attributes of a node, so its own attributes begin with an underscore.
    """

    __slots__ = ("_drawn", "_shape", "_values")

    _is_partial: ClassVar[bool] = False
    _shape: Any
    _values: dict[str, Any]
    _drawn: dict[str, Any]


class Mistake:
    """A mistake while it is on its way out to the root: the path grows at its front."""

    __slots__ = ("expected", "found", "near", "path", "reason")

    def __init__(
        self,
        reason: str,
        path: Path = (),
        *,
        expected: str = "",
        found: str = "",
        near: tuple[str, ...] = (),
    ) -> None:
        self.reason = reason
        self.path = path
        self.expected = expected
        self.found = found
        self.near = near

    def told(self, origin: str = "", line: int = 0) -> ConfigProblem:
        """Return it as errors hold it."""
        from runbus.errors import ConfigProblem

        return ConfigProblem(
            path_text(self.path), self.reason, self.expected, self.found, self.near, origin, line
        )


Mistakes = list[Mistake]


def _parts(path: Path) -> Iterator[str]:
    for part in path:
        yield _key_text(part)


def _key_text(part: str | int) -> str:
    """Return one step of a path: `.name`, `[0]`, or `["any text"]`."""
    if isinstance(part, int):
        return f"[{part}]"
    if part.replace("-", "_").isalnum() or part.replace("-", "_").isidentifier():
        return f".{part}"
    import json

    return f"[{json.dumps(part, ensure_ascii=False)}]"


def path_text(path: Path) -> str:
    """Return a path as people write it: `layers[0].width`."""
    return "".join(_parts(path)).removeprefix(".")
