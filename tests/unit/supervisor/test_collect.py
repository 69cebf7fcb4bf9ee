"""How what a job left where it worked is taken, and what becomes of it where that goes wrong."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from msgspec.structs import replace

import runbus
from runbus import Command, Job
from runbus._clock import SYSTEM_CLOCK
from runbus.abc import ArtifactLimits, FilePatterns, FoundFile, JobFiles, JobSpec
from runbus.attempt import FolderFiles
from runbus.errors import (
    ConnectionLost,
    FileUnreadable,
    LeaseLost,
    LoginRefused,
    RemoteFailed,
    Unsupported,
)
from runbus.experiment import ExperimentDraft
from runbus.supervisor._collect import Collector

from .backend import Backend, leads
from .test_ends_of_runs import open_logs


class Left(FolderFiles):
    """What is left in a folder; it is noted what is asked, and something may happen before that."""

    def __init__(self, there: There, job: JobSpec) -> None:
        super().__init__(job.cwd, job.run_folder)
        self._there = there

    async def __aenter__(self) -> Self:
        self._there.asked.append("begin")
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self._there.asked.append("end" if exc_type is None else "break off")

    async def find(self, patterns: FilePatterns) -> list[FoundFile]:
        self._there.meet("find")
        found = await super().find(patterns)
        return [one._replace(size=self._there.sizes.get(one.path, one.size)) for one in found]

    async def read(self, path: str, offset: int, size: int) -> bytes:
        self._there.meet(f"read {path} {offset} {size}")
        return await super().read(path, offset, min(size, self._there.most))


class There(Backend):
    """Where the job worked.

    Attributes:
        asked: What was asked, in order.
        before: Called before something is answered.
        sizes: What files are said to have.
        most: How many bytes it gives at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.before: Callable[[str], object] = len
        self.sizes: dict[str, int] = {}
        self.most = 1 << 30

    def meet(self, what: str) -> None:
        self.asked.append(what)
        self.before(what)

    async def files(self, job: JobSpec) -> JobFiles:
        self.before("files")
        return Left(self, job)


class Leaping:
    """A clock on which time passes only where it is waited for."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return sum(self.waits)

    def time_ns(self) -> int:
        return 10**18

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> asyncio.Handle:
        self.waits.append(round(delay_s, 6))
        return asyncio.get_running_loop().call_soon(callback)


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    folder = tmp_path / "work"
    folder.mkdir()
    job = Job(name="j", task=Command(("true",)), cwd=str(folder), artifacts=["*"])
    (spec,) = ExperimentDraft("p", [job], executor="a").prepare().specs
    return spec


def left(job: JobSpec, **files: str) -> None:
    for name, text in files.items():
        Path(job.cwd, name).write_text(text)


def kept() -> dict[str, str]:
    run = runbus.open_run("j")
    return {one.name: Path(one.path).read_text() for one in run.artifacts()}


def notes() -> list[str]:
    (told,) = runbus.open_run("j").collected
    return list(told.notes)


def fails(*errors: Exception) -> Callable[[str], None]:
    """Let the first requests fail that are more than to begin."""
    rest = list(errors)

    def before(_: str) -> None:
        if rest:
            raise rest.pop(0)

    return before


async def test_of_a_job_without_patterns_nothing_is_asked(job: JobSpec) -> None:
    await Collector({}, SYSTEM_CLOCK, leads).collect(replace(job, artifacts=()))

    assert runbus.open_run("j").collected == []


async def test_what_was_all_collected_before_is_given_back_and_not_looked_for(
    job: JobSpec, caplog: pytest.LogCaptureFixture
) -> None:
    left(job, a="1")
    there = There()
    collector = Collector({"a": there}, SYSTEM_CLOCK, leads)
    await collector.collect(job)
    assert there.asked == ["begin", "find", "read a 0 1", "end"]
    there.asked.clear()
    left(job, b="2")

    await collector.collect(job)
    assert there.asked == ["begin", "end"]
    for problem in (
        ConnectionLost("there", "the line is cut"),
        FileUnreadable("work", "it is gone"),
        Unsupported("j", "a", ("artifacts",)),
    ):
        there.before = fails(problem)
        await collector.collect(job)

    assert kept() == {"a": "1"}
    assert notes() == []
    assert caplog.messages == []


async def test_who_leads_no_more_records_nothing_further(job: JobSpec) -> None:
    left(job, a="1", b="2")
    there = There()
    lost = LeaseLost("e/events.journal")
    for lead in (0, 1, 1):  # the last has all files by then, and does not say so
        collector = Collector({"a": there}, SYSTEM_CLOCK, fails_after(lead, lost))
        with pytest.raises(LeaseLost):
            await collector.collect(job)
        assert runbus.open_run("j").collected == []
        assert not open_logs(job.run_folder)
    assert kept() == {"a": "1", "b": "2"}
    assert [one for one in os.listdir(f"{job.run_folder}/artifacts") if one.startswith(".")] == []

    await Collector({"a": there}, SYSTEM_CLOCK, leads).collect(job)
    assert notes() == []


def fails_after(count: int, error: Exception) -> Callable[[], None]:
    left = [count]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error

    return check


async def test_a_run_that_cannot_be_written_to_is_told_and_the_end_of_the_job_with_it(
    job: JobSpec, caplog: pytest.LogCaptureFixture
) -> None:
    left(job, a="1")
    os.symlink("/etc/passwd", f"{job.cwd}/0")  # which is left out, and not told beside the rest
    os.symlink("nowhere", f"{job.run_folder}/artifacts")

    await Collector({"a": There()}, SYSTEM_CLOCK, leads).collect(job)

    assert caplog.messages == ["artifacts of job 'j' are not collected: file exists"]
    assert runbus.open_run("j").collected == []
    assert not open_logs(job.run_folder)


async def test_a_machine_out_of_reach_is_asked_ever_more_rarely_until_patience_is_over(
    job: JobSpec,
) -> None:
    there, clock = There(), Leaping()
    there.before = fails(*100 * [ConnectionLost("there", "the line is cut")])

    await Collector({"a": there}, clock, leads).collect(job)

    assert clock.waits == [0.2, 0.4, 0.8, 1.6, 3.2] + 11 * [
        5.0
    ]  # a minute and what is begun of 5 s
    assert notes() == ["what is missing was out of reach: the line is cut"]


async def test_as_long_as_bytes_come_a_machine_is_not_given_up(job: JobSpec) -> None:
    left(job, a="123456789")
    there, clock = There(), Leaping()
    there.most = 1
    cuts = list(range(1, 9))

    def before(what: str) -> None:
        # Each time it comes one byte further.
        if cuts and what == f"read a {cuts[0]} {9 - cuts[0]}":
            del cuts[0]
            raise ConnectionLost("there", "the line is cut")

    there.before = before
    await Collector({"a": there}, clock, leads, patience_s=0.1).collect(job)

    assert clock.waits == 8 * [0.2]
    assert kept() == {"a": "123456789"}
    assert notes() == []


@pytest.mark.parametrize(
    ("problem", "note"),
    [
        (LoginRefused("there", "no such user"), "what is missing was out of reach: no such user"),
        (RemoteFailed("there", "no"), "the folder where it worked cannot be read: no"),
    ],
    ids=["no use", "it says so"],
)
async def test_what_is_no_use_is_not_tried_again(
    job: JobSpec, problem: Exception, note: str
) -> None:
    left(job, a="1")
    there = There()
    there.before = fails(problem)

    clock = Leaping()
    await Collector({"a": there}, clock, leads).collect(job)

    assert clock.waits == []

    assert notes() == [note]


async def test_an_executor_that_gives_no_files_is_named(job: JobSpec) -> None:
    await Collector({"a": Backend()}, SYSTEM_CLOCK, leads).collect(job)

    (note,) = notes()
    assert note.startswith("the folder where it worked cannot be read: ")
    assert "artifacts" in note


async def test_one_file_that_cannot_be_read_keeps_no_other_back(job: JobSpec) -> None:
    left(job, a="1", b="2", c="3")
    there = There()

    def before(what: str) -> None:
        if what.startswith("read b"):
            raise RemoteFailed("there", "a bad sector")

    there.before = before
    await Collector({"a": there}, SYSTEM_CLOCK, leads).collect(job)

    assert kept() == {"a": "1", "c": "3"}
    assert notes() == ["'b' is left out: a bad sector"]


async def test_a_large_file_comes_in_pieces_and_as_it_was(job: JobSpec) -> None:
    piece = 8 << 20
    left(job, small="s", large=2 * piece * "l" + "end")
    os.chmod(f"{job.cwd}/large", 0o700)
    there = There()

    await Collector({"a": there}, SYSTEM_CLOCK, leads).collect(job)

    assert [one for one in there.asked if "large" in one] == [
        f"read large 0 {piece}", f"read large {piece} {piece}", f"read large {2 * piece} 3",
    ]  # fmt: skip
    assert kept() == {"small": "s", "large": 2 * piece * "l" + "end"}
    paths = {one.name: one.path for one in runbus.open_run("j").artifacts()}
    assert [os.access(paths[name], os.X_OK) for name in ("large", "small")] == [True, False]


async def test_limits_count_what_is_kept_and_let_in_what_just_fits(job: JobSpec) -> None:
    left(job, a="123", b="45", c="67", d="")
    limited = replace(job, artifact_limits=ArtifactLimits(size_bytes=5))

    await Collector({"a": There()}, SYSTEM_CLOCK, leads).collect(limited)

    assert kept() == {"a": "123", "b": "45", "d": ""}
    assert notes() == [
        "'c' is left out: with its 2 bytes there would be more than 5: artifact_size says how many"
    ]


async def test_the_disk_is_not_filled_to_the_last_byte(
    job: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = list(os.statvfs(job.run_folder))
    disk[:5] = 1 << 20, 1 << 20, 100, 20, 20  # 20 MiB are free, and 16 are left
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(disk))
    left(job, a="1", b="2")
    there = There()
    there.sizes["b"] = (4 << 20) + 1

    await Collector({"a": there}, SYSTEM_CLOCK, leads).collect(job)

    assert kept() == {"a": "1"}
    assert notes() == ["'b' is left out: the disk has no room for its 4194305 bytes"]


async def test_what_cannot_be_recorded_is_not_said_to_be_kept(
    job: JobSpec, caplog: pytest.LogCaptureFixture
) -> None:
    left(job, empty="")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def before(what: str) -> None:
        if what == "find":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))

    there = There()
    there.before = before
    try:
        await Collector({"a": there}, SYSTEM_CLOCK, leads).collect(job)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "artifacts of job 'j' are not collected: it cannot be recorded" in caplog.messages
    assert runbus.open_run("j").collected == []


async def test_what_is_taken_later_is_not_said_to_be_left_out(job: JobSpec) -> None:
    left(job, a="1", b="2")
    there = There()
    problems = {
        "read a 0 1": RemoteFailed("there", "busy"),
        "read b 0 1": ConnectionLost("t", "cut"),
    }

    def before(what: str) -> None:
        if problem := problems.pop(what, None):
            raise problem

    there.before = before
    await Collector({"a": there}, Leaping(), leads).collect(job)

    assert kept() == {"a": "1", "b": "2"}
    assert notes() == []


async def test_a_file_of_which_less_comes_than_there_is_is_not_kept(job: JobSpec) -> None:
    left(job, none="1", shrinks="123")
    there = There()

    def before(what: str) -> None:
        there.most = 0 if "none" in what else 1 << 30
        if what == "read shrinks 0 3":
            os.truncate(f"{job.cwd}/shrinks", 0)

    there.before = before
    await Collector({"a": there}, SYSTEM_CLOCK, leads).collect(job)

    assert kept() == {"shrinks": ""}
    assert notes() == ["'none' is left out: it is gone"]


async def test_a_name_that_is_not_valid_utf8_is_written_out(job: JobSpec) -> None:
    left(job, **{"b\udcff": "1"})

    await Collector({"a": There()}, SYSTEM_CLOCK, leads).collect(job)

    assert kept() == {r"b\xff": "1"}


async def test_records_that_cannot_be_read_cost_an_attempt_only_what_earlier_leaders_took_of_it(
    job: JobSpec, caplog: pytest.LogCaptureFixture
) -> None:
    left(job, a="1")
    os.makedirs(f"{job.run_folder}/records")
    collector = Collector({"a": There()}, SYSTEM_CLOCK, leads)
    os.mkfifo(f"{job.run_folder}/records/0000000000000001-1-a1-c.journal")

    await collector.collect(job)
    assert caplog.messages == ["artifacts of job 'j' are not collected: not a regular file"]
    assert not open_logs(job.run_folder)

    caplog.clear()
    os.mkfifo(f"{job.run_folder}/records/0000000000000002-1-a2.journal")  # of the job itself
    await collector.collect(replace(job, attempt=2))
    assert caplog.messages == []
    assert kept() == {"a": "1"}
    assert [one.attempt for one in runbus.open_run("j").collected] == [2]


@pytest.mark.parametrize("count", [20, 22])
async def test_no_more_than_twenty_files_that_were_left_out_are_named(
    job: JobSpec, count: int
) -> None:
    for number in range(count):
        os.symlink("/etc/passwd", f"{job.cwd}/{number:02}")

    await Collector({"a": There()}, SYSTEM_CLOCK, leads).collect(job)

    told = notes()
    assert told[:20] == [
        f"'{number:02}' is left out: it is a symbolic link" for number in range(20)
    ]
    assert told[20:] == (["… and 2 more"] if count == 22 else [])
