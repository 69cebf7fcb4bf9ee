"""The values in answers of slurmrestd: each version has its own form, and none is relied on."""

from __future__ import annotations

import base64
import binascii
import os
import signal
from typing import Any

from runbus import codec

__all__ = ["exit_of", "expires_s", "first", "integer", "state_of", "text", "told"]


def expires_s(token: str) -> float | None:
    """Return when a token ends, in seconds of Unix time; None if it does not say so."""
    claims = token.split(".")[1:2]
    try:
        data = base64.urlsafe_b64decode((claims[0] if claims else "") + "==")
        found = codec.decode_json(data, dict[str, Any]).get("exp")
    except (ValueError, binascii.Error, codec.DecodeError):
        return None
    return float(found) if isinstance(found, (int, float)) else None


# As squeue shows them: what happens to a job comes before the state that it is in.
_HAPPENING = (
    "COMPLETING", "STAGE_OUT", "CONFIGURING", "RESIZING", "REQUEUED", "REQUEUE_FED",
    "REQUEUE_HOLD", "SPECIAL_EXIT", "STOPPED", "REVOKED", "RESV_DEL_HOLD", "SIGNALING",
)  # fmt: skip


def state_of(value: object) -> str:
    """Return Slurm's word; versions from 0.0.40 on tell several."""
    every = value if isinstance(value, list) else [value]
    words = [one.upper() for one in every if isinstance(one, str)]
    for word in _HAPPENING:
        if word in words:
            return word
    return words[0] if words else ""


def first(value: object) -> str:
    """Return a text, or the first of several."""
    return text(value[0]) if isinstance(value, list) and value else text(value)


def text(value: object) -> str:
    """Return a text; empty for anything else."""
    return value if isinstance(value, str) else ""


def told(value: object) -> str:
    """Return a text; empty where Slurm has only said that it has nothing to say."""
    said = text(value).strip()
    return "" if said in {"None", "(null)", "None assigned", "n/a", "N/A"} else said


def integer(value: object) -> int | None:
    """Return a number; None for one that is not set, or infinite."""
    if isinstance(value, dict):
        is_told = value.get("set") is True and value.get("infinite") is not True
        value = value.get("number") if is_told else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return value
    return None


def exit_of(value: object) -> tuple[int | None, int]:
    """Return the exit code and the signal that an answer tells; None and 0 for what it does not.

    Versions before 0.0.40 tell what `wait` has returned.
    """
    if not isinstance(value, dict):
        status = (integer(value) or 0) & 0xFFFF
        if os.WIFSIGNALED(status):
            return None, os.WTERMSIG(status)
        return (os.WEXITSTATUS(status) if status else None), 0
    one = value.get("signal")
    of = one if isinstance(one, dict) else {}
    number = integer(of.get("signal_id")) or integer(of.get("id")) or 0
    is_signal = 0 < number < signal.NSIG
    return integer(value.get("return_code")), number if is_signal else 0
