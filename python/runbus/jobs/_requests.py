"""How another process asks the leader of an experiment to end jobs: a file each, taken once."""

from __future__ import annotations

import base64
import errno
import logging
import os
import re

import msgspec

from runbus import codec
from runbus._files import make_folders, read_file, write_file
from runbus.errors import FileUnreadable

__all__ = ["CancelRequest", "ask_to_cancel", "read_requests", "requests_stamp"]

logger = logging.getLogger("runbus.jobs")

_FOLDER = "requests"
_LARGEST = 64 << 10
_NAME = r"[^.].*\.json"
_IN_NAME = re.compile(r"[0-9a-f-]+\.([\w-]+)\.json")
_LONGEST_NAME = 220
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    """Leave a request in an experiment's folder; its leader acts within half a second.

    On a full disk, where no file can have anything in it, the request is in the file's name.

    Raises:
        OSError: Not even that has room, or access is denied.
    """
    requests = os.path.join(folder, _FOLDER)
    make_folders(requests)
    stem = f"{os.getpid()}-{os.urandom(4).hex()}"
    data = codec.encode_json(request)
    try:
        write_file(os.path.join(requests, f"{stem}.json"), data)
    except OSError as error:
        name = f"{stem}.{base64.urlsafe_b64encode(data).decode().rstrip('=')}.json"
        if error.errno not in _FULL or len(name) > _LONGEST_NAME:
            raise
        write_file(os.path.join(requests, name), b"", is_durable=False)


def _read(path: str) -> CancelRequest:
    data = read_file(path, limit=_LARGEST)
    if not data and (named := _IN_NAME.fullmatch(os.path.basename(path))):
        data = base64.urlsafe_b64decode(named[1] + "==")
    return codec.decode_json(data, CancelRequest)


def requests_stamp(folder: str) -> int:
    """Return what changes when a request comes to an experiment's folder: cheaper than a look.

    Two that come within a few milliseconds may leave it as it was, and so may a network file
    system for a while.
    """
    try:
        return os.stat(os.path.join(folder, _FOLDER)).st_mtime_ns
    except OSError:
        return 0


def read_requests(folder: str, *, put_aside: bool = False) -> dict[str, CancelRequest]:
    """Return the requests that wait in an experiment's folder, by their files.

    The leader removes a file after it has acted on it: acting twice does no harm, forgetting does.

    Args:
        folder: The experiment's folder.
        put_aside: Whether one that cannot be read is renamed and reported: for the leader only.
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
            waiting[path] = _read(path)
        except FileNotFoundError:
            pass  # the leader until now has acted on it
        except (codec.DecodeError, FileUnreadable, ValueError) as error:
            if put_aside:
                logger.warning("the request %s cannot be read: %s", path, error)
                os.replace(path, f"{path}.unreadable")
    return waiting
