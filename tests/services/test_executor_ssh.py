"""SSHExecutor against real sshds: the contract, and what goes wrong between machines."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus._core import MetricReader
from runbus.abc import JobRef, JobSpec, Resources, Timeouts
from runbus.attempt import read_cuts
from runbus.errors import ConnectionLost, JobNotStarted, SubmitUnknown
from runbus.executors import SSHExecutor
from runbus.executors._choosing import AVOID_S
from runbus.executors._machine import PATIENCE_S
from runbus.metrics import RunInfo
from runbus.packaging import PatternPackager, build_package
from runbus.testing._waiting import until
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory, Harness
from runbus.testing.sshd import Sshd

from .conftest import tunnel_to

pytestmark = pytest.mark.services


class TestSshExecutor(ExecutorContract):
    @pytest.fixture
    def executors(self, host: Sshd, tmp_path: Path) -> ExecutorFactory:
        return lambda: SSHExecutor([tunnel_to(host, tmp_path / "remote höme")], slots=16)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "remote"


@pytest.fixture
async def harness(host: Sshd, tmp_path: Path, remote: Path) -> AsyncIterator[Harness]:
    """One host with many slots."""
    tunnel = tunnel_to(host, remote)

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel], slots=16)

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


def put(path: Path, text: str) -> None:
    path.write_text(text)


def only_journal(run_folder: str) -> str:
    (journal,) = Path(run_folder, "metrics").glob("*.journal")
    return str(journal)


def attempts(remote: Path) -> list[Path]:
    return sorted(remote.glob("*/jobs/*/*"))


async def test_killing_what_serves_the_connection_loses_and_repeats_nothing(
    host: Sshd, harness: Harness
) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i + 1)); sleep 0.005; done; exit 4"
    ref = await harness.submit(harness.shell(script))
    for _ in range(6):
        await harness.output(ref, b"\n")
        host.kill_sessions()
        await asyncio.sleep(0.15)

    ended = await harness.end(ref)

    assert ended.stdout == b"".join(b"%d\n" % number for number in range(300))
    assert ended.seen.exit_code == 4


async def test_a_job_that_ends_while_the_host_is_out_of_reach_is_told_afterwards(
    host: Sshd, harness: Harness, remote: Path
) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 0.5; echo last; exit 9"))
    await harness.output(ref, b"up")
    host.stop()
    (attempt,) = attempts(remote)
    async with asyncio.timeout(120):
        while not (attempt / "exit.json").exists():
            seen = (await harness.executor.observe([ref])).get(ref)
            assert seen is None or seen.phase == "running"
            await harness.executor.wait_for_change(0.05)

    host.start()
    ended = await harness.end(ref)

    assert (ended.stdout, ended.seen.exit_code) == (b"up\nlast\n", 9)


async def test_a_host_out_of_reach_says_nothing_about_its_jobs(
    host: Sshd, harness: Harness
) -> None:
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")
    host.stop()

    async with asyncio.timeout(120):
        while await harness.executor.observe([ref]):
            await harness.executor.wait_for_change(0.05)
    for _ in range(20):
        assert await harness.executor.observe([ref]) == {}
        await harness.executor.wait_for_change(0.02)

    host.start()
    assert (await harness.phase(ref, "running", "gone", "ended")).phase == "running"


async def test_a_cancel_reaches_a_host_that_is_out_of_reach_later(
    host: Sshd, harness: Harness
) -> None:
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")
    host.stop()
    await harness.executor.cancel([ref], 60)

    host.start()

    assert (await harness.end(ref)).seen.signal == 15


async def submitted(harness: Harness, job: JobSpec) -> JobRef:
    """Submit a job as a leader does: where it is unknown what became of it, that is found out."""
    async with asyncio.timeout(120):
        while True:
            with suppress(SubmitUnknown):
                return await harness.submit(job)
            with suppress(ConnectionLost):
                if (ref := await harness.executor.find(job)) is not None:
                    return ref


async def test_a_submit_whose_connection_breaks_runs_the_job_once(
    host: Sshd, tmp_path: Path, remote: Path
) -> None:
    async with Harness(
        lambda: SSHExecutor([tunnel_to(host, remote)], slots=40), str(tmp_path / "here")
    ) as harness:
        first = await harness.run(harness.shell("true"))
        assert first.seen.exit_code == 0
        jobs = [harness.shell("echo ran; sleep 0.05") for _ in range(30)]
        submits = [asyncio.create_task(submitted(harness, job)) for job in jobs]
        for _ in range(8):
            await asyncio.sleep(0.02)
            host.kill_sessions()
        ended = [await harness.end(ref) for ref in await asyncio.gather(*submits)]

        assert [one.stdout for one in ended] == [b"ran\n"] * 30
        assert len(attempts(remote)) == 31


async def test_a_submit_waits_for_what_others_ask_the_machine_however_long(
    host: Sshd, tmp_path: Path, remote: Path
) -> None:
    tunnel = tunnel_to(host, remote)
    async with Harness(lambda: SSHExecutor([tunnel]), str(tmp_path / "here")) as harness:
        await harness.run(harness.shell("true"))
        asked = asyncio.create_task(tunnel.call(b"sleep %d" % (PATIENCE_S + 1)))
        await asyncio.sleep(0)  # it asks
        ended = await harness.run(harness.shell("echo ran"))

        assert asked.done()
        assert ended.stdout == b"ran\n"
    assert await asked == (0, b"")


async def test_a_job_goes_again_where_it_went_before(
    hosts: list[Sshd], tmp_path: Path, remote: Path
) -> None:
    """The submitter may have died before the answer: the record of the choice decides."""

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote / str(host.number)) for host in hosts[:1]])

    async with Harness(make, str(tmp_path / "here")) as harness:
        job = harness.shell("echo ran; sleep 0.3")
        await harness.submit(job)
        await harness.restart()
        ref = await harness.submit(job)

        assert (await harness.end(ref)).stdout == b"ran\n"
        assert len(attempts(remote / "1")) == 1


async def test_a_job_that_may_have_been_submitted_is_not_told_as_not_started(
    hosts: list[Sshd], tmp_path: Path, remote: Path
) -> None:
    """Who says that it was not started, while it runs there, has it run twice."""

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote) for host in hosts])

    async with Harness(make, str(tmp_path / "here")) as harness:
        job = harness.shell("echo ran; sleep 0.3")
        sent = (await harness.submit(job)).handle
        await harness.restart()
        (host,) = (host for host in hosts if sent.startswith(f"root@{host.address}"))
        host.stop()
        with pytest.raises(SubmitUnknown):
            await harness.submit(job)
        host.start()
        ref = await harness.executor.find(job)

        assert ref is not None
        assert (await harness.end(ref)).stdout == b"ran\n"
        assert len(attempts(remote)) == 1


async def test_one_session_a_connection_is_enough(host: Sshd, tmp_path: Path, remote: Path) -> None:
    host.stop()
    host.start(MaxSessions="1")
    async with Harness(
        lambda: SSHExecutor([tunnel_to(host, remote)]), str(tmp_path / "here")
    ) as harness:
        ended = await harness.run(harness.shell("echo through; exit 3"))

    assert (ended.stdout, ended.seen.exit_code) == (b"through\n", 3)


async def test_a_changed_host_key_stops_a_submit_and_says_why(
    host: Sshd, tmp_path: Path, remote: Path
) -> None:
    host.stop()
    host.new_key()
    host.start()
    async with Harness(
        lambda: SSHExecutor([tunnel_to(host, remote)]), str(tmp_path / "here")
    ) as harness:
        with pytest.raises(JobNotStarted, match=r"the key of .* has changed") as caught:
            await harness.submit(harness.shell("true"))

    assert "ssh-keygen -R" in str(caught.value.hint)
    assert attempts(remote) == []


async def test_jobs_of_a_pool_go_to_every_host_one_a_slot(
    hosts: list[Sshd], tmp_path: Path, remote: Path
) -> None:
    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote) for host in hosts])

    async with Harness(make, str(tmp_path / "here")) as harness:
        # Each waits until as many have begun as there are slots: however slow a host is today.
        script = (
            'echo $SSH_CONNECTION $(date +%s%N); : >"$0/$$"; '
            'until [ $(ls "$0" | wc -l) -ge 3 ]; do sleep 0.05; done; date +%s%N'
        )
        begun = tmp_path / "begun"
        begun.mkdir()
        jobs = [harness.job("/bin/sh", "-c", script, str(begun)) for _ in range(6)]
        refs = await asyncio.gather(*(harness.submit(job) for job in jobs))
        ended = [await harness.end(ref) for ref in refs]

    spans = []
    for one in ended:
        _, _, where, _, began_ns, ended_ns = one.stdout.decode().split()
        spans.append((int(began_ns), int(ended_ns), where))
    # The host that is free first gets the next job: how many each gets depends on their speed.
    assert {where for _, _, where in spans} == {host.address for host in hosts}
    for begin, _, where in spans:
        assert [span for span in spans if span[2] == where and span[0] < begin < span[1]] == []


async def test_a_pool_goes_on_without_a_host_that_is_not_there(
    hosts: list[Sshd], tmp_path: Path, remote: Path
) -> None:
    hosts[0].stop()

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote) for host in hosts])

    async with Harness(make, str(tmp_path / "here")) as harness:
        for _ in range(4):
            assert (await harness.run(harness.shell("exit 2"))).seen.exit_code == 2


async def test_a_pool_without_any_host_refuses_a_job(
    hosts: list[Sshd], tmp_path: Path, remote: Path
) -> None:
    for host in hosts:
        host.stop()

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote) for host in hosts])

    async with Harness(make, str(tmp_path / "here")) as harness:
        job = harness.shell("true", timeouts=Timeouts(queue_s=1))
        with pytest.raises(JobNotStarted, match="connection refused; no connection") as caught:
            await harness.submit(job)

    assert "runbus doctor" in str(caught.value.hint)
    for host in hosts:
        assert host.address in str(caught.value)


async def test_a_host_that_comes_up_late_is_waited_for(
    host: Sshd, tmp_path: Path, remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.stop()

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote)])

    async with Harness(make, str(tmp_path / "here")) as harness:
        submitting = asyncio.create_task(harness.run(harness.shell("echo ran")))
        async with asyncio.timeout(120):
            while "connection refused; trying again" not in caplog.text:
                await harness.executor.wait_for_change(0.01)
        host.start()
        async with asyncio.timeout(120):
            assert (await submitting).stdout == b"ran\n"

    assert caplog.text.count("connection refused") == 1


async def test_a_host_that_was_out_of_reach_is_avoided_and_named(
    hosts: list[Sshd], tmp_path: Path, remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone, here = hosts[0], hosts[1]

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(gone, remote), tunnel_to(here, remote)], slots=2)

    for number in itertools.count():
        gone.stop()
        async with Harness(make, str(tmp_path / f"here-{number}")) as harness:
            began = time.monotonic()
            first = await harness.run(harness.shell("true"))
            gone.start()
            second = await harness.run(harness.shell("true"))
            took_s, sessions = time.monotonic() - began, gone.sessions()

        assert first.seen.host == f"root@{here.address}:{here.port}"
        # It is avoided for so long: on a machine that stalls that may be over by the second job.
        if took_s < AVOID_S:
            break
    assert second.seen.host == first.seen.host
    assert sessions == []
    assert f"{gone.address}:{gone.port}: connection refused; jobs go to other hosts" in caplog.text


async def test_a_host_whose_sftp_is_noise_takes_no_job_and_says_why(
    host: Sshd, tmp_path: Path, remote: Path
) -> None:
    noisy = tmp_path / "noisy"
    noisy.write_text("#!/bin/sh\necho hello\nexec /usr/lib/openssh/sftp-server\n")
    noisy.chmod(0o755)
    host.stop()
    host.start(Subsystem=f"sftp {noisy}")

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote)])

    async with Harness(make, str(tmp_path / "here")) as harness, asyncio.timeout(120):
        with pytest.raises(JobNotStarted, match=r"its sftp says 'hello' first: a login script"):
            await harness.submit(harness.shell("true"))
    assert attempts(remote) == []


async def test_an_end_is_told_although_the_log_cannot_be_copied(
    host: Sshd, tmp_path: Path, remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = tmp_path / "server"
    server.write_text(
        f"#!/bin/sh\n[ ! -e {tmp_path}/broken ] || exit 1\nexec /usr/lib/openssh/sftp-server\n"
    )
    server.chmod(0o755)
    host.stop()
    host.start(Subsystem=f"sftp {server}")

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote)], copy_patience_s=1.0)

    async with Harness(make, str(tmp_path / "here")) as harness, asyncio.timeout(120):
        job = harness.shell(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo late")
        ref = await harness.submit(job)
        await harness.phase(ref, "running")
        (tmp_path / "broken").touch()
        host.kill_sessions()
        # Only now: what it writes must not come by the connection that still has an sftp.
        (tmp_path / "go").touch()

        assert (await harness.phase(ref, "ended")).exit_code == 0
    assert "stays on root@" in caplog.text
    assert "its sftp ends at once" in caplog.text


@pytest.mark.parametrize("place", ["~/{}", "$HOME/{}", "${{HOME}}/{}", "~root/{}", "{}"])
async def test_a_home_on_the_machine_is_found_wherever_a_path_begins_with_it(
    host: Sshd, tmp_path: Path, place: str
) -> None:
    home = pwd.getpwuid(0).pw_dir  # of who logs in, whatever HOME is here
    with tempfile.TemporaryDirectory(dir=home) as made:
        path = place.format(Path(made).name)
        (Path(made) / "python").write_text('#!/bin/sh\necho "$@ in $PWD"\n')
        (Path(made) / "python").chmod(0o755)

        def make() -> SSHExecutor:
            python = f"{path}/python" if place != "{}" else f"{made}/python"
            return SSHExecutor([tunnel_to(host, f"{path}/jobs")], workdir=path, python=python)

        async with Harness(make, str(tmp_path / "here")) as harness:
            done = await harness.run(harness.job(sys.executable, "-c", "x"))

        assert done.stdout.decode() == f"-c x in {made}\n"
        assert attempts(Path(made) / "jobs")


TRAINER = """
import runbus, sys, time
run = runbus.init()
for step in range(int(sys.argv[1])):
    run.log({"loss": 1 / (step + 1), "acc": step}, step=step)
    time.sleep(0.0005)
if len(sys.argv) > 2:
    import os
    os._exit(3)
run.finish()
"""


@pytest.mark.parametrize("ending", [[], ["dies"]], ids=["finished", "died"])
async def test_metrics_arrive_whole_across_lost_connections(
    host: Sshd, harness: Harness, ending: list[str]
) -> None:
    job = harness.job(sys.executable, "-c", TRAINER, "2000", *ending)
    os.makedirs(job.run_folder, exist_ok=True)
    RunInfo(job.run_id, "a", "p", {}, 1).write(job.run_folder)
    # Its machine would be sampled, into a journal of its own.
    env = {"RUNBUS_RUN": job.run_folder, "RUNBUS_SYSTEM": "0"}
    ref = await harness.submit(replace(job, env=env))
    for _ in range(4):
        await asyncio.sleep(0.2)
        host.kill_sessions()
    ended = await harness.end(ref)

    assert ended.stderr == b""
    assert ended.seen.exit_code == (3 if ending else 0)
    columns = MetricReader(only_journal(job.run_folder)).poll(100_000)
    assert columns is not None
    assert len(columns) == 4000


async def test_code_is_sent_once_and_unpacked_for_each_attempt(
    host: Sshd, tmp_path: Path, remote: Path
) -> None:
    tree = tmp_path / "my code"
    tree.mkdir()
    (tree / "hello.sh").write_text("echo hello from $(pwd); echo x >> hello.sh\n")
    package = await build_package(PatternPackager("*"), str(tree))

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote)])

    async with Harness(make, str(tmp_path / "here")) as harness:
        hello = ("/bin/sh", str(tree / "hello.sh"))
        for _ in range(2):
            job = harness.job(*hello, cwd=str(tree), package=package)
            ended = await harness.run(job)
            assert ended.stdout.startswith(b"hello from " + os.fsencode(remote))
            assert ended.stdout.endswith(b"/code\n")
        sent = (remote / "packages" / f"{package.sha256}.tar.gz").stat().st_mtime_ns
        await harness.restart()
        await harness.run(harness.job(*hello, cwd=str(tree), package=package))

    (archive,) = (remote / "packages").iterdir()
    assert archive.stat().st_mtime_ns == sent
    assert (tree / "hello.sh").read_text().count("echo x") == 1


@pytest.mark.parametrize("more", ["", "; seq 1 2000"], ids=["shorter", "longer"])
async def test_what_a_job_empties_is_kept_here_and_what_follows_is_added(
    harness: Harness, more: str
) -> None:
    # By its path: what is written to /dev/stdout goes through a pipe, and cuts nothing.
    script = f'seq 1 1000; read -r _ <../go; : >"$RUNBUS_ATTEMPT/stdout.log"; echo new{more}'
    job = harness.shell(script.replace("../go", "$0"))
    job = replace(job, argv=(*job.argv, f"{job.folder}.go"))
    os.mkfifo(f"{job.folder}.go")
    ref = await harness.submit(job)
    await harness.output(ref, b"\n1000\n")
    put(Path(f"{job.folder}.go"), "\n")

    ended = await harness.end(ref)

    before = "".join(f"{number}\n" for number in range(1, 1001))
    after = "".join(f"{number}\n" for number in range(1, 2001)) if more else ""
    assert ended.stdout.decode() == f"{before}new\n{after}"
    assert read_cuts(job.folder) == [("stdout", len(before))]


async def test_a_job_that_opens_its_own_output_again_loses_nothing(harness: Harness) -> None:
    job = harness.shell("echo one; echo two >/dev/stdout; echo three")

    assert (await harness.run(job)).stdout == b"one\ntwo\nthree\n"
    assert read_cuts(job.folder) == []


async def test_what_is_written_after_the_first_process_ended_is_read_there(
    harness: Harness, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    job = harness.shell(f"(read -r _ <{go}; echo late) & echo first")
    ref = await harness.submit(job)
    assert (await harness.end(ref)).stdout == b"first\n"
    put(go, "\n")

    async with asyncio.timeout(120):
        while not (late := await harness.executor.logs(ref, "stdout", 6)):
            await harness.executor.wait_for_change(0.05)
    assert late == b"late\n"


def files_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


async def test_everything_on_the_host_is_for_its_owner_only_but_not_what_jobs_make(
    harness: Harness, remote: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    await harness.run(harness.shell(f"umask; touch '{made}'", env={"TOKEN": "x"}))

    (attempt,) = attempts(remote)
    assert attempt.stat().st_mode & 0o077 == 0
    files = files_below(remote)
    assert {file.name for file in files} >= {"request", "pid.json", "exit.json", "run.json"}
    assert [str(file) for file in files if file.stat().st_mode & 0o077] == []
    assert made.stat().st_mode & 0o444 == 0o444


@pytest.fixture
def without_execution(tmp_path: Path) -> Iterator[Path]:
    """A folder from which nothing can be started."""
    folder = tmp_path / "noexec"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "noexec,size=16m", "none", str(folder)]
    subprocess.run(["mount", *options], check=True, timeout=120)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, timeout=120)


async def test_where_the_program_does_not_start_the_script_does_the_same_job(
    host: Sshd, tmp_path: Path, without_execution: Path
) -> None:
    tunnel = tunnel_to(host, without_execution)
    async with Harness(lambda: SSHExecutor([tunnel]), str(tmp_path / "here")) as harness:
        done = await harness.run(harness.shell("echo out; exit 3"))

        assert (done.stdout, done.seen.exit_code, done.seen.wrapper) == (b"out\n", 3, "script")

        ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
        await harness.output(ref, b"up")
        await harness.executor.cancel([ref], 0.5)
        assert (await harness.end(ref)).seen.signal == 15


def is_cut(program: Path) -> bool:
    """Cut a program short; not while it runs."""
    try:
        os.truncate(program, 4096)
    except OSError as error:
        if error.errno != errno.ETXTBSY:
            raise
        return False
    return True


@pytest.mark.parametrize("damaged", [False, True])
async def test_the_program_is_sent_to_a_host_once_and_again_when_it_was_damaged(
    host: Sshd, tmp_path: Path, remote: Path, damaged: bool
) -> None:
    def programs() -> list[tuple[str, int, int]]:
        found = [path for path in remote.glob("wrapper-*") if path.suffix != ".sh"]
        return [(path.name, path.stat().st_ino, path.stat().st_size) for path in found]

    for _ in range(2):
        before = programs()
        if before and damaged:
            # What the connection before had started may take a moment longer to end.
            await until(partial(is_cut, remote / before[0][0]))
        async with Harness(
            lambda: SSHExecutor([tunnel_to(host, remote)]), str(tmp_path / "here")
        ) as harness:
            assert (await harness.run(harness.shell("true"))).seen.wrapper == "program"

    assert len(programs()) == 1
    assert (programs() == before) is not damaged
    assert programs()[0][2] == before[0][2]


async def test_over_ssh_a_job_has_the_words_and_the_variables_that_were_asked_for(
    harness: Harness,
) -> None:
    words = ["", "a b", "'", "$HOME", "new\nline", "ünï", "-n", "\x7f"]
    show = 'printf \'%s|\' "$@" "$UID" "$IT"'
    job = harness.job("bash", "-c", show, "bash", *words, env={"UID": "7", "IT": " \n"})

    done = await harness.run(job)

    assert done.stdout.decode() == "".join(f"{word}|" for word in [*words, "7", " \n"])
    assert done.seen.exit_code == 0


async def test_a_disk_that_refuses_is_told_and_nothing_runs(host: Sshd, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with Harness(
        lambda: SSHExecutor([tunnel_to(host, tmp_path / "file" / "below")]),
        str(tmp_path / "here"),
    ) as harness:
        with pytest.raises(JobNotStarted):
            await harness.submit(harness.shell("true"))


async def test_a_wrapper_that_is_killed_leaves_a_job_that_is_gone(
    harness: Harness, remote: Path
) -> None:
    ref = await harness.submit(harness.shell("echo up $PPID; exec sleep 600"))
    wrapper = int((await harness.output(ref, b"\n")).split()[1])
    pid = (await harness.phase(ref, "running")).pid
    start = time.monotonic()
    os.kill(wrapper, 9)
    os.kill(pid, 9)

    assert (await harness.phase(ref, "gone", "ended")).phase == "gone"
    assert time.monotonic() - start > 2


async def test_a_pid_of_another_start_is_not_the_job(harness: Harness, remote: Path) -> None:
    ref = await harness.submit(harness.shell("echo up $PPID; exec sleep 600"))
    wrapper = int((await harness.output(ref, b"\n")).split()[1])
    pid = (await harness.phase(ref, "running")).pid
    (attempt,) = attempts(remote)
    record = json.loads((attempt / "pid.json").read_text())
    (attempt / "pid.json").write_text(json.dumps(record | {"start": record["start"] - 5}) + "\n")

    assert (await harness.phase(ref, "gone", "ended")).phase == "gone"
    os.kill(wrapper, 9)
    os.kill(pid, 9)


async def test_a_reboot_is_told(harness: Harness, remote: Path) -> None:
    ref = await harness.submit(harness.shell("echo up $PPID; exec sleep 600"))
    wrapper = int((await harness.output(ref, b"\n")).split()[1])
    pid = (await harness.phase(ref, "running")).pid
    (attempt,) = attempts(remote)
    record = json.loads((attempt / "pid.json").read_text())
    (attempt / "pid.json").write_text(json.dumps(record | {"boot": "another"}) + "\n")

    assert (await harness.phase(ref, "gone", "ended")).phase == "gone"
    os.kill(wrapper, 9)
    os.kill(pid, 9)


async def test_a_job_that_nobody_knows_where_it_went_is_not_seen(harness: Harness) -> None:
    job = harness.shell("true")

    assert (
        await harness.executor.observe([JobRef(name=job.name, folder=job.folder, handle="x")]) == {}
    )


async def test_records_that_a_job_has_spoilt_do_not_stop_the_others(
    harness: Harness, remote: Path
) -> None:
    spoil = (
        'cd "$(dirname "$(readlink /proc/$$/fd/1)")"; '
        'echo \'{"status":0,"uptime":-1e300,"user":"0m0s","sys":"0m0s","reason":""}\' >exit.json; '
        'ln -sf /dev/zero stderr.log; mkdir "../../../runs/x"; sleep 0.2'
    )
    spoilt = await harness.submit(harness.shell(spoil))
    other = await harness.submit(harness.shell("sleep 0.5; echo fine"))

    assert (await harness.end(other)).stdout == b"fine\n"
    assert (await harness.phase(spoilt, "ended", "gone")).phase == "ended"


async def test_a_submit_to_a_host_that_went_away_is_unknown_until_it_is_back(
    host: Sshd, harness: Harness
) -> None:
    await harness.run(harness.shell("true"))
    host.stop()
    job = harness.shell("echo ran")

    with pytest.raises(SubmitUnknown, match="does not answer"):
        await harness.submit(job)
    with pytest.raises(ConnectionLost):
        await harness.executor.find(job)
    host.start()

    async with asyncio.timeout(120):
        while True:
            try:
                found = await harness.executor.find(job)
                break
            except ConnectionLost:
                await harness.executor.wait_for_change(0.1)
    assert found is None
    assert (await harness.run(job)).stdout == b"ran\n"


async def test_gpus_of_a_host_are_lent_to_one_job_at_a_time_by_all_kernels(
    host: Sshd, tmp_path: Path, remote: Path
) -> None:
    gpu = f"test-{os.urandom(6).hex()}"

    def make() -> SSHExecutor:
        return SSHExecutor([tunnel_to(host, remote)], slots=4, gpus=[gpu])

    async with (
        Harness(make, str(tmp_path / "one")) as one,
        Harness(make, str(tmp_path / "two")) as two,
    ):
        script = 'echo "$CUDA_VISIBLE_DEVICES"; date +%s%N; sleep 0.5; date +%s%N'
        ends = await asyncio.gather(
            one.run(one.shell(script, resources=Resources(gpus=1), name="one")),
            two.run(two.shell(script, resources=Resources(gpus=1), attempt=2, name="two")),
        )

    assert f"gpu-{gpu}" not in os.listdir(f"/dev/shm/runbus-gpus-{os.getuid()}")
    # By their own clock: what is seen of them from here comes as late as the machine answers.
    first, second = sorted((end.stdout.split() for end in ends), key=lambda said: int(said[1]))
    assert first[0] == second[0] == gpu.encode()
    assert int(first[2]) <= int(second[1])


async def test_a_job_that_was_sent_to_a_host_that_is_gone_now_is_not_said_to_be_refused(
    host: Sshd, harness: Harness
) -> None:
    job = harness.shell("echo ran; exit 5")
    ref = await harness.submit(job)
    host.stop()
    await harness.restart()

    with pytest.raises(SubmitUnknown, match="no connection"):
        await harness.submit(job)

    host.start()
    assert (await harness.end(ref)).seen.exit_code == 5
