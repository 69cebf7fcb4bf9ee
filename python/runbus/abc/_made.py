"""What is made again in another process: it keeps what it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Portable"]


class Portable:
    """Keeps the arguments of its constructor, from which another process can make the same."""

    _made_from: tuple[tuple[Any, ...], dict[str, Any]]

    # Not `__init__`, which subclasses need not call.
    def __new__(cls, *args: Any, **values: Any) -> Self:
        """Make one, and keep what it is made from."""
        self = super().__new__(cls)
        self._made_from = (args, values)
        return self

    @property
    def made_from(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that it was made from, by place and by name."""
        return self._made_from
