"""Which machine an attempt was sent to, and where everything of it lies there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from runbus._files import read_file, write_file
from runbus.abc import JobRef
from runbus.codec import DecodeError, decode_json
from runbus.errors import FileUnreadable

if TYPE_CHECKING:
    from runbus.abc import JobSpec

__all__ = [
    "PLACEMENT",
    "Placement",
    "read_placement",
    "ref_to",
    "remote_folders",
    "run_json",
    "write_placement",
]

_LARGEST = 64 << 10
PLACEMENT = "placement.json"
"""The file in an attempt's folder that tells it."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job was sent: written before it is sent, so that nobody sends it elsewhere.

    Attributes:
        host: The machine.
        folder: The attempt's folder on it.
        run_folder: The run's folder on it.
        local_run_folder: The run's folder here, relative to the attempt's.
        known_as: What the job is called by what queues jobs there; empty where nothing does.
    """

    host: str
    folder: str
    run_folder: str
    local_run_folder: str
    known_as: str = ""


def remote_folders(job: JobSpec, base: str) -> tuple[str, str]:
    """Return the attempt's and the run's folder on a machine: the same for every submit."""
    parent, attempt = os.path.split(job.folder)
    top = f"{base}/{job.experiment_id}"
    return f"{top}/jobs/{os.path.basename(parent)}/{attempt}", f"{top}/runs/{job.run_id}"


def ref_to(job: JobSpec, placement: Placement) -> JobRef:
    """Return what finds a job again that was sent there."""
    handle = f"{placement.host}:{placement.folder}"
    return JobRef(name=job.name, folder=job.folder, handle=handle)


def run_json(run_folder: str) -> bytes:
    """Return the description of a run, for the copy of its folder there."""
    try:
        return read_file(os.path.join(run_folder, "run.json"))
    except FileNotFoundError:
        return b"{}"


def read_placement(folder: str) -> Placement | None:
    """Return where an attempt was sent; None if it was not."""
    try:
        return decode_json(read_file(os.path.join(folder, PLACEMENT), limit=_LARGEST), Placement)
    except (FileNotFoundError, FileUnreadable, DecodeError):
        return None


def write_placement(folder: str, data: bytes, durable: bool) -> None:
    """Write where a job goes; it appears whole."""
    write_file(os.path.join(folder, PLACEMENT), data, is_durable=durable)
