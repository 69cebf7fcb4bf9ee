"""The contract of executors: how jobs start, what they write, how they are seen."""

from __future__ import annotations

import hashlib
import os
import signal
from contextlib import suppress
from pathlib import Path  # noqa: TC003 - fixtures are read at run time

import anyio
import pytest

from runbus.abc import JobRef, Resources
from runbus.errors import SecretMissing
from runbus.events import Image
from runbus.testing.conformance._harness import DEADLINE_S, Contract, Harness

__all__ = ["LaunchContract", "ObserveContract", "OutputContract"]

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


class LaunchContract(Contract):
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

    async def test_a_job_learns_where_its_ranks_meet(self, harness: Harness) -> None:
        names = ["NNODES", "NODE_RANK", "GPUS_PER_NODE", "NODE_IPS", "MASTER_ADDR", "MASTER_PORT"]
        told = [*(f"RUNBUS_{name}" for name in names), "MASTER_ADDR", "MASTER_PORT"]
        script = "echo " + " ".join(f"${{{name}:-unset}}" for name in told)

        ended = await harness.run(harness.shell(script))
        own = await harness.run(harness.shell(script, env={"MASTER_PORT": "4711"}))

        nodes, rank, gpus, ips, address, port, *torch = ended.stdout.decode().split()
        assert (nodes, rank, gpus) == ("1", "0", "0")
        assert ips == address
        assert 1024 < int(port) < 65536
        assert torch == [address, port]
        assert own.stdout.decode().split()[-1] == "4711"

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
            harness.job(
                "/bin/grep",
                "Cpus_allowed_list",
                "/proc/self/status",
                resources=Resources(cpus=str(first)),
            )
        )

        assert ended.stdout.split() == [b"Cpus_allowed_list:", b"%d" % first]

    async def test_a_job_yields_as_much_as_it_should(self, harness: Harness) -> None:
        mine = int((await harness.run(harness.job("/usr/bin/nice"))).stdout)
        ended = await harness.run(harness.job("/usr/bin/nice", resources=Resources(nice=5)))

        assert int(ended.stdout) == mine + 5

    async def test_the_variables_of_the_image_arrive(self, harness: Harness) -> None:
        job = harness.shell('echo "$A $B"', image=Image(env={"A": "1", "B": "2"}), env={"B": "3"})

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


class OutputContract(Contract):
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
        ref = await harness.submit(harness.shell("echo up; sleep 600"))

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


class ObserveContract(Contract):
    """What `observe` and `wait_for_change` must do."""

    async def test_a_running_job_is_seen_with_its_process(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("echo $$; exec sleep 600"))
        pid = int(await harness.output(ref, b"\n"))

        seen = await harness.phase(ref, "running")

        assert seen.pid == pid
        assert seen.host
        assert seen.started_ns
        assert seen.evidence

    async def test_looking_at_nothing_gives_nothing(self, harness: Harness) -> None:
        assert await harness.executor.observe([]) == {}

    async def test_many_jobs_are_looked_at_in_one_go(self, harness: Harness) -> None:
        refs = [await harness.submit(harness.shell(f"exit {code}")) for code in range(12)]
        for ref in refs:
            await harness.phase(ref, "ended")

        seen = await harness.executor.observe(refs)

        assert {ref: one.exit_code for ref, one in seen.items()} == {
            ref: code for code, ref in enumerate(refs)
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

        seen = (await harness.executor.observe([ref])).get(ref)

        assert seen is None or seen.phase in {"queued", "gone"}

    async def test_waiting_for_a_change_ends_in_time(self, harness: Harness) -> None:
        await harness.executor.wait_for_change(0)
        with anyio.fail_after(DEADLINE_S):
            await harness.executor.wait_for_change(0.05)

    async def test_waiting_for_a_change_can_be_cancelled(self, harness: Harness) -> None:
        with anyio.move_on_after(0.02) as scope:
            while True:
                await harness.executor.wait_for_change(60)

        assert scope.cancelled_caught

    async def test_an_end_is_a_change(self, harness: Harness) -> None:
        ref = await harness.submit(harness.shell("sleep 0.2"))
        # Patience is no way out where changes are told; elsewhere one simply waits.
        patience_s = 2 * DEADLINE_S if harness.executor.capabilities.pushes else 0.1
        with anyio.fail_after(DEADLINE_S):
            while (await harness.executor.observe([ref])).get(ref, None) is None or (
                (await harness.executor.observe([ref]))[ref].phase != "ended"
            ):
                await harness.executor.wait_for_change(patience_s)

    async def test_an_end_is_told_as_a_change_where_changes_are_told(
        self, harness: Harness
    ) -> None:
        """Otherwise the supervisor would look as seldom as it does at what tells by itself."""
        told = None
        for seconds in (2, 20):
            ref = await harness.submit(harness.shell(f"sleep {seconds}"))
            if (await harness.phase(ref, "running", "ended")).phase == "running":
                told = await harness.told_of_end(ref)
            if told is not None:
                break

        assert told == harness.executor.capabilities.pushes

    async def test_waiting_in_vain_tells_of_no_change(self, harness: Harness) -> None:
        await harness.executor.wait_for_change(0)

        assert await harness.executor.wait_for_change(0.01) is False


def _files_with(folder: Path, text: str) -> list[str]:
    """Return the names of the files below a folder that hold a text."""
    found = []
    for path in folder.rglob("*"):
        # A temporary file may be gone by now, and then it holds nothing.
        with suppress(FileNotFoundError):
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(path.name)
    return found
