"""Who leads an experiment: one at a time, seen by all, and replaced if nothing is heard of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.processes import open_files

from runbus.attempt import Journal, own_pid_namespace
from runbus.errors import JournalError, JournalHeld, LeaseLost
from runbus.events import JobIntended
from runbus.jobs import (
    BEAT_S,
    TAKE_OVER_S,
    FactReader,
    JobStore,
    is_handed_over,
    leader_of,
    note_unled,
    read_jobs,
    why_unled,
)
from runbus.jobs._lease import Lease, passing

ABOUT: dict[str, Any] = {"experiment_id": "e", "job": "j", "run_id": "e-1", "attempt": 1}
INTENDED = JobIntended(**ABOUT, time_ns=1, executor="local", folder="jobs/1-j/1", package="c.tgz")

LEADER = """
import sys
from msgspec.structs import replace
from runbus.errors import LeaseLost
from runbus.jobs import JobStore
from tests.unit.jobs.test_lease import INTENDED

store = JobStore(sys.argv[1])
for number in range(1_000_000):
    try:
        store.record(replace(INTENDED, job=str(number)))
    except LeaseLost:
        break
    print(number, flush=True)
"""


def age(folder: Path, seconds: float) -> None:
    """Make it look as if nothing had been heard of a leader for some time."""
    alter(folder, beat_s=claimed(folder)["beat_s"] - seconds)


def claimed(folder: Path) -> dict[str, Any]:
    claim: dict[str, Any] = json.loads((folder / "leader").read_bytes())
    return claim


def alter(folder: Path, **fields: Any) -> None:
    """Let the file of a leader say something else."""
    write(folder, json.dumps({**claimed(folder), **fields}, separators=(",", ":")))


def write(folder: Path, text: str) -> None:
    path = folder / "leader"
    with path.open("r+b") as file:
        # As long as before, whatever it is: what was left of a longer one would be no JSON.
        file.write(text.encode().ljust(path.stat().st_size))


def untouched(folder: Path, seconds: float) -> None:
    """Make it look as if nobody had written the file of a leader for some time."""
    then = time.time() - seconds
    os.utime(folder / "leader", (then, then), follow_symlinks=False)


@contextmanager
def read_lock(path: Path) -> Iterator[None]:
    """Hold the lock that everybody can take who may read a file."""
    with path.open("rb") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0))
        yield


def test_a_leader_is_seen_with_its_process_until_it_gives_the_lead_back(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    leader = leader_of(str(tmp_path))

    assert leader is not None
    assert (leader.pid, leader.host) == (os.getpid(), os.uname().nodename)
    assert str(leader) == f"led by pid {os.getpid()}"
    store.close()
    assert leader_of(str(tmp_path)) is None


def test_a_lead_is_handed_over_only_by_a_leader_that_gave_it_back_a_moment_ago(
    tmp_path: Path,
) -> None:
    folder, leader = str(tmp_path), tmp_path / "leader"
    assert not is_handed_over(folder)
    JobStore(folder).close()
    assert not is_handed_over(folder)  # to nobody
    store = JobStore(folder)
    led = leader.read_bytes()
    assert not is_handed_over(folder)
    store.close(is_handed_over=True)
    assert is_handed_over(folder)
    note_unled(folder, "no such plugin")
    assert not is_handed_over(folder)  # the process that was to take it cannot
    (tmp_path / "unled").unlink()
    assert is_handed_over(folder)

    slowly = time.time() - TAKE_OVER_S / 2
    os.utime(leader, (slowly, slowly))
    assert is_handed_over(folder)  # as to one that takes long to start
    untouched(tmp_path, -5)
    assert is_handed_over(folder)  # by a clock that is ahead of this one
    untouched(tmp_path, -2 * TAKE_OVER_S)
    assert not is_handed_over(folder)  # which tells nothing
    os.utime(leader, (1, 1))
    assert not is_handed_over(folder)  # that is long ago
    leader.write_bytes(led)
    assert leader_of(folder) is None
    assert not is_handed_over(folder)  # as a leader leaves it that was killed


def test_the_lead_falls_back_when_its_process_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LEADER, tmp_path], stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        one.stdout.readline()
        with pytest.raises(JournalHeld, match=f"led by pid {one.pid}"):
            JobStore(str(tmp_path))
        one.kill()

    JobStore(str(tmp_path)).close()


def test_who_may_only_read_keeps_nobody_from_leading(tmp_path: Path) -> None:
    JobStore(str(tmp_path)).close()
    (tmp_path / "events.journal").chmod(0o644)

    with read_lock(tmp_path / "events.journal"):
        store = JobStore(str(tmp_path))
        store.record(INTENDED)
        store.close()

    assert stat.S_IMODE((tmp_path / "leader").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "leader.lock").stat().st_mode) == 0o600


def test_an_older_runbus_leads_by_the_lock_of_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "events.journal"
    with Journal(path) as journal:
        leader = leader_of(str(tmp_path))
        assert leader == (0, "", 0.0, False)
        assert str(leader) == "led by a process that cannot be seen from here"
        with pytest.raises(JournalHeld) as caught:
            JobStore(str(tmp_path))
        assert caught.value.path == str(path)
        journal.append(b"{}")
    known = path.stat().st_ino

    assert leader_of(str(tmp_path)) is None
    JobStore(str(tmp_path)).close()
    assert path.stat().st_ino == known  # nobody has it open who may still write


def test_a_leader_that_is_silent_says_so_and_is_replaced_only_after_a_minute(
    tmp_path: Path,
) -> None:
    first = JobStore(str(tmp_path))
    age(tmp_path, TAKE_OVER_S - 20)
    with pytest.raises(JournalHeld, match=r"led by pid \d+, silent for [45]\d s") as held:
        JobStore(str(tmp_path))
    assert held.value.path == str(tmp_path / "events.journal")
    age(tmp_path, 20)
    leader = leader_of(str(tmp_path))
    assert leader is not None
    assert leader.can_be_replaced

    second = JobStore(str(tmp_path))
    with pytest.raises(LeaseLost, match=f"no longer leads {tmp_path}: it is led by pid"):
        first.record(INTENDED)
    with pytest.raises(LeaseLost):
        first.check()
    with pytest.raises(LeaseLost):
        first.beat(0.0)
    first.close()

    assert second.record(INTENDED) == read_jobs(str(tmp_path))["j"]
    assert leader_of(str(tmp_path)) is not None
    second.close()
    assert leader_of(str(tmp_path)) is None
    with pytest.raises(LeaseLost) as lost:
        first.check()
    assert lost.value.reason == ""
    own = (tmp_path / "events.journal").stat().st_ino
    JobStore(str(tmp_path)).close()
    assert (tmp_path / "events.journal").stat().st_ino == own  # nobody else has it open


def test_a_leader_that_says_it_is_there_is_not_replaced(tmp_path: Path) -> None:
    first = JobStore(str(tmp_path))
    for now in (0.0, BEAT_S):
        age(tmp_path, TAKE_OVER_S)
        first.beat(now)
        with pytest.raises(JournalHeld):
            JobStore(str(tmp_path))
    age(tmp_path, TAKE_OVER_S)
    first.beat(1.5 * BEAT_S)  # too early to say it again
    leader = leader_of(str(tmp_path))
    assert leader is not None
    assert leader.can_be_replaced
    first.close()


def test_what_a_replaced_leader_writes_too_late_is_never_read(tmp_path: Path) -> None:
    first = JobStore(str(tmp_path))
    first.record(INTENDED)
    # As a process has it that was stopped between its look and its write.
    late = Journal(tmp_path / "events.journal", lock=False)
    follower = FactReader(str(tmp_path))
    assert list(follower.poll()) == [INTENDED]
    age(tmp_path, TAKE_OVER_S)

    second = JobStore(str(tmp_path))
    late.append(b"too late")
    told = second.record(replace(INTENDED, job="k"))
    late.append(b"and later still")
    late.close()
    first.close()
    second.close()

    assert list(read_jobs(str(tmp_path))) == ["j", "k"]
    assert list(follower.poll()) == [replace(INTENDED, job="k")]
    assert read_jobs(str(tmp_path))["k"] == told


def test_a_follower_is_told_every_fact_once_however_often_the_lead_is_taken(tmp_path: Path) -> None:
    stores = [JobStore(str(tmp_path))]
    follower = FactReader(str(tmp_path))
    for one in "acegi":
        stores[-1].record(replace(INTENDED, job=one))
        assert [fact.job for fact in follower.poll()][-1:] == [one]
        after = chr(ord(one) + 1)
        stores[-1].record(replace(INTENDED, job=after))  # which is not read before the lead passes
        age(tmp_path, TAKE_OVER_S)
        stores.append(JobStore(str(tmp_path)))
        assert [fact.job for fact in follower.poll()] == [after]
    for store in reversed(stores):
        store.close()

    assert list(read_jobs(str(tmp_path))) == list("abcdefghij")


def test_a_next_leader_that_dies_before_it_has_a_journal_of_its_own_leaves_that_to_the_next(
    tmp_path: Path,
) -> None:
    first = JobStore(str(tmp_path))
    first.record(INTENDED)
    age(tmp_path, TAKE_OVER_S)
    (tmp_path / "events.journal.new").mkdir()  # its copy cannot be made
    with pytest.raises(JournalError):
        JobStore(str(tmp_path))
    (tmp_path / "events.journal.new").rmdir()
    journal = (tmp_path / "events.journal").stat().st_ino

    second = JobStore(str(tmp_path))

    assert (tmp_path / "events.journal").stat().st_ino != journal
    assert list(second.jobs) == ["j"]
    second.close()
    first.close()


@pytest.mark.parametrize("round_", range(3))
def test_no_fact_that_a_replaced_leader_recorded_is_lost_or_told_twice(
    tmp_path: Path, round_: int
) -> None:
    """The old leader writes as fast as it can while the lead is taken from it."""
    follower = FactReader(str(tmp_path))
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        recorded = [one.stdout.readline().strip() for _ in range(10 + round_)]
        told += [fact.job for fact in follower.poll()]
        age(tmp_path, TAKE_OVER_S)
        store = JobStore(str(tmp_path))
        store.record(replace(INTENDED, job="next"))
        told += [fact.job for fact in follower.poll()]
        recorded += one.stdout.read().split()
    store.close()
    told += [fact.job for fact in follower.poll()]

    kept = [fact.job for fact in FactReader(str(tmp_path)).poll()]
    assert one.returncode == 0
    assert set(recorded) <= set(kept)
    assert len(kept) == len(set(kept))
    assert sorted(told) == sorted(kept)
    assert kept[-1] == "next"


def test_a_journal_that_was_removed_ends_the_lead(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    store = JobStore(str(folder))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()

    with pytest.raises(LeaseLost, match="no such file or directory"):
        store.record(INTENDED)


def test_a_process_that_stands_still_while_the_lead_passes_to_it_is_waited_for_in_bounded_time(
    tmp_path: Path,
) -> None:
    with (tmp_path / "leader.lock").open("w") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
        with pytest.raises(JournalHeld, match="about to lead"):
            JobStore(str(tmp_path))


def test_a_leader_on_another_machine_is_heard_of_by_the_time_of_its_file(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    alter(tmp_path, host="elsewhere", boot="another", beat_s=0.0)
    untouched(tmp_path, TAKE_OVER_S / 2)

    leader = leader_of(str(tmp_path))

    assert leader is not None
    assert (leader.pid, leader.host, leader.is_stopped) == (os.getpid(), "elsewhere", False)
    assert TAKE_OVER_S / 2 <= leader.silent_s < TAKE_OVER_S
    assert f"led by pid {os.getpid()} on elsewhere, silent for " in str(leader)
    untouched(tmp_path, -1000)  # its clock is ahead
    assert leader_of(str(tmp_path)) == leader._replace(silent_s=0.0)
    untouched(tmp_path, TAKE_OVER_S)
    JobStore(str(tmp_path)).close()
    store.close()


def test_a_time_that_this_machine_has_not_seen_yet_tells_nothing_of_a_leader(
    tmp_path: Path,
) -> None:
    store = JobStore(str(tmp_path))
    alter(tmp_path, beat_s=time.monotonic() + 1e6)
    untouched(tmp_path, -1000)

    leader = leader_of(str(tmp_path))

    assert leader is not None
    assert (leader.silent_s, leader.is_silent) == (0.0, False)
    untouched(tmp_path, TAKE_OVER_S)
    JobStore(str(tmp_path)).close()
    store.close()


def test_a_leader_says_who_it_is_where_and_since_when_it_was_not_heard(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    before = time.monotonic()
    store.beat(0.0)

    claim = claimed(tmp_path)

    assert before - 0.001 <= claim.pop("beat_s") <= time.monotonic()
    assert claim == {
        "version": 1,
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "ns": own_pid_namespace(),
        "is_owed": False,
        "is_handed_over": False,
    }
    assert (tmp_path / "leader").stat().st_size == 512  # it is written over in one piece
    store.close()


def test_a_leader_on_this_machine_is_heard_of_by_its_clock_whatever_time_its_file_has(
    tmp_path: Path,
) -> None:
    store = JobStore(str(tmp_path))
    untouched(tmp_path, 1e6)

    leader = leader_of(str(tmp_path))

    assert leader is not None
    assert leader.silent_s < 1e5
    store.close()


def test_a_leader_was_never_there_in_the_future(tmp_path: Path) -> None:
    untold = 1e6
    silent = []
    for _ in range(50):  # one that was, by half a millisecond, was heard of by its file's time only
        store = JobStore(str(tmp_path))
        untouched(tmp_path, untold)
        leader = leader_of(str(tmp_path))
        store.close()
        assert leader is not None
        silent.append(leader.silent_s)
    assert max(silent) < untold


def no_locks(*_: object) -> int:
    raise OSError(errno.ENOLCK, "no locks available")


def test_without_locks_somebody_leads_who_was_heard_of_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    folder = str(tmp_path)
    with passing(folder):
        lease = Lease.take(folder)
    leader = leader_of(folder)
    assert leader is not None
    assert leader.pid == os.getpid()
    with pytest.raises(JournalHeld, match=f"led by pid {os.getpid()}"), passing(folder):
        Lease.take(folder)

    age(tmp_path, TAKE_OVER_S)
    assert leader_of(folder) is None
    with passing(folder):
        other = Lease.take(folder)
    with pytest.raises(LeaseLost):
        lease.check()
    lease.close()
    other.check()
    assert other.is_owed

    write(tmp_path, "{")
    assert leader_of(folder) is None  # there is no telling who has written that
    other.close()
    assert leader_of(folder) is None
    with passing(folder):
        Lease.take(folder).close()


def test_a_lead_that_was_given_back_is_not_given_back_again(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with passing(folder):
        lease = Lease.take(folder)
    lease.close()
    assert not is_handed_over(folder)
    with passing(folder):
        other = Lease.take(folder)
    lease.close()

    assert all(os.fstat(number) for number in range(3))
    other.check()
    assert leader_of(folder) is not None
    other.close()


def test_who_looks_at_a_leader_or_fails_to_lead_leaves_no_file_open(tmp_path: Path) -> None:
    folder = str(tmp_path)
    store = JobStore(folder)
    before = open_files(folder)
    leader_of(folder)
    is_handed_over(folder)
    with pytest.raises(JournalHeld), passing(folder):
        Lease.take(folder)

    assert open_files(folder) == before
    store.close()


def test_a_journal_is_owed_until_the_next_leader_has_its_own(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    age(tmp_path, TAKE_OVER_S)
    with passing(str(tmp_path)):
        lease = Lease.take(str(tmp_path))
    assert claimed(tmp_path)["is_owed"]
    lease.paid()
    assert not claimed(tmp_path)["is_owed"]
    lease.close()
    store.close()


def test_a_full_disk_ends_no_lead(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        store.beat(0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.check()
    store.close()


def test_who_is_to_lead_waits_while_the_lead_passes_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path)
    other = ExitStack()
    other.enter_context(passing(folder))
    pauses: list[float] = []

    def is_done_meanwhile(pause_s: float) -> None:
        pauses.append(pause_s)
        other.close()

    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "sleep", is_done_meanwhile)
    with passing(folder):
        assert len(pauses) == 1


def test_a_link_in_the_place_of_the_file_of_a_leader_is_not_that_file(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    (tmp_path / "leader").rename(tmp_path / "moved")
    (tmp_path / "leader").symlink_to("moved")

    with pytest.raises(LeaseLost):
        store.check()
    store.close()


def test_a_file_that_cannot_be_written_leaves_no_other_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), passing(str(tmp_path)):
            Lease.take(str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert os.listdir(tmp_path) == ["leader.lock"]


@pytest.mark.parametrize("what", [b"a) T (b", b"\xff", "process"])
def test_a_leader_that_no_signal_has_stopped_is_not_said_to_be(
    tmp_path: Path, what: bytes | str
) -> None:
    store = JobStore(str(tmp_path))
    name = Path("/proc/self/comm")
    own = name.read_text()
    try:
        if isinstance(what, bytes):
            name.write_bytes(what)  # as a process may be called
        else:
            alter(tmp_path, pid=1 << 30)  # no process has that number
        leader = leader_of(str(tmp_path))
    finally:
        name.write_text(own.rstrip())

    assert leader is not None
    assert not leader.is_stopped
    store.close()


@pytest.mark.parametrize("change", [None, {"version": 2}], ids=["damaged", "of another version"])
def test_a_leader_whose_file_cannot_be_read_still_leads_until_it_is_silent(
    tmp_path: Path, change: dict[str, Any] | None
) -> None:
    store = JobStore(str(tmp_path))
    if change is None:
        write(tmp_path, "{")
    else:
        alter(tmp_path, **change)
    untouched(tmp_path, TAKE_OVER_S / 2)

    leader = leader_of(str(tmp_path))

    assert leader is not None
    assert (leader.pid, leader.host, leader.is_stopped) == (0, "", False)
    assert TAKE_OVER_S / 2 <= leader.silent_s < TAKE_OVER_S
    untouched(tmp_path, -1000)
    assert leader_of(str(tmp_path)) == (0, "", 0.0, False)
    untouched(tmp_path, TAKE_OVER_S)
    JobStore(str(tmp_path)).close()
    store.close()


def test_a_file_that_says_nothing_and_that_nobody_holds_keeps_nobody_from_leading(
    tmp_path: Path,
) -> None:
    JobStore(str(tmp_path)).close()
    (tmp_path / "leader").write_bytes(b"")

    store = JobStore(str(tmp_path))

    assert leader_of(str(tmp_path)) is not None
    store.close()


def test_a_leader_that_a_signal_has_stopped_is_said_to_be(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LEADER, tmp_path], stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        one.stdout.readline()
        one.send_signal(signal.SIGSTOP)
        os.waitpid(one.pid, os.WUNTRACED)

        leader = leader_of(str(tmp_path))
        alter(tmp_path, ns="of a container")  # a process of that number is not that process
        hidden = leader_of(str(tmp_path))
        one.kill()

    assert leader is not None
    assert leader.is_stopped
    assert str(leader).endswith(", stopped")
    assert hidden is not None
    assert not hidden.is_stopped


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_who_leads_cannot_be_told_from_a_file_that_cannot_be_opened(
    tmp_path: Path, kind: str
) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / "leader")
    else:
        (tmp_path / "other").touch()
        os.utime(tmp_path / "other", (1, 1))
        (tmp_path / "leader").symlink_to("other")
    untouched(tmp_path, -1000)
    assert leader_of(str(tmp_path)) == (0, "", 0.0, False)
    assert not is_handed_over(str(tmp_path))
    untouched(tmp_path, TAKE_OVER_S / 2)

    leader = leader_of(str(tmp_path))

    assert leader is not None
    assert (leader.pid, leader.host, leader.is_stopped) == (0, "", False)
    assert TAKE_OVER_S / 2 <= leader.silent_s < TAKE_OVER_S
    with pytest.raises(JournalHeld, match="led by a process that cannot be seen from here, silent"):
        JobStore(str(tmp_path))
    untouched(tmp_path, TAKE_OVER_S)
    assert leader_of(str(tmp_path)) is None
    JobStore(str(tmp_path)).close()


def test_a_folder_in_the_place_of_the_file_of_a_leader_is_told(tmp_path: Path) -> None:
    (tmp_path / "leader").mkdir()

    with pytest.raises(JournalError) as caught:
        JobStore(str(tmp_path))

    assert not isinstance(caught.value, JournalHeld)
    assert caught.value.reason == "is a directory"


def test_why_nobody_could_lead_is_told_until_an_experiment_goes_on(tmp_path: Path) -> None:
    folder = str(tmp_path)
    JobStore(folder).close()
    assert why_unled(folder) == ""
    note_unled(folder, "no room:\n  the disk is full, it says \N{WARNING SIGN}\n")
    os.utime(tmp_path / "events.journal", (1, 1))
    assert why_unled(folder) == "no room: the disk is full, it says \N{WARNING SIGN}"
    os.utime(tmp_path / "unled", (1, 1))
    assert why_unled(folder) == "no room: the disk is full, it says \N{WARNING SIGN}"
    (tmp_path / "unled").write_bytes(b"\xff")
    os.utime(tmp_path / "unled", (2, 2))
    assert why_unled(folder) == "\N{REPLACEMENT CHARACTER}"
    (tmp_path / "unled").write_bytes(b"x" * (1 << 20))
    os.utime(tmp_path / "unled", (2, 2))
    assert why_unled(folder) == ""  # that is no note of a reason

    os.utime(tmp_path / "events.journal", (3, 3))
    assert why_unled(folder) == ""
    shutil.rmtree(tmp_path)
    assert why_unled(folder) == ""
