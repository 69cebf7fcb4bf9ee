"""The contract of executors: how jobs end, and how they are ended."""

from __future__ import annotations

import signal
import time

import pytest

from runbus.abc import UNMET, Timeouts
from runbus.testing.conformance._harness import DEADLINE_S, Contract, Harness

__all__ = ["CancelContract", "EndContract"]


class EndContract(Contract):
    """How ends are reported."""

    @pytest.mark.parametrize("code", [0, 1, 7, 126, 127, 255])
    async def test_an_exit_code_is_told(self, harness: Harness, code: int) -> None:
        ended = await harness.run(harness.shell(f"exit {code}"))

        assert (ended.seen.exit_code, ended.seen.signal) == (code, None)
        assert ended.seen.evidence

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
    async def test_a_signal_is_told_as_one(self, harness: Harness, number: signal.Signals) -> None:
        ended = await harness.run(harness.shell(f"kill -{number.value} $$"))

        assert (ended.seen.exit_code, ended.seen.signal) == (None, number)

    async def test_a_program_that_is_not_there_fails_and_says_so(self, harness: Harness) -> None:
        ended = await harness.run(harness.job("/no/such/program"))

        assert ended.seen.exit_code == 127
        assert b"/no/such/program" in ended.stderr

    async def test_a_program_that_is_none_fails(self, harness: Harness) -> None:
        assert (await harness.run(harness.job("/etc/passwd"))).seen.exit_code == 126

    async def test_a_folder_that_is_not_there_fails(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("echo ran", cwd="/no/such/folder"))

        assert ended.seen.exit_code not in {0, None}
        assert ended.stdout == b""

    async def test_a_job_that_takes_too_long_is_ended_and_told(self, harness: Harness) -> None:
        for limit_s in (1, 10):
            ended = await harness.run(
                harness.shell("echo up; exec sleep 600", timeouts=Timeouts(run_s=limit_s))
            )
            assert (ended.seen.signal, ended.seen.reason) == (signal.SIGTERM, "time limit")
            if ended.stdout:
                break
            # Its time was over before it had begun: this machine is slow today.

        assert ended.stdout == b"up\n"

    async def test_a_job_within_its_time_is_left_alone(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("exit 3", timeouts=Timeouts(run_s=60)))

        assert (ended.seen.exit_code, ended.seen.reason) == (3, "")

    async def test_a_child_that_is_left_behind_does_not_delay_the_end(
        self, harness: Harness
    ) -> None:
        # It lasts longer than anything here is waited for.
        ended = await harness.run(harness.shell(f"sleep {1.5 * DEADLINE_S:g} & exit 3"))

        assert ended.seen.exit_code == 3

    async def test_a_job_begins_after_the_end_that_it_waits_for_and_after_no_other(
        self, harness: Harness
    ) -> None:
        if harness.executor.capabilities.after is None:
            return  # what is planned for it is refused
        parent = harness.shell("sleep 1; exit 3")
        never = harness.shell("echo ran", after=(harness.end_of(parent),))
        then = harness.shell("echo ran", after=(harness.end_of(parent, "afternotok"),))
        last = harness.shell(
            "echo ran", after=(harness.end_of(then), harness.end_of(parent, "afterany"))
        )
        refs = [await harness.submit(job) for job in (parent, never, then, last)]
        first, *ended = [await harness.end(ref) for ref in refs]

        assert [one.stdout for one in ended] == [b"", b"ran\n", b"ran\n"]
        assert [one.seen.reason for one in ended] == [UNMET, "", ""]
        assert not ended[0].seen.started_ns
        ends = [first.seen.ended_ns, ended[1].seen.ended_ns]
        # Clocks of several machines may differ.
        starts = [ended[1].seen.started_ns, ended[2].seen.started_ns]
        assert all(end <= start + 10**9 for end, start in zip(ends, starts, strict=True))

    async def test_an_end_stays_as_it_is_however_often_one_looks(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("exit 3"))
        first = await harness.end(ref)

        for _ in range(5):
            assert (await harness.executor.observe([ref]))[ref] == first.seen

    async def test_times_are_told_in_order_and_near_the_truth(self, harness: Harness) -> None:
        before = time.time_ns()
        ended = await harness.run(harness.shell("sleep 0.3"))
        after = time.time_ns()

        slack = 2_000_000_000
        assert before - slack < ended.seen.started_ns <= ended.seen.ended_ns < after + slack
        assert 0.2 < ended.seen.duration_s < (after - before + slack) / 1e9


class CancelContract(Contract):
    """What `cancel` must do."""

    async def test_a_job_may_clean_up(self, harness: Harness) -> None:
        ref = await harness.submit(
            harness.shell("trap 'echo cleaned; exit 5' TERM; echo up; while :; do sleep 0.05; done")
        )
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 60)

        ended = await harness.end(ref)

        assert ended.stdout == b"up\ncleaned\n"
        assert ended.seen.exit_code == 5

    async def test_a_job_that_does_not_listen_is_killed_after_the_grace(
        self, harness: Harness
    ) -> None:
        ref = await harness.submit(
            harness.shell("trap '' TERM; echo up; while :; do sleep 0.05; done")
        )
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 1)

        assert (await harness.end(ref)).seen.signal == signal.SIGKILL

    async def test_no_grace_kills_at_once(self, harness: Harness) -> None:
        ref = await harness.submit(
            harness.shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
        )
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 0)

        assert (await harness.end(ref)).seen.signal == signal.SIGKILL

    async def test_what_a_job_started_is_ended_with_it(self, harness: Harness) -> None:
        child = "trap 'echo child ended; exit' TERM; echo up; while :; do sleep 0.05; done"
        ref = await harness.submit(
            harness.shell(f'trap "wait; exit 5" TERM; sh -c "{child}" & wait; wait')
        )
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 60)

        assert b"child ended" in (await harness.end(ref)).stdout

    async def test_a_stopped_job_is_ended_too(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; kill -STOP $$; echo woken"))
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 60)

        assert (await harness.end(ref)).seen.signal == signal.SIGTERM

    async def test_a_later_call_shortens_the_grace(self, harness: Harness) -> None:
        ref = await harness.submit(
            harness.shell("trap '' TERM; echo up; while :; do sleep 0.05; done")
        )
        await harness.output(ref, b"up")
        # The first grace lasts longer than anything here is waited for.
        await harness.executor.cancel([ref], 10 * DEADLINE_S)
        await harness.executor.cancel([ref], 0)

        assert (await harness.end(ref)).seen.signal == signal.SIGKILL

    async def test_cancelling_again_and_again_is_harmless(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
        await harness.output(ref, b"up")
        for _ in range(5):
            await harness.executor.cancel([ref], 60)

        assert (await harness.end(ref)).seen.signal == signal.SIGTERM

    async def test_cancelling_what_has_ended_changes_nothing(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("exit 3"))
        before = await harness.end(ref)
        await harness.executor.cancel([ref], 0)

        assert (await harness.executor.observe([ref]))[ref] == before.seen

    async def test_cancelling_one_job_spares_the_others(self, harness: Harness) -> None:
        ended = await harness.submit(harness.shell("echo up; sleep 600"))
        spared = await harness.submit(harness.shell("echo up; sleep 1; echo spared"))
        await harness.output(ended, b"up")
        await harness.output(spared, b"up")
        await harness.executor.cancel([ended], 60)
        await harness.end(ended)

        assert (await harness.end(spared)).stdout == b"up\nspared\n"

    async def test_cancelling_nothing_does_nothing(self, harness: Harness) -> None:
        await harness.executor.cancel([], 60)
