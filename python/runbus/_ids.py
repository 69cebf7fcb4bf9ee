"""Identifiers that sort by creation time, read well in a shell and are safe as folder names."""

from __future__ import annotations

import os
import re
import time

__all__ = [
    "LATEST",
    "is_experiment_id",
    "meaning_of",
    "new_experiment_id",
    "run_id_of",
    "short_id",
    "slug",
    "split_run_id",
]

LATEST = "latest"
"""What means the newest run wherever one is named; where a batch is, that of the newest run."""

# Crockford's base 32: no i, l, o, u, so an id read aloud or copied by hand stays itself.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EXPERIMENT_ID = r"\d{8}-\d{6}-[0-9a-hjkmnp-tv-z]{6}"
# Compiled where they are needed: `init()` must not pay for what it does not look at.
_RUN_ID = rf"({_EXPERIMENT_ID})-(\d+)"


def new_experiment_id(now_s: float | None = None, *, after: str = "") -> str:
    """Return an id such as `20261121-142530-k3x9qd`: UTC time, milliseconds, 20 random bits.

    The first two letters at the end are the milliseconds, so ids sort by time. The folder of an
    experiment is made exclusively, so two equal ids cannot both be used.

    Args:
        now_s: The time, in seconds since the Unix epoch; now if None.
        after: An id that the new one must follow, although the clock may have been set back since:
            then the new one is a millisecond later than that.
    """
    now_ms = round((time.time() if now_s is None else now_s) * 1000)
    new = _experiment_id(now_ms)
    if new > after or not is_experiment_id(after):
        return new
    return _experiment_id(_milliseconds(after) + 1)


def _experiment_id(time_ms: int) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    bits = milliseconds << 20 | int.from_bytes(os.urandom(4), "little") >> 12
    return f"{stamp}-" + "".join(_ALPHABET[bits >> shift & 31] for shift in range(25, -5, -5))


def _milliseconds(experiment_id: str) -> int:
    """Return the time in an id."""
    from calendar import timegm  # only where the clock was set back

    milliseconds = _ALPHABET.index(experiment_id[16]) << 5 | _ALPHABET.index(experiment_id[17])
    return timegm(_date_and_time(experiment_id)) * 1000 + milliseconds


def _date_and_time(experiment_id: str) -> tuple[int, ...]:
    digits = experiment_id.replace("-", "")
    return int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))


def is_experiment_id(text: str) -> bool:
    """Whether a text is an id, of a time that another one can follow."""
    if not re.fullmatch(_EXPERIMENT_ID, text):
        return False
    ranges = ((1970, 9998), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59))
    times = zip(_date_and_time(text), ranges, strict=True)
    return all(first <= number <= last for number, (first, last) in times)


def run_id_of(experiment_id: str, index: int) -> str:
    """Return the id of an experiment's run; the experiment can be read back from it."""
    return f"{experiment_id}-{index}"


def split_run_id(run_id: str) -> tuple[str, int] | None:
    """Return the experiment id and the index in a run id; None if this is not one."""
    match = re.fullmatch(_RUN_ID, run_id)
    return (match[1], int(match[2])) if match else None


def meaning_of(name: str) -> str:
    """Return what a name means wherever a run or a batch is named; empty if it may be given."""
    if name == LATEST:
        return "the newest one"
    if split_run_id(name):
        return "the run of that id"
    return "the batch of that id" if is_experiment_id(name) else ""


def short_id(whole: str) -> str:
    """Return the end of an id that tells it from others: `k3x9qd-1`; other texts as they are.

    A command takes it as it takes the whole id.

    Args:
        whole: The id of a run, or that of an experiment, of which `k3x9qd` is the end.
    """
    is_id = split_run_id(whole) or is_experiment_id(whole)
    return whole.split("-", 2)[2] if is_id else whole


def slug(text: str, *, limit: int = 40) -> str:
    """Return `text` as one safe path component: no separator, no leading dot or dash, not empty."""
    cleaned = re.sub(r"[^\w.=+@-]+", "-", text).strip("-.")
    return cleaned[:limit].strip("-.") or "unnamed"
