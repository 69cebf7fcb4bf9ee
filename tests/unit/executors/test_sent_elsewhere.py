"""What is sent to a machine: once, whole, and on record before it is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus.errors import JobNotStarted
from runbus.executors import SSHExecutor
from runbus.executors._placement import read_placement
from runbus.executors._shell import quote
from runbus.packaging import PatternPackager, build_package_blocking
from runbus.testing.conformance.executor import Harness
from runbus.transports import LocalTunnel


class Damaging(LocalTunnel):
    """Changes a byte of every package on its way."""

    async def upload(self, local: str, remote: bytes) -> None:
        await super().upload(local, remote)
        if b"/packages/" in remote:
            spoil = b"printf X | dd of=%s bs=1 seek=20 conv=notrunc 2>/dev/null" % quote(remote)
            await self.call(spoil)


async def test_a_package_that_was_damaged_on_its_way_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(os.urandom(100))
    package = build_package_blocking(PatternPackager("*"), str(tmp_path / "tree"))
    there = tmp_path / "there"

    def make() -> SSHExecutor:
        return SSHExecutor([Damaging(str(there))])

    async with Harness(make, str(tmp_path / "here")) as harness:
        job = replace(harness.shell("true"), package=package)
        with pytest.raises(JobNotStarted, match="the package was damaged on its way"):
            await harness.submit(job)

    assert list((there / "packages").iterdir()) == []


async def test_a_package_has_its_name_only_once_it_was_checked(tmp_path: Path) -> None:
    """Another process on the machine would take what has that name as it is."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"x")
    package = build_package_blocking(PatternPackager("*"), str(tmp_path / "tree"))
    there = tmp_path / "there"
    seen: list[list[str]] = []

    class Watching(LocalTunnel):
        async def call(self, script: bytes, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
            if b"gzip -dc" in script:
                seen.append([path.name for path in (there / "packages").iterdir()])
            return await super().call(script, timeout_s=timeout_s)

    def make() -> SSHExecutor:
        return SSHExecutor([Watching(str(there))])

    async with Harness(make, str(tmp_path / "here")) as harness:
        await harness.run(replace(harness.shell("true"), package=package))

    ((unchecked,),) = seen
    assert unchecked.startswith(f"{package.sha256}.tar.gz.part-")
    assert [path.name for path in (there / "packages").iterdir()] == [f"{package.sha256}.tar.gz"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that are synced from now on, in order."""
    paths: list[str] = []
    fsync = os.fsync

    def note(file: int) -> None:
        paths.append(os.readlink(f"/proc/self/fd/{file}"))
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    return paths


async def test_where_a_job_of_several_machines_goes_is_on_disk_before_it_is_sent(
    tmp_path: Path, synced: list[str]
) -> None:
    found: list[list[str]] = []

    class Watching(LocalTunnel):
        async def call(self, script: bytes, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
            if b"rb_ask" in script:
                found.append(list(synced))
            return await super().call(script, timeout_s=timeout_s)

    def make() -> SSHExecutor:
        names = ("a", "b")
        return SSHExecutor([Watching(str(tmp_path / "there"), name=name) for name in names])

    async with Harness(make, str(tmp_path / "here")) as harness:
        job = harness.shell("true")
        await harness.run(job)

    assert read_placement(job.folder) is not None
    (before,) = found
    (record,) = [path for path in before if "placement.json" in path]
    assert os.path.dirname(record) == job.folder
    # The name, too.
    assert job.folder in before[before.index(record) :]


async def test_what_machines_tell_waits_for_no_disk_and_is_mended_after_a_power_failure(
    tmp_path: Path, synced: list[str]
) -> None:
    def make() -> SSHExecutor:
        return SSHExecutor([LocalTunnel(str(tmp_path / "there"))])

    async with Harness(make, str(tmp_path / "here")) as harness:
        job = harness.shell("exit 3")
        await harness.run(job)
        assert synced == []
        records = [Path(job.folder, name) for name in ("pid.json", "exit.json")]
        whole = [record.read_bytes() for record in records]
        # As file systems leave what they had a name for, and no more.
        for record, left in zip(records, (b"", b"\0" * 100), strict=True):
            record.write_bytes(left)

        await harness.restart()
        ended = await harness.end(harness.started[0])

    assert ended.seen.exit_code == 3
    assert [record.read_bytes() for record in records] == whole
