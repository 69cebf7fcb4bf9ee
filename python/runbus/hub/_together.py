"""Something done with many plugins, each after those that it waits for, others at the same time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from runbus.abc import PluginState
from runbus.errors import PluginStuck

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from runbus.hub._shelf import Entry

__all__ = ["each"]

logger = logging.getLogger("runbus.hub")


async def each(
    entries: Sequence[Entry],
    act: Callable[[Entry], Awaitable[None]],
    *,
    after: Callable[[Entry], Iterable[str]],
    outcomes: dict[str, Exception | None],
    deadline_s: float,
    doing: str,
) -> None:
    """Do something with each plugin; what fails with one stops no other.

    Args:
        entries: The plugins.
        act: What to do.
        after: Which of them must be done with before, by name.
        outcomes: Gets what went wrong with each; None for nothing.
        deadline_s: After how many seconds those that are not done with have failed.
        doing: What is done, for messages.
    """
    done = {entry.name: anyio.Event() for entry in entries}

    async def one(entry: Entry) -> None:
        try:
            for other in after(entry):
                if other in done:
                    await done[other].wait()
            await act(entry)
            outcomes[entry.name] = None
        except Exception as error:
            outcomes[entry.name] = error
            logger.warning("plugin %r: cannot %s: %s", entry.name, doing, error)
        finally:
            done[entry.name].set()

    with anyio.move_on_after(deadline_s):
        async with anyio.create_task_group() as tasks:
            for entry in entries:
                tasks.start_soon(one, entry, name=f"{doing} {entry.name}")
    for entry in entries:
        if entry.name not in outcomes:
            late = PluginStuck(entry.name, doing, deadline_s)
            outcomes[entry.name] = late
            entry.move(PluginState.FAILED, str(late))
