"""How another process asks whoever leads an experiment to end jobs: a file each, taken once."""

from __future__ import annotations

import logging
import os
import re

import msgspec

from runbus import codec
from runbus._files import make_folders, read_file, write_file
from runbus.errors import FileUnreadable

__all__ = ["CancelRequest", "ask_to_cancel", "read_requests"]

logger = logging.getLogger("runbus.jobs")

_FOLDER = "requests"
_LARGEST = 64 << 10
_NAME = r"[^.].*\.json"


class CancelRequest(msgspec.Struct, frozen=True):
    """Somebody wants a job, or all, to end.

    Attributes:
        job: The job's name; None for all.
        reason: Who asked, and why.
        grace_s: Seconds between TERM and KILL.
    """

    job: str | None
    reason: str
    grace_s: float


def ask_to_cancel(folder: str, request: CancelRequest) -> None:
    """Leave a request in an experiment's folder; whoever leads it acts within half a second."""
    requests = os.path.join(folder, _FOLDER)
    make_folders(requests)
    path = os.path.join(requests, f"{os.getpid()}-{os.urandom(4).hex()}.json")
    write_file(path, codec.encode_json(request))


def read_requests(folder: str) -> dict[str, CancelRequest]:
    """Return the requests that wait in an experiment's folder, by their files.

    Whoever acts on one removes its file afterwards: acting twice does no harm, forgetting would.
    One that cannot be read would stop every leader there ever is: it is put aside.
    """
    requests = os.path.join(folder, _FOLDER)
    try:
        names = sorted(name for name in os.listdir(requests) if re.fullmatch(_NAME, name))
    except FileNotFoundError:
        return {}
    waiting = {}
    for name in names:
        path = os.path.join(requests, name)
        try:
            waiting[path] = codec.decode_json(read_file(path, limit=_LARGEST), CancelRequest)
        except FileNotFoundError:
            # Whoever led until now has acted on it.
            continue
        except (codec.DecodeError, FileUnreadable) as error:
            logger.warning("the request %s cannot be read: %s", path, error)
            os.replace(path, f"{path}.unreadable")
    return waiting
