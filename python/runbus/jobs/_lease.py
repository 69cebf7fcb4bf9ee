"""The lease of an experiment: who leads it, since when nothing was heard of it, never two at once.

The leader holds a lock on `leader`, a file that only its user can open, so that nobody else can
take the lock; it falls back when the process ends, however that happens. Every four seconds the
leader writes into it that it is still there. One that has been silent for a minute (stopped by
Ctrl-Z, on a machine that stands still) is replaced: the next leader puts a new file in the place of
the old one. That is the fence: the old leader looks, before and after each thing it writes, whether
its own file is still in place. What it wrote before that look counts, and the next leader has it;
what it wrote later goes to a file that nobody reads, because the next leader continues in a copy.

`leader.lock` is held only while the lead passes to somebody, so that two cannot take it at once.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import math
import os
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from runbus import codec
from runbus._files import file_mode, open_file, read_file, write_file
from runbus.attempt import has_writer, own_pid_namespace
from runbus.errors import FileUnreadable, JournalHeld, LeaseLost, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = [
    "BEAT_S",
    "SILENT_S",
    "TAKE_OVER_S",
    "Leader",
    "Lease",
    "handed_over_s",
    "is_handed_over",
    "is_left",
    "leader_of",
    "note_unled",
    "passing",
    "why_unled",
]

BEAT_S = 4.0
"""How often a leader says that it is still there."""

SILENT_S = 15.0
"""A leader of which nothing was heard for so long is worth a word."""

TAKE_OVER_S = 60.0
"""A leader of which nothing was heard for so long can be replaced."""

_FILE, _LOCK, _JOURNAL = "leader", "leader.lock", "events.journal"
_UNLED, _LONGEST_NOTE = "unled", 64 << 10
_BYTES = 512
"""The claim always takes as much: it is written over in one piece."""

_PASSING_S, _PASSING_LOOK_S = 2.0, 0.01

_FLOCK = "hhqqi"
"""The kernel's `struct flock`: kind, from where, start, length (0 for all), process."""


class _Claim(msgspec.Struct, frozen=True):
    """What is in the file.

    Attributes:
        version: Of this format.
        pid: The leader's process; 0 if it has given the lead back.
        host: Its machine.
        boot: The boot of that machine.
        ns: The pid namespace of the process.
        beat_s: When it was there last, by the monotonic clock of its machine.
        is_owed: Whether the journal is still that of the leader before.
        is_handed_over: Whether it was given back for a process that has just been told to lead.
    """

    version: Literal[1]
    pid: int
    host: str
    boot: str
    ns: str
    beat_s: float
    is_owed: bool = False
    is_handed_over: bool = False


class Leader(NamedTuple):
    """A process that leads an experiment.

    Attributes:
        pid: The process; 0 if it is another user's, or not known.
        host: Its machine; empty if it is not known.
        silent_s: For how many seconds nothing was heard of it.
        is_stopped: Whether it is a process of this machine that a signal has stopped.
    """

    pid: int
    host: str
    silent_s: float
    is_stopped: bool

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of it for longer than is usual."""
        return self.silent_s >= SILENT_S

    @property
    def can_be_replaced(self) -> bool:
        """Whether nothing was heard of it for so long that another process may lead on."""
        return self.silent_s >= TAKE_OVER_S

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.pid else "a process that cannot be seen from here"
        where = f" on {self.host}" if self.host and self.host != os.uname().nodename else ""
        silence = f", silent for {self.silent_s:.0f} s" if self.is_silent else ""
        return f"led by {who}{where}{silence}{', stopped' if self.is_stopped else ''}"


def leader_of(folder: str) -> Leader | None:
    """Return the process that leads the experiment in `folder`; None if none does.

    Changes nothing. On a file system without locks, and where the file is another user's, somebody
    leads while something was heard of it within a minute.
    """
    path = os.path.join(folder, _FILE)
    try:
        file = open_file(path)
    except FileNotFoundError:
        # Before 0.2 the lock was that of the journal, and there was no such file.
        is_led = has_writer(os.path.join(folder, _JOURNAL))
        return Leader(0, "", 0.0, False) if is_led else None
    except FileUnreadable:
        return _unseen(path)
    try:
        is_held = _is_held(file)
        claim = _read(file)
        mtime = os.fstat(file).st_mtime
    finally:
        os.close(file)
    if is_held is False or (not is_held and (claim is None or not claim.pid)):
        return None
    leader = _described(claim, time.time() - mtime)
    return leader if is_held or not leader.can_be_replaced else None


def is_handed_over(folder: str) -> bool:
    """Whether a process gave the lead back a moment ago for another, which is about to take it.

    A supervisor needs a while to start, the longer where Python comes from a busy file server; for
    a minute it is waited for as for a leader. If it noted why it cannot lead, nobody is about to.
    """
    return handed_over_s(folder) is not None


def handed_over_s(folder: str) -> float | None:
    """Return for how many seconds the process to which the lead was given has not taken it.

    None if none is about to: see `is_handed_over`.
    """
    try:
        file = open_file(os.path.join(folder, _FILE))
    except (FileNotFoundError, FileUnreadable):
        return None
    try:
        claim = _read(file)
        # The time of the file may be that of a server whose clock is ahead of this one.
        age_s = abs(time.time() - os.fstat(file).st_mtime)
    finally:
        os.close(file)
    if claim is None or not claim.is_handed_over or age_s >= TAKE_OVER_S or why_unled(folder):
        return None
    return age_s


def is_left(folder: str) -> bool:
    """Whether no process leads an experiment, and none is about to.

    To be asked before where its jobs stand: what a leader that ends recorded last is then there.
    """
    # In this order: a process that was about to lead does so by the second look.
    return not is_handed_over(folder) and leader_of(folder) is None


def note_unled(folder: str, reason: str) -> None:
    """Note why the process that was to lead an experiment could not begin.

    Raises:
        OSError: There is no room for it, or access is denied.
    """
    write_file(os.path.join(folder, _UNLED), reason.encode(), is_durable=False)


def why_unled(folder: str) -> str:
    """Return what was noted, on one line; empty if nothing was, or an experiment went on since."""
    path = os.path.join(folder, _UNLED)
    try:
        if os.stat(path).st_mtime_ns < os.stat(os.path.join(folder, _JOURNAL)).st_mtime_ns:
            return ""
        return " ".join(read_file(path, limit=_LONGEST_NOTE).decode(errors="replace").split())
    except (OSError, FileUnreadable):
        return ""


def _unseen(path: str) -> Leader | None:
    try:
        silent_s = max(0.0, time.time() - os.stat(path, follow_symlinks=False).st_mtime)
    except OSError:
        return None
    leader = Leader(0, "", silent_s, False)
    return None if leader.can_be_replaced else leader


def _described(claim: _Claim | None, age_s: float) -> Leader:
    if claim is None:
        return Leader(0, "", max(0.0, age_s), False)
    is_here = claim.boot == _boot_id() and claim.ns == own_pid_namespace()
    # While a machine sleeps this clock stands still, and so do all who lead on it.
    by_beat = time.monotonic() - claim.beat_s if claim.boot == _boot_id() else -1.0
    silent_s = by_beat if by_beat >= 0 else max(0.0, age_s)
    return Leader(claim.pid, claim.host, silent_s, is_here and _is_stopped(claim.pid))


class Lease:
    """The lead of an experiment, held by this process.

    Attributes:
        is_owed: Whether the leader before may still write to the journal.
    """

    __slots__ = ("_dev_ino", "_file", "_next_beat", "_path", "_shown", "is_owed")

    def __init__(self, folder: str, file: int, *, is_owed: bool) -> None:
        self._path = os.path.join(folder, _FILE)
        self._shown = os.path.join(folder, _JOURNAL)
        self._file = file
        self.is_owed = is_owed
        found = os.stat(self._path, follow_symlinks=False)
        self._dev_ino = found.st_dev, found.st_ino
        self._next_beat: float | None = None
        self._write()

    @classmethod
    def take(cls, folder: str) -> Self:
        """Take the lead, while `passing` is held.

        Raises:
            JournalHeld: Another process leads, and something was heard of it lately.
            OSError: The file cannot be made or written.
        """
        path = os.path.join(folder, _FILE)
        try:
            file = open_file(path, os.O_RDWR)
        except FileNotFoundError:
            if has_writer(os.path.join(folder, _JOURNAL)):
                raise JournalHeld(os.path.join(folder, _JOURNAL)) from None
            return cls(folder, _put(path, is_owed=False), is_owed=False)
        except FileUnreadable as error:
            if os.path.isdir(path):
                raise OSError(errno.EISDIR, error.reason, path) from error
            return cls._replace(folder, _unseen(path))
        if _lock(file):
            # The process that held it has ended, and cannot write any more.
            claim = _read(file)
            return cls(folder, file, is_owed=claim is not None and claim.is_owed)
        os.close(file)
        return cls._replace(folder, leader_of(folder))

    @classmethod
    def _replace(cls, folder: str, leader: Leader | None) -> Self:
        """Put an own file in the place of that of a leader that was silent for too long."""
        if leader is not None and not leader.can_be_replaced:
            raise JournalHeld(os.path.join(folder, _JOURNAL), str(leader))
        return cls(folder, _put(os.path.join(folder, _FILE), is_owed=True), is_owed=True)

    def paid(self) -> None:
        """The journal is this leader's own from now on."""
        self.is_owed = False
        self._write()

    def check(self) -> None:
        """Make sure that nobody else has taken the lead.

        Raises:
            LeaseLost: Somebody has, or the experiment's folder is gone.
        """
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except OSError as error:
            raise LeaseLost(self._shown, os_reason(error)) from error
        if (found.st_dev, found.st_ino) != self._dev_ino:
            leader = leader_of(os.path.dirname(self._path))
            raise LeaseLost(self._shown, f"it is {leader} now" if leader else "")

    def beat(self, now: float) -> None:
        """Let others see that this process is still there; costs nothing before it is time.

        Args:
            now: This moment, in seconds of any clock that is never set.

        Raises:
            LeaseLost: Somebody else leads.
        """
        if self._next_beat is None or now >= self._next_beat:
            self._next_beat = now + BEAT_S
            self.check()
            self._write()

    def close(self, *, is_handed_over: bool = False) -> None:
        """Give the lead back; safe to repeat.

        Args:
            is_handed_over: Whether another process is about to take it.
        """
        if self._file >= 0:
            self._write(pid=0, is_handed_over=is_handed_over)
            os.close(self._file)
            self._file = -1

    def _write(self, pid: int | None = None, *, is_handed_over: bool = False) -> None:
        claim = _claim(is_owed=self.is_owed, pid=pid, is_handed_over=is_handed_over)
        try:
            os.pwrite(self._file, claim, 0)
        except OSError:
            # On a full disk that is no reason to stop: the lock says the same.
            pass


@contextmanager
def passing(folder: str) -> Iterator[None]:
    """Keep others from taking the lead of an experiment meanwhile.

    Raises:
        JournalHeld: Another process is about to take it, and is not done after two seconds.
        OSError: The file cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(os.path.join(folder, _LOCK), flags, file_mode())
    try:
        end = time.monotonic() + _PASSING_S
        while _lock(file) is False:
            if time.monotonic() > end:
                reason = "another process is about to lead"
                raise JournalHeld(os.path.join(folder, _JOURNAL), reason)
            time.sleep(_PASSING_LOOK_S)
        yield
    finally:
        os.close(file)


def _put(path: str, *, is_owed: bool) -> int:
    """Put a new, locked file in a place, and return its descriptor."""
    new = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.new"
    file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _lock(file)
        os.pwrite(file, _claim(is_owed=is_owed), 0)
        os.rename(new, path)
    except BaseException:
        os.close(file)
        os.unlink(new)
        raise
    return file


def _claim(*, is_owed: bool, pid: int | None = None, is_handed_over: bool = False) -> bytes:
    """Return what this process writes into the file."""
    own = os.getpid()
    host, boot, ns = _place(own)
    claim = _Claim(
        version=1,
        pid=own if pid is None else pid,
        host=host,
        boot=boot,
        ns=ns,
        # Down: a moment that lies ahead was not by this clock.
        beat_s=math.floor(time.monotonic() * 1000) / 1000,
        is_owed=is_owed,
        is_handed_over=is_handed_over,
    )
    return codec.encode_json(claim).ljust(_BYTES - 1) + b"\n"


def _read(file: int) -> _Claim | None:
    """Return what a leader wrote; None if it is not there, damaged, or of another version."""
    try:
        return codec.decode_json(os.pread(file, _BYTES, 0), _Claim)
    except (OSError, codec.DecodeError):
        return None


def _lock(file: int) -> bool | None:
    """Take the lock; return whether nobody else has it, or None where there are no locks."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, asked)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _is_held(file: int) -> bool | None:
    """Whether somebody holds the lock; None where there are no locks."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    except OSError:
        return None
    return int(struct.unpack(_FLOCK, found)[0]) != fcntl.F_UNLCK


@functools.lru_cache(1)
def _place(process: int) -> tuple[str, str, str]:
    """Return where a process runs, itself, once: its host, the boot, and its pid namespace."""
    del process
    return os.uname().nodename, _boot_id(), own_pid_namespace()


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False
