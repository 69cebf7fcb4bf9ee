"""Asking once for all who ask at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from runbus.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["Gathered"]

K = TypeVar("K")
V = TypeVar("V")


class Gathered(Generic[K, V]):
    """Answers questions that come at the same time, or while one is being asked, by asking once.

    An answer is always to a question that was asked after the call.

    Args:
        ask: Asks about several; what it leaves out has no answer.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._ask = ask
        self._turn = anyio.Lock()
        self._next: _Question[K, V] = _Question()

    async def __call__(self, key: K) -> V | None:
        """Return the answer about one; None if there is none. Cancelling it disturbs no others.

        Raises:
            HostError: Nobody answers.
        """
        mine = self._next
        mine.keys[key] = None
        async with self._turn:
            if mine.answers is None and mine.error is None:
                if mine is self._next:
                    self._next = _Question()
                try:
                    mine.answers = await self._ask(list(mine.keys))
                except HostError as error:
                    mine.error = error
        if mine.answers is None:
            assert mine.error is not None
            raise mine.error
        return mine.answers.get(key)


class _Question(Generic[K, V]):
    """What is asked together, and the answers."""

    def __init__(self) -> None:
        self.keys: dict[K, None] = {}
        self.answers: Mapping[K, V] | None = None
        self.error: HostError | None = None
