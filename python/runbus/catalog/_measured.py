"""What runs are chosen and ordered by, in the index: params, names, what metrics amount to."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from runbus.catalog._index_file import write_rows
from runbus.catalog._listings import INDEX_FILE, Listings
from runbus.catalog._stamps import are_settled, packed, stamps
from runbus.metrics import SeriesSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runbus._home import Home

__all__ = ["Measured", "MeasuredRuns"]

_WORTH = 200
"""So many runs must have been read from their folders before the index is extended by them."""

_AT_ONCE = 4_096

_ROWS = "SELECT key, crc, stamps, measured FROM measured WHERE key BETWEEN ? AND ?"

# What an entry looks like is told by the fields of a summary, and its checksum begins with them.
_SHAPE = crc32(repr(SeriesSummary._fields).encode())

_MAPPED_BYTES = 64 << 10
"""The size of a journal that may be open is a multiple of this: see `stamps`."""


class Measured(NamedTuple):
    """What is known of a run that is over.

    Attributes:
        params: Its params.
        shown: What views call params and metrics that have another name there.
        summaries: What its metrics amount to; None if nobody has asked.
    """

    params: dict[str, Any]
    shown: dict[str, str | None]
    summaries: dict[str, SeriesSummary] | None


class MeasuredRuns:
    """Reads and keeps what runs have measured.

    Args:
        home: The home folder.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._opened_ns = time.time_ns()

    def of(self, folders: Iterable[str]) -> Iterator[tuple[str, Measured]]:
        """Yield what the index has of runs whose files are what they were, by their folders."""
        keys = {key: folder for folder in folders if (key := _key(folder)) is not None}
        ordered = sorted(keys)
        with Listings(self._home) as listings:
            for at in range(0, len(ordered), _AT_ONCE):
                some = {key: keys[key] for key in ordered[at : at + _AT_ONCE]}
                yield from self._some_of(listings, some)

    def _some_of(self, listings: Listings, keys: dict[str, str]) -> Iterator[tuple[str, Measured]]:
        rows = [
            (keys[key], made, data)
            for key, wanted, made, data in listings.rows(_ROWS, keys)
            if isinstance(made, bytes) and isinstance(data, bytes)
            if crc32(data, crc32(made, _SHAPE)) == wanted
        ]
        same = listings.are_same([(folder, made) for folder, made, _ in rows])
        kept = [row for row, is_same in zip(rows, same, strict=True) if is_same]
        with suppress(ValueError, TypeError, RecursionError):  # no writer of ours has written it
            text = b"[" + b",".join([data for *_, data in kept]) + b"]"
            for (folder, *_), (params, shown, summaries) in zip(
                kept, json.loads(text), strict=True
            ):
                found = summaries and {k: SeriesSummary(*one) for k, one in summaries.items()}
                yield folder, Measured(params, shown, found)

    def keep(self, found: Mapping[str, Measured]) -> int:
        """Remember what was read of runs that are over, if it is worth it.

        Args:
            found: What is known of them, by their folders: read since this was made.

        Returns:
            How many runs were added.
        """
        if len(found) < _WORTH:
            return 0
        rows = [row for folder, one in found.items() if (row := self._row(folder, one))]
        path = os.path.join(self._home.path, INDEX_FILE)
        return len(rows) if rows and write_rows(path, {"measured": rows}) else 0

    def _row(self, folder: str, one: Measured) -> tuple[str, int, bytes, bytes] | None:
        """Return what is kept of a run; None if its files may have been changed meanwhile."""
        try:
            made = stamps(folder, _files_of(folder))
            is_open = any(
                path.endswith(".journal") and size % _MAPPED_BYTES == 0
                for path, (_, _, size) in made.items()
            )
            if is_open or not are_settled(made.values(), self._opened_ns):
                return None
            if (key := _key(folder)) is None:
                return None
            data = json.dumps(one, ensure_ascii=False).encode()
            noted = packed(made)
        except (OSError, ValueError, TypeError):
            return None  # params may be what JSON does not have
        return key, crc32(data, crc32(noted, _SHAPE)), noted, data


def _key(folder: str) -> str | None:
    """Return what a run is called in the index; None if its name is no Unicode."""
    *_, project, experiment, _, run = folder.split("/")
    key = f"{experiment}/{project}/{run}"
    return key if key.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in key) else None


def _files_of(folder: str) -> Iterator[str]:
    """Yield the paths of what is read of a run here, within its folder.

    What is not there yet would show in the folder that it lies in.
    """
    yield "."
    yield "run.json"
    for kind in ("records", "metrics"):
        try:
            names = os.listdir(f"{folder}/{kind}")
        except FileNotFoundError:
            continue
        yield kind
        yield from (f"{kind}/{name}" for name in names)
