"""The contract of executors: jobs outlive the process that started them."""

from __future__ import annotations

import os
import signal
from pathlib import Path  # noqa: TC003 - fixtures are read at run time

import anyio
import pytest

from runbus.abc import JobRef
from runbus.errors import JobNotStarted
from runbus.testing.conformance._harness import Contract, Harness

__all__ = ["RestartContract"]


class RestartContract(Contract):
    """What must hold after the process that submitted has ended."""

    async def test_a_job_outlives_the_executor_and_is_found_again(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; sleep 0.5; echo on; exit 4"))
        await harness.output(ref, b"up")

        await harness.restart()
        ended = await harness.end(ref)

        assert (ended.stdout, ended.seen.exit_code) == (b"up\non\n", 4)

    async def test_an_end_that_nobody_saw_is_found(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo one; exit 6"))
        await harness.restart()
        with anyio.move_on_after(0.3):
            await anyio.sleep_forever()

        ended = await harness.end(ref)

        assert (ended.stdout, ended.seen.exit_code) == (b"one\n", 6)

    async def test_an_end_is_told_as_a_change_also_after_a_restart(self, harness: Harness) -> None:
        told = None
        for seconds in (1, 20):
            ref = await harness.submit(harness.shell(f"echo up; sleep {seconds}"))
            await harness.output(ref, b"up")

            await harness.restart()
            if (await harness.phase(ref, "running", "ended")).phase == "running":
                told = await harness.told_of_end(ref)
            if told is not None:
                break

        assert told == harness.executor.capabilities.pushes

    async def test_a_job_can_be_cancelled_after_a_restart(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
        await harness.output(ref, b"up")

        await harness.restart()
        await harness.executor.cancel([ref], 60)

        assert (await harness.end(ref)).seen.signal == signal.SIGTERM

    async def test_a_job_that_is_submitted_twice_runs_once(self, harness: Harness) -> None:
        job = harness.shell("echo ran; sleep 0.2")
        ref = await harness.submit(job)
        try:
            again = await harness.submit(job)
            assert again.folder == ref.folder
        except JobNotStarted:
            # Refusing is as good.
            pass

        assert (await harness.end(ref)).stdout == b"ran\n"

    async def test_a_second_attempt_has_records_of_its_own(self, harness: Harness) -> None:
        first = harness.shell("exit 1")
        second = harness.shell(
            "exit 0", attempt=2, folder=os.path.join(os.path.dirname(first.folder), "2")
        )

        codes = [(await harness.run(job)).seen.exit_code for job in (first, second)]

        assert codes == [1, 0]

    async def test_a_submit_that_is_cancelled_leaves_a_job_or_none(self, harness: Harness) -> None:
        job = harness.shell("echo ran")
        request = harness.executor.plan(job)
        ref: JobRef | None = None
        async with anyio.create_task_group() as group:

            async def submit() -> None:
                nonlocal ref
                ref = await harness.executor.submit(request)

            group.start_soon(submit)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        again = ref
        if again is None:
            try:
                again = await harness.submit(job)
            except JobNotStarted:
                again = JobRef(name=job.name, folder=job.folder, handle="")

        assert (await harness.end(again)).stdout == b"ran\n"

    @pytest.mark.parametrize("folder", ["with blank", "ünï ☃", "-dash", "it's", "$(id)", "a\nb"])
    async def test_any_folder_will_do(self, harness: Harness, tmp_path: Path, folder: str) -> None:
        place = tmp_path / folder / "jobs" / "1-job" / "1"

        ended = await harness.run(harness.shell("echo ran", folder=os.fspath(place)))

        assert ended.stdout == b"ran\n"
