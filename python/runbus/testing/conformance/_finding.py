"""The contract of executors: jobs are looked up, logs are read, code travels."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import signal
import tarfile
from pathlib import Path  # noqa: TC003 - fixtures are read at run time
from typing import Literal

import anyio
import pytest
from msgspec.structs import replace

from runbus.abc import JobRef, JobSpec, Package
from runbus.errors import Unsupported
from runbus.testing.conformance._harness import Contract, Harness

__all__ = ["FindContract", "LogContract", "PackageContract"]

Source = Literal["stdout", "stderr"]


class FindContract(Contract):
    """What `find` must do."""

    async def test_a_job_that_was_never_submitted_is_not_found(self, harness: Harness) -> None:
        assert await harness.executor.find(harness.shell("true")) is None

    async def test_a_job_that_runs_is_found_by_what_was_asked(self, harness: Harness) -> None:
        job = harness.shell("echo up; exec sleep 600")
        await harness.output(await harness.submit(job), b"up")

        found = await harness.executor.find(job)

        assert found is not None
        assert found.handle
        assert (await harness.phase(found, "running", "ended", "gone")).phase == "running"

    async def test_a_job_that_has_ended_is_found(self, harness: Harness) -> None:
        job = harness.shell("exit 3")
        await harness.run(job)

        found = await harness.executor.find(job)

        assert found is not None
        assert (await harness.end(found)).seen.exit_code == 3

    async def test_a_job_is_found_after_a_restart_and_can_be_cancelled(
        self, harness: Harness
    ) -> None:
        job = harness.shell("echo up; exec sleep 600")
        await harness.output(await harness.submit(job), b"up")

        await harness.restart()
        found = await harness.executor.find(job)
        assert found is not None
        await harness.executor.cancel([found], 60)

        assert (await harness.end(found)).seen.signal == signal.SIGTERM

    async def test_finding_starts_nothing(self, harness: Harness) -> None:
        job = harness.shell("echo ran")
        for _ in range(3):
            assert await harness.executor.find(job) is None

        assert (await harness.run(job)).stdout == b"ran\n"

    async def test_another_attempt_is_another_job(self, harness: Harness) -> None:
        first = harness.shell("exit 1")
        second = replace(first, attempt=2, folder=os.path.join(os.path.dirname(first.folder), "2"))
        os.makedirs(second.folder)
        await harness.run(first)

        assert await harness.executor.find(second) is None


class LogContract(Contract):
    """What `logs` must do."""

    async def read_all(self, harness: Harness, ref: JobRef, source: Source) -> bytes:
        read = b""
        while data := await harness.executor.logs(ref, source, len(read)):
            assert len(data) <= 1 << 20
            read += data
        return read

    async def test_logs_can_be_read_while_the_job_runs(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
        with anyio.fail_after(120):
            while not (data := await harness.executor.logs(ref, "stdout", 0)):
                await harness.executor.wait_for_change(0.02)

        assert data == b"up\n"
        assert await harness.executor.logs(ref, "stdout", len(data)) == b""
        assert await harness.executor.logs(ref, "stderr", 0) == b""

    async def test_the_outputs_are_told_apart_and_from_any_byte(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("printf 'a\\377b'; printf err >&2"))
        await harness.end(ref)

        assert await harness.executor.logs(ref, "stdout", 1) == b"\xffb"
        assert await harness.executor.logs(ref, "stderr", 0) == b"err"
        assert await harness.executor.logs(ref, "stdout", 1000) == b""

    async def test_a_long_log_is_read_whole_by_its_cursor(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("seq 1 500000"))
        await harness.end(ref)

        expected = b"".join(b"%d\n" % number for number in range(1, 500_001))
        assert await self.read_all(harness, ref, "stdout") == expected

    async def test_logs_can_be_read_after_a_restart_before_anyone_looks(
        self, harness: Harness
    ) -> None:
        ref = await harness.submit(harness.shell("echo up; sleep 0.3; echo on; exec sleep 600"))
        await harness.output(ref, b"up")

        await harness.restart()
        read = b""
        with anyio.fail_after(120):
            while read != b"up\non\n":
                read += await harness.executor.logs(ref, "stdout", len(read))
                await harness.executor.wait_for_change(0.02)

    async def test_what_was_never_submitted_has_no_logs(self, harness: Harness) -> None:
        job = harness.shell("true")
        ref = JobRef(name=job.name, folder=job.folder, handle="999999999")

        assert await harness.executor.logs(ref, "stdout", 0) == b""


class PackageContract(Contract):
    """What becomes of packaged code."""

    @pytest.fixture
    def packaged(self, harness: Harness, tmp_path: Path) -> JobSpec:
        """Return a job that runs a script of a tree that was packaged, and is gone."""
        tree = tmp_path / "my cöde"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub" / "main.sh").write_text('pwd; cat ../data "$1"; echo x >>../data\n')
        (tree / "data").write_text("some\n")
        archive = tmp_path / "archive"
        with tarfile.open(archive, "w:gz") as file:
            file.add(tree, ".")
        sha256 = hashlib.sha256(gzip.decompress(archive.read_bytes())).hexdigest()
        path = archive.rename(tmp_path / f"{sha256}.tar.gz")
        package = Package(
            path=os.fspath(path), sha256=sha256, size=path.stat().st_size, root=os.fspath(tree)
        )
        job = harness.job(
            "/bin/sh",
            os.fspath(tree / "sub" / "main.sh"),
            os.fspath(tree / "data"),
            cwd=os.fspath(tree / "sub"),
            package=package,
        )
        shutil.rmtree(tree)
        return job

    async def test_code_is_there_though_its_tree_is_gone(
        self, harness: Harness, packaged: JobSpec
    ) -> None:
        if not harness.executor.capabilities.packages:
            with pytest.raises(Unsupported):
                harness.executor.plan(packaged)
            return
        ended = await harness.run(packaged)

        assert ended.stderr == b""
        assert ended.stdout.endswith(b"/code/sub\nsome\nsome\n")

    async def test_attempts_do_not_share_their_code(
        self, harness: Harness, packaged: JobSpec
    ) -> None:
        if not harness.executor.capabilities.packages:
            with pytest.raises(Unsupported):
                harness.executor.plan(packaged)
            return
        other = os.path.join(os.path.dirname(packaged.folder), "2")
        os.makedirs(other)
        ends = [
            await harness.run(job) for job in (packaged, replace(packaged, attempt=2, folder=other))
        ]

        assert [one.stdout.partition(b"\n")[2] for one in ends] == [b"some\nsome\n"] * 2
