"""What the wrapper left in an attempt's folder, read without believing more than it says."""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from runbus._secrets import redacted_text
from runbus.abc import Observation
from runbus.attempt._files import open_to_read, read_whole
from runbus.codec import DecodeError, decode_json

__all__ = [
    "OUT_OF_MEMORY",
    "TIME_LIMIT",
    "ExitRecord",
    "PidRecord",
    "Pulse",
    "is_elsewhere",
    "is_running",
    "lost_output",
    "observe_folder",
    "observe_start",
]

_T = TypeVar("_T")

MISSED_BEATS = 6
"""A network file system may show a file as it was half a minute ago: one late beat is no death."""

_LONGEST = 4096

TIME_LIMIT = "time limit"
"""What the wrapper gives as the reason when it ended a job for its time."""

CANCELLED = "cancelled"
"""What the wrapper gives as the reason when the job's end had been asked for before it ended."""

OUT_OF_MEMORY = "out of memory"
"""How the wrapper's reason begins when the kernel killed a job for its memory."""


class PidRecord(msgspec.Struct, frozen=True):
    """pid.json: the job's process. `start` is in clock ticks, `uptime` in seconds since boot.

    `ns` is the pid namespace, as /proc/self/ns/pid shows it; empty where it was not known.
    """

    pid: int
    start: int
    boot: str
    host: str
    uptime: float
    ns: str = ""


class ExitRecord(msgspec.Struct, frozen=True):
    """exit.json: the status as a shell reports it, 128 + n also for signal n; times as `1m2.5s`.

    `signal` is what ended the job for certain; None if it exited by itself, or it cannot be
    determined. `max_rss` is the most memory that one of its processes had, in bytes; the script
    knows of none. `outlived` is whether something of its process group was still alive: it may
    write more. `lost` is how many bytes of its output there was no room for, as far as its logs do
    not tell. `by` is which of the two wrappers wrote the record.
    """

    status: int
    uptime: float
    user: str
    sys: str
    reason: str
    signal: int | None = None
    max_rss: int | None = None
    outlived: bool = False
    lost: int = 0
    by: str = "script"


def own_pid_namespace() -> str:
    """Return the pid namespace of this process; empty where the system does not tell."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def observe_folder(folder: str) -> Observation | None:
    """Return what the records in `folder` say; None if the job has left no record yet.

    `phase` is "running" also for a job whose process died without an exit record: only the
    executor can tell a dead machine from a slow one. Ask `is_running` for that.
    """
    # The end first: a job that ends between the two looks must not seem to be running still.
    ended = _read(os.path.join(folder, "exit.json"), ExitRecord)
    began = _read(os.path.join(folder, "pid.json"), PidRecord)
    seen = _started(began) if began else Observation(phase="queued")
    if ended is None:
        return seen if began else None
    record, ended_ns = ended
    return replace(
        seen,
        phase="ended",
        ended_ns=ended_ns,
        duration_s=max(0.0, record.uptime - began[0].uptime) if began else 0.0,
        cpu_s=_seconds(record.user) + _seconds(record.sys),
        max_rss_bytes=record.max_rss,
        exit_code=record.status if record.signal is None else None,
        signal=record.signal,
        # It may name words of the command, and goes wherever a job is shown.
        reason=redacted_text(record.reason),
        wrapper=record.by,
        evidence="exit.json",
    )


def observe_start(folder: str) -> Observation | None:
    """Return what `observe_folder` does of a job that is known not to have ended."""
    began = _read(os.path.join(folder, "pid.json"), PidRecord)
    return _started(began) if began else None


def is_running(folder: str) -> bool:
    """Whether the very process in `folder`'s pid.json is alive on this machine, since this boot."""
    began = _read(os.path.join(folder, "pid.json"), PidRecord)
    if began is None:
        return False
    record = began[0]
    if _is_foreign(record):
        return False
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            if file.read().strip() != record.boot:
                return False
        with open(f"/proc/{record.pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return False
    # A first thread that has ended is a zombie, too, while others continue.
    is_dead = fields[0] in "ZX" and int(fields[17]) <= 1
    return int(fields[19]) == record.start and not is_dead


def is_elsewhere(folder: str) -> bool:
    """Whether the process in `folder`'s pid.json is one of another machine or pid namespace."""
    began = _read(os.path.join(folder, "pid.json"), PidRecord)
    return began is not None and _is_foreign(began[0])


def outlived(folder: str) -> bool:
    """Whether a job that has ended left processes behind, which may write more."""
    ended = _read(os.path.join(folder, "exit.json"), ExitRecord)
    return ended is not None and ended[0].outlived


def lost_output(folder: str) -> int:
    """Return how many bytes of a job's output found no room, and are not told of in its logs."""
    ended = _read(os.path.join(folder, "exit.json"), ExitRecord)
    return 0 if ended is None else max(0, ended[0].lost)


def _is_foreign(record: PidRecord) -> bool:
    # A container may have the name of its host.
    own = own_pid_namespace()
    return record.host != os.uname().nodename or bool(record.ns and own and record.ns != own)


class Pulse:
    """The heartbeat of a job on a machine where nobody can look, by way of a shared file system.

    Its clock and ours may differ, so only that it changes counts, and how long ago by our clock.

    Args:
        folder: The attempt's folder.
        now: This moment, in seconds of any clock that is never set.
    """

    __slots__ = ("_beat_s", "_changed", "_heartbeat", "_path")

    def __init__(self, folder: str, now: float) -> None:
        self._path = os.path.join(folder, "heartbeat")
        self._heartbeat = b""
        self._changed = now
        try:
            self._beat_s: float | None = float(read_whole(os.path.join(folder, "beat"), _LONGEST))
        except (OSError, ValueError):
            self._beat_s = None

    def look(self, now: float) -> bool | None:
        """Look, and return whether `MISSED_BEATS` beats are missing; None without a heartbeat."""
        if self._beat_s is None:
            return None
        try:
            heartbeat = read_whole(self._path, _LONGEST) or self._heartbeat
        except OSError:
            heartbeat = self._heartbeat
        if heartbeat != self._heartbeat:
            self._heartbeat, self._changed = heartbeat, now
        return now - self._changed > MISSED_BEATS * self._beat_s


def _seconds(text: str) -> float:
    """Return the seconds in a time as the shell's `times` writes it; 0 if it is not one."""
    minutes, _, seconds = text.rstrip("s").partition("m")
    try:
        return 60 * float(minutes) + float(seconds)
    except ValueError:
        return 0.0


def _started(began: tuple[PidRecord, int]) -> Observation:
    record, started_ns = began
    return Observation(
        phase="running", host=record.host, pid=record.pid, started_ns=started_ns,
        evidence="pid.json",
    )  # fmt: skip


def _read(path: str, shape: type[_T]) -> tuple[_T, int] | None:
    """Return a record and the time it was written; None if it is not (wholly) there."""
    file = open_to_read(path)
    if file is None:
        return None
    try:
        record = decode_json(os.read(file, _LONGEST), shape)
        # After the record: exit.json is there, and blank, before it is filled in.
        return record, os.fstat(file).st_mtime_ns
    except DecodeError:
        return None
    finally:
        os.close(file)
