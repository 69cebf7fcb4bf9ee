"""The lines that jobs write, put together from the pieces in which they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.events import LogLines

__all__ = ["JobLines"]


class JobLines:
    r"""Remembers, for each output of each job, a line that is written over and over with `\r`."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], bytes] = {}
        self._states: dict[str, bytes] = {}

    def take(self, event: LogLines) -> list[bytes]:
        r"""Return the lines that are whole by now, without their ends.

        Of a line that was written over with `\r`, as progress bars are, only what was written last
        is one.
        """
        key = event.job, event.source
        data = self._begun.pop(key, b"") + event.data
        lines = data.split(b"\n")
        rest = lines.pop()
        has_returns = b"\r" in data
        if rest.endswith(b"\r"):
            state = _last(rest)
            self._begun[key] = state + b"\r"
            self._states[event.job] = state
        else:
            if has_returns:
                self._states.pop(event.job, None)
            if rest:
                lines.append(rest)
        return [_last(line) for line in lines] if has_returns else lines

    def state(self, job: str) -> bytes:
        """Return what a job's progress bar shows; empty if it has none."""
        return self._states.get(job, b"")


def _last(line: bytes) -> bytes:
    """Return what stands in a line after all that was written over it."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
