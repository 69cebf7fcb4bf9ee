"""What every executor must do.

    class TestMine(ExecutorContract):
        @pytest.fixture
        def executors(self) -> ExecutorFactory:
            return MyExecutor          # a function that returns an async context manager

Each test runs real jobs of /bin/sh. All executors that the factory makes must see the same jobs,
as they would after a restart. The tests are async: pytest-asyncio runs them, in its auto mode.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path  # noqa: TC003

import anyio
import pytest
from msgspec.structs import replace

from runbus.abc import Capabilities, JobRef
from runbus.errors import JobNotStarted, SecretMissing, Unsupported, UsageError
from runbus.events import Image
from runbus.testing.conformance._base import Base
from runbus.testing.conformance._finding import FindContract, LogContract, PackageContract
from runbus.testing.conformance._harness import ExecutorFactory, Harness

__all__ = ["ExecutorContract", "ExecutorFactory", "Harness"]

STRANGE = [
    pytest.param("two words", id="blank"),
    pytest.param("new\nline\n", id="line-breaks"),
    pytest.param('it\'s "quoted"', id="quotes"),
    pytest.param("$(echo no) `echo no` $HOME ${x}", id="expansions"),
    pytest.param("\\n \\\\ \\0", id="backslashes"),
    pytest.param("ünï ☃ 𝄞", id="unicode"),
    pytest.param("\udcff\udcfe", id="no-utf8"),
    pytest.param("-n", id="dash"),
    pytest.param("", id="empty"),
    pytest.param("%s %d * ? [a] ~ ; & | > !", id="signs"),
    pytest.param("\t\x01\x7f", id="controls"),
]


class PlanContract(Base):
    """What `plan` must do."""

    async def test_a_plan_can_be_printed_and_names_the_program(self, harness: Harness) -> None:
        assert "/bin/echo" in harness.executor.plan(harness.job("/bin/echo", "hi")).render()

    async def test_planning_twice_gives_the_same(self, harness: Harness) -> None:
        job = harness.shell("true", env={"B": "2", "A": "1"})

        assert harness.executor.plan(job) == harness.executor.plan(job)

    async def test_planning_leaves_nothing_on_disk(self, harness: Harness) -> None:
        job = harness.shell("true")
        harness.executor.plan(job)

        assert os.listdir(job.folder) == []

    async def test_an_image_is_given_or_refused_but_not_ignored(self, harness: Harness) -> None:
        job = harness.shell("true", image=Image(base="no-such-image:at-all"))

        with pytest.raises((UsageError, JobNotStarted)):
            await harness.submit(job)

    async def test_what_cannot_be_given_is_refused_when_it_is_planned(
        self, harness: Harness
    ) -> None:
        can = harness.executor.capabilities
        asked = {
            "images": harness.shell("true", image=Image(packages=("numpy",))),
            "affinity": harness.shell("true", cpus="0"),
            "niceness": harness.shell("true", nice=1),
            "time_limit": harness.shell("true", timeout_s=60),
        }

        for name, job in asked.items():
            if getattr(can, name):
                assert harness.executor.plan(job).render()
            else:
                with pytest.raises(Unsupported):
                    harness.executor.plan(job)

    async def test_more_gpus_than_there_are_never_run(self, harness: Harness) -> None:
        with pytest.raises((Unsupported, JobNotStarted), match="GPU"):
            await harness.submit(harness.shell("true", gpus=10_000))

    async def test_everything_that_is_refused_is_told_at_once(self, harness: Harness) -> None:
        job = harness.shell("true")
        nothing = Capabilities()

        with pytest.raises(Unsupported) as caught:
            nothing.check(replace(job, gpus=1, nice=3, cpus="0", timeout_s=5), "poor")

        assert len(caught.value.missing) == 4

    async def test_it_says_how_many_jobs_are_of_any_use(self, harness: Harness) -> None:
        limits = harness.executor.limits()

        assert limits.jobs is None or limits.jobs >= 1
        assert 0 <= limits.observe_s < 3600


class EndContract(Base):
    """How ends are told."""

    @pytest.mark.parametrize("code", [0, 1, 7, 126, 127, 255])
    async def test_an_exit_code_is_told(self, harness: Harness, code: int) -> None:
        ended = await harness.run(harness.shell(f"exit {code}"))

        assert (ended.seen.exit_code, ended.seen.signal) == (code, None)

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
        ended = await harness.run(harness.shell("echo up; exec sleep 60", timeout_s=1))

        assert ended.stdout == b"up\n"
        assert (ended.seen.signal, ended.seen.reason) == (signal.SIGTERM, "time limit")

    async def test_a_job_within_its_time_is_left_alone(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("exit 3", timeout_s=60))

        assert (ended.seen.exit_code, ended.seen.reason) == (3, "")

    async def test_a_child_that_is_left_behind_does_not_delay_the_end(
        self, harness: Harness
    ) -> None:
        start = time.monotonic()
        await harness.run(harness.shell("sleep 20 & exit 0"))

        assert time.monotonic() - start < 15

    async def test_an_end_stays_as_it_is_however_often_one_looks(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("exit 3"))
        first = await harness.end(ref)

        for _ in range(5):
            assert (await harness.executor.observe([ref]))[ref.name] == first.seen

    async def test_times_are_told_in_order_and_near_the_truth(self, harness: Harness) -> None:
        before = time.time_ns()
        ended = await harness.run(harness.shell("sleep 0.3"))
        after = time.time_ns()

        slack = 2_000_000_000
        assert before - slack < ended.seen.started_ns <= ended.seen.ended_ns < after + slack
        assert 0.2 < ended.seen.duration_s < 10


class OutputContract(Base):
    """What becomes of what a job writes."""

    async def test_the_two_outputs_are_kept_apart(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("echo out; echo err >&2"))

        assert (ended.stdout, ended.stderr) == (b"out\n", b"err\n")

    async def test_any_bytes_are_kept(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell(r"printf '\000\001\377\376\r\n\033[0m'"))

        assert ended.stdout == b"\0\1\xff\xfe\r\n\x1b[0m"

    async def test_a_last_line_without_its_end_is_kept(self, harness: Harness) -> None:
        assert (await harness.run(harness.shell("printf 'a\\nb'"))).stdout == b"a\nb"

    async def test_a_job_that_writes_nothing_has_empty_logs(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("true"))

        assert (ended.stdout, ended.stderr) == (b"", b"")

    async def test_a_line_of_20_mb_is_kept_whole(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("head -c 20000000 /dev/zero | tr '\\0' x"))

        assert len(ended.stdout) == 20_000_000
        assert ended.stdout.count(b"x") == 20_000_000

    async def test_many_lines_are_kept_in_order(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("seq 1 200000"))

        expected = b"".join(b"%d\n" % number for number in range(1, 200_001))
        assert hashlib.sha256(ended.stdout).digest() == hashlib.sha256(expected).digest()

    async def test_output_is_there_while_the_job_runs(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; sleep 60"))

        assert await harness.output(ref, b"up\n") == b"up\n"
        assert (await harness.phase(ref, "running", "ended")).phase == "running"

    async def test_all_output_is_there_when_the_end_is_seen(self, harness: Harness) -> None:
        for _ in range(5):
            ended = await harness.run(harness.shell("seq 1 5000; echo last >&2"))

            assert ended.stdout.endswith(b"\n5000\n")
            assert ended.stderr == b"last\n"

    async def test_what_a_job_reads_is_empty(self, harness: Harness) -> None:
        ended = await harness.run(harness.shell("cat; echo done"))

        assert ended.stdout == b"done\n"


class LaunchContract(Base):
    """What reaches a job."""

    @pytest.mark.parametrize("text", STRANGE)
    async def test_an_argument_arrives_as_it_is(self, harness: Harness, text: str) -> None:
        ended = await harness.run(harness.job("/usr/bin/printf", "<%s>", text))

        assert ended.stdout == b"<" + os.fsencode(text) + b">"

    @pytest.mark.parametrize("text", STRANGE)
    async def test_a_variable_arrives_as_it_is(self, harness: Harness, text: str) -> None:
        job = harness.shell('printf "<%s>" "$GIVEN"', env={"GIVEN": text})

        assert (await harness.run(job)).stdout == b"<" + os.fsencode(text) + b">"

    async def test_the_names_of_variables_keep_their_case(self, harness: Harness) -> None:
        job = harness.shell('echo "$mixedCase"', env={"mixedCase": "kept"})

        assert (await harness.run(job)).stdout == b"kept\n"

    async def test_a_variable_of_100_kb_arrives(self, harness: Harness) -> None:
        text = "0123456789" * 10_000
        job = harness.shell('printf %s "$LONG"', env={"LONG": text})

        assert (await harness.run(job)).stdout == text.encode()

    async def test_no_command_line_shows_a_variable(self, harness: Harness) -> None:
        secret = "s3cr3t" + os.urandom(8).hex()
        script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done 2>/dev/null; echo done"

        ended = await harness.run(harness.shell(script, env={"TOKEN": secret}))

        assert ended.stdout.endswith(b"done\n")
        assert secret.encode() not in ended.stdout

    async def test_a_secret_is_in_its_job_alone(self, harness: Harness, tmp_path: Path) -> None:
        secret = "it's $(a)\n" + (canary := os.urandom(8).hex())
        (tmp_path / "secret").write_text(secret)
        script = (
            'for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; done >&2 2>/dev/null; env >&2; '
            'printf "<%s>" "$line"'
        )
        # The wrapper has a variable of that name for itself.
        job = harness.shell(script, secrets={"line": f"file:{tmp_path}/secret"})

        plan = harness.executor.plan(job)
        ended = await harness.run(job)

        assert ended.stdout == f"<{secret}>".encode()
        assert ended.stderr.count(canary.encode()) == 1
        assert canary not in f"{plan!r} {plan.render()} {ended.seen!r}"
        assert set(_files_with(tmp_path, canary)) == {"secret", "stdout.log", "stderr.log"}

    async def test_a_secret_that_is_not_there_starts_nothing(self, harness: Harness) -> None:
        job = harness.shell("true", secrets={"A": "env:RUNBUS_TEST_NOT_SET"})

        with pytest.raises(SecretMissing, match="env:RUNBUS_TEST_NOT_SET"):
            await harness.submit(job)

    @pytest.mark.parametrize("name", ["x; rm -rf ~", "../../up", "$(id)", "a'b", "new\nline", "☃"])
    async def test_the_name_of_a_job_is_only_a_name(self, harness: Harness, name: str) -> None:
        ended = await harness.run(harness.shell("echo ran", name=name))

        assert (ended.stdout, ended.seen.exit_code) == (b"ran\n", 0)

    async def test_a_job_starts_in_its_folder(self, harness: Harness) -> None:
        assert (await harness.run(harness.shell("pwd", cwd="/usr"))).stdout == b"/usr\n"

    async def test_a_job_keeps_to_its_processors(self, harness: Harness) -> None:
        first = min(os.sched_getaffinity(0))
        ended = await harness.run(
            harness.job("/bin/grep", "Cpus_allowed_list", "/proc/self/status", cpus=str(first))
        )

        assert ended.stdout.split() == [b"Cpus_allowed_list:", b"%d" % first]

    async def test_a_job_yields_as_much_as_it_should(self, harness: Harness) -> None:
        mine = int((await harness.run(harness.job("/usr/bin/nice"))).stdout)
        ended = await harness.run(harness.job("/usr/bin/nice", nice=5))

        assert int(ended.stdout) == mine + 5

    async def test_the_variables_of_the_image_arrive(self, harness: Harness) -> None:
        job = harness.shell(
            'echo "$A $B"', image=Image(env=(("A", "1"), ("B", "2"))), env={"B": "3"}
        )

        assert (await harness.run(job)).stdout == b"1 3\n"

    async def test_bootstrap_lines_run_first_and_in_order(self, harness: Harness) -> None:
        lines = ("echo one", "X='a b'; export X", 'echo "two $X"')

        ended = await harness.run(harness.shell('echo "three $X"', bootstrap=lines))

        assert ended.stdout == b"one\ntwo a b\nthree a b\n"

    async def test_a_bootstrap_line_that_fails_fails_the_job(self, harness: Harness) -> None:
        ended = await harness.run(
            harness.shell("echo ran", bootstrap=("sh -c 'exit 9'", "echo no"))
        )

        assert (ended.stdout, ended.seen.exit_code) == (b"", 9)

    async def test_signals_are_not_ignored_from_the_start(self, harness: Harness) -> None:
        """A Python that starts with INT ignored never has a KeyboardInterrupt."""
        ended = await harness.run(harness.job("/bin/grep", "SigIgn", "/proc/self/status"))

        ignored = int(ended.stdout.split()[1], 16)
        names = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
        assert [name for name in names if ignored & (1 << (name - 1))] == []

    async def test_a_job_leads_a_session_of_its_own(self, harness: Harness) -> None:
        script = 'read -r line </proc/$$/stat; set -- ${line##*) }; echo "$$ $3 $4"'

        pid, group, session = (await harness.run(harness.shell(script))).stdout.split()

        assert pid == group == session


class ObserveContract(Base):
    """What `observe` and `wait_for_change` must do."""

    async def test_a_running_job_is_seen_with_its_process(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo $$; exec sleep 60"))
        pid = int(await harness.output(ref, b"\n"))

        seen = await harness.phase(ref, "running")

        assert seen.pid == pid
        assert seen.host
        assert seen.started_ns

    async def test_looking_at_nothing_gives_nothing(self, harness: Harness) -> None:
        assert await harness.executor.observe([]) == {}

    async def test_many_jobs_are_looked_at_in_one_go(self, harness: Harness) -> None:
        refs = [await harness.submit(harness.shell(f"exit {code}")) for code in range(12)]
        for ref in refs:
            await harness.phase(ref, "ended")

        seen = await harness.executor.observe(refs)

        assert {name: one.exit_code for name, one in seen.items()} == {
            ref.name: code for code, ref in enumerate(refs)
        }

    async def test_jobs_at_once_keep_their_outputs_apart(self, harness: Harness) -> None:
        jobs = [harness.shell(f"echo {number}; sleep 0.05; echo {number}") for number in range(8)]
        refs: list[JobRef] = []

        async def submit(index: int) -> None:
            refs.append(await harness.submit(jobs[index]))

        async with anyio.create_task_group() as group:
            for index in range(len(jobs)):
                group.start_soon(submit, index)
        outputs = sorted([(await harness.end(ref)).stdout for ref in refs])

        assert outputs == [b"%d\n%d\n" % (number, number) for number in range(8)]

    async def test_a_job_that_was_never_submitted_has_not_ended(self, harness: Harness) -> None:
        job = harness.shell("true")
        ref = JobRef(name=job.name, folder=job.folder, handle="999999999")

        seen = (await harness.executor.observe([ref])).get(job.name)

        assert seen is None or seen.phase in {"queued", "gone"}

    async def test_waiting_for_a_change_ends_in_time(self, harness: Harness) -> None:
        await harness.executor.wait_for_change(0)
        start = time.monotonic()
        await harness.executor.wait_for_change(0.05)

        assert time.monotonic() - start < 5

    async def test_waiting_for_a_change_can_be_cancelled(self, harness: Harness) -> None:
        with anyio.move_on_after(0.02) as scope:
            while True:
                await harness.executor.wait_for_change(60)

        assert scope.cancelled_caught

    async def test_an_end_is_a_change(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("sleep 0.2"))
        start = time.monotonic()
        with anyio.fail_after(30):
            while (await harness.executor.observe([ref])).get(ref.name, None) is None or (
                (await harness.executor.observe([ref]))[ref.name].phase != "ended"
            ):
                await harness.executor.wait_for_change(25)

        assert time.monotonic() - start < 20

    async def test_an_end_is_told_as_a_change_where_changes_are_told(
        self, harness: Harness
    ) -> None:
        """Otherwise the supervisor would look as seldom as it does at what tells by itself."""
        ref = await harness.submit(harness.shell("sleep 0.5"))
        await harness.phase(ref, "running", "ended")
        told = False
        with anyio.fail_after(30):
            while (await harness.executor.observe([ref]))[ref.name].phase != "ended":
                told |= await harness.executor.wait_for_change(20)

        assert told == harness.executor.capabilities.pushes

    async def test_waiting_in_vain_tells_of_no_change(self, harness: Harness) -> None:
        await harness.executor.wait_for_change(0)

        assert await harness.executor.wait_for_change(0.01) is False


class CancelContract(Base):
    """What `cancel` must do."""

    async def test_a_job_may_clean_up(self, harness: Harness) -> None:
        ref = await harness.submit(
            harness.shell("trap 'echo cleaned; exit 5' TERM; echo up; while :; do sleep 0.05; done")
        )
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 20)

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
            harness.shell(f'sh -c "{child}" & trap "wait; exit 5" TERM; wait; wait')
        )
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 20)

        assert b"child ended" in (await harness.end(ref)).stdout

    async def test_a_stopped_job_is_ended_too(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; kill -STOP $$; echo woken"))
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 5)

        assert (await harness.end(ref)).seen.signal == signal.SIGTERM

    async def test_a_later_call_shortens_the_grace(self, harness: Harness) -> None:
        ref = await harness.submit(
            harness.shell("trap '' TERM; echo up; while :; do sleep 0.05; done")
        )
        await harness.output(ref, b"up")
        start = time.monotonic()
        await harness.executor.cancel([ref], 25)
        await harness.executor.cancel([ref], 0)
        await harness.end(ref)

        assert time.monotonic() - start < 15

    async def test_cancelling_again_and_again_is_harmless(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; exec sleep 60"))
        await harness.output(ref, b"up")
        for _ in range(5):
            await harness.executor.cancel([ref], 5)

        assert (await harness.end(ref)).seen.signal == signal.SIGTERM

    async def test_cancelling_what_has_ended_changes_nothing(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("exit 3"))
        before = await harness.end(ref)
        await harness.executor.cancel([ref], 0)

        assert (await harness.executor.observe([ref]))[ref.name] == before.seen

    async def test_cancelling_one_job_spares_the_others(self, harness: Harness) -> None:
        ended = await harness.submit(harness.shell("echo up; sleep 60"))
        spared = await harness.submit(harness.shell("echo up; sleep 1; echo spared"))
        await harness.output(ended, b"up")
        await harness.output(spared, b"up")
        await harness.executor.cancel([ended], 5)
        await harness.end(ended)

        assert (await harness.end(spared)).stdout == b"up\nspared\n"

    async def test_cancelling_nothing_does_nothing(self, harness: Harness) -> None:
        await harness.executor.cancel([], 5)


class RestartContract(Base):
    """What must hold when whoever submitted is gone."""

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

    async def test_a_job_can_be_cancelled_after_a_restart(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo up; exec sleep 60"))
        await harness.output(ref, b"up")

        await harness.restart()
        await harness.executor.cancel([ref], 5)

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


class ExecutorContract(
    PlanContract,
    EndContract,
    OutputContract,
    LaunchContract,
    ObserveContract,
    FindContract,
    LogContract,
    PackageContract,
    CancelContract,
    RestartContract,
):
    """Everything that an executor must do."""


def _files_with(folder: Path, text: str) -> list[str]:
    """Return the names of the files below a folder that hold a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if text.encode() in path.read_bytes()]
