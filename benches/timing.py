"""Times statements beside each other, so that a noisy moment falls on all of them."""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["looped", "net_ns"]

CALLS = 1_000


def looped(statement: str, scope: Mapping[str, object]) -> Callable[[], object]:
    """Return a function that makes the statement `CALLS` times, as inline code."""
    names = dict(scope)
    exec(f"def loop():\n    for i in range({CALLS}):\n        {statement}", names)
    loop = names["loop"]
    assert callable(loop)
    return loop


def net_ns(
    statements: Mapping[str, str],
    scope: Mapping[str, object],
    *,
    rounds: int = 300,
    between: Callable[[], object] = int,
) -> dict[str, float]:
    """Return the median cost of each statement in ns, without that of an empty loop.

    Args:
        statements: The statements by name; `i` counts from 0.
        scope: What they refer to.
        rounds: How often each is made `CALLS` times, all in turn.
        between: Called between two of them, untimed.
    """
    loops = {name: looped(statement, scope) for name, statement in statements.items()}
    loops[""] = looped("pass", scope)
    spans: dict[str, list[int]] = {name: [] for name in loops}
    clock = time.perf_counter_ns
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, loop in loops.items():
                start = clock()
                loop()
                spans[name].append(clock() - start)
                between()
    finally:
        gc.enable()
    medians = {name: statistics.median(times) / CALLS for name, times in spans.items()}
    empty = medians.pop("")
    return {name: median - empty for name, median in medians.items()}
