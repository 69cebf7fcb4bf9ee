"""SlurmExecutor over a real slurmrestd, on its socket and over HTTP with a token."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from runbus import Secret
from runbus.abc import Resources
from runbus.errors import JobNotStarted, RunbusError
from runbus.executors import SlurmExecutor
from runbus.executors._slurm.commands import Commands
from runbus.executors._slurm.rest import Rest
from runbus.executors._slurm.rest_asked import ListSizes
from runbus.executors._slurm.rest_values import expires_s
from runbus.testing._waiting import wait_until
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory, Harness
from runbus.testing.slurmd import Slurm
from runbus.testing.slurmrestd import Slurmrestd, slurmrestd
from runbus.transports import LocalTunnel

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

Make = Callable[..., SlurmExecutor]


@pytest.fixture
def over() -> str:
    """Where the server listens."""
    return "socket"


@pytest.fixture
def server(slurm: Slurm, over: str) -> Iterator[Slurmrestd]:
    with slurmrestd(slurm, over) as found:
        yield found


@pytest.fixture
def token(slurm: Slurm, over: str, tmp_path: Path) -> Path | None:
    """The file where the token for the server is; None where it wants none."""
    if over == "socket":
        return None
    file = tmp_path / "token"
    file.write_text(slurm.token("lifespan=3600") + "\n")
    return file


@pytest.fixture
def make(server: Slurmrestd, token: Path | None, tmp_path: Path) -> Make:
    """Makes an executor that asks the server."""

    def make(**options: object) -> SlurmExecutor:
        secret = None if token is None else Secret(f"file:{token}")
        return SlurmExecutor(
            rest=server.address, token=secret, poll_s=0.5,
            job_dir=str(tmp_path / "remote höme"), **options,  # type: ignore[arg-type]
        )  # fmt: skip

    return make


@pytest.fixture
async def harness(make: Make, tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


class TestOverHttp(ExecutorContract):
    """The kit goes the longer way, with tokens; the tests below go over the socket."""

    @pytest.fixture
    def over(self) -> str:
        return "http"

    @pytest.fixture
    def executors(self, make: Make) -> ExecutorFactory:
        return make


async def test_equal_jobs_are_one_array_and_each_ends_as_itself(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    jobs = [harness.shell("echo $A; exit $A", env={"A": str(n)}) for n in range(4)]

    refs = await harness.submit_all(jobs)
    ended = [await harness.end(ref) for ref in refs]

    assert [(one.seen.exit_code, one.stdout) for one in ended] == [
        (n, b"%d\n" % n) for n in range(4)
    ]
    assert len({number.partition("_")[0] for number in numbers(tmp_path)}) == 1


async def test_elements_that_wait_are_cancelled_and_only_those(harness: Harness) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    jobs = [harness.shell("echo ran") for _ in range(3)]
    refs = await harness.submit_all(jobs)

    await harness.executor.cancel(refs[1:], 60)
    ended = [await harness.end(ref) for ref in refs[1:]]
    (left,) = (await harness.executor.observe(refs[:1])).values()

    assert {one.seen.native_state for one in ended} == {"CANCELLED"}
    assert left.phase == "queued"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "nowhere"}, "invalid partition"),
        ({"mem": "900G"}, "node configuration"),
        ({"gres": "gpu:h100:1"}, "node configuration"),
        ({"constraint": "nothing"}, "invalid feature"),
        ({"additional_parameters": {"deadline": "once"}}, "deadline"),
        ({"additional_parameters": {"contiguous": True}}, "no option 'contiguous'"),
    ],
    ids=["partition", "memory", "gres", "constraint", "value", "option"],
)
async def test_what_is_refused_is_told_with_the_words_of_slurm(
    make: Make, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(RunbusError, match=f"(?i){words}"):
        async with Harness(lambda: make(**options), str(tmp_path / "here")) as harness:
            await harness.submit(harness.shell("true"))


async def test_what_is_asked_of_slurm_reaches_it(make: Make, tmp_path: Path, slurm: Slurm) -> None:
    comment = 'for "me" # it\'s \\ 100% $HOME ünï'
    options = {"comment": comment, "mem": "300M", "time": "1:30:00", "nodelist": "node2"}

    async with Harness(lambda: make(**options), str(tmp_path / "here")) as harness:
        job = harness.shell(
            "echo $CUDA_VISIBLE_DEVICES; exec sleep 600", resources=Resources(gpus=2)
        )
        ref = await harness.submit(job)
        await harness.output(ref, b"0,1\n")
        (number,) = numbers(tmp_path)
        told = slurm.ask("squeue", "-h", "-j", number, "-o", "%m|%l|%N|%k").strip()
        requeue = slurm.ask("scontrol", "show", "job", number)

    assert told == f"300M|1:30:00|node2|{comment}"
    assert "Requeue=0" in requeue


async def test_a_partition_that_is_left_open_is_chosen_by_what_the_server_tells(
    make: Make, tmp_path: Path
) -> None:
    def made() -> SlurmExecutor:
        return make(partition="auto", time="90")

    async with Harness(made, str(tmp_path / "here")) as harness:
        ended = await harness.run(harness.shell("echo $SLURM_JOB_PARTITION"))

    assert ended.stdout.strip() in {b"debug", b"low", b"high"}  # not the short one


async def test_a_partition_for_others_is_not_chosen(make: Make, tmp_path: Path) -> None:
    """Its accounts, and how many machines are idle, are as the programs of Slurm tell them."""
    scheduler = make()._host.scheduler

    told = {one.name: (one.rules, one.idle, one.nodes) for one in await scheduler.partitions()}
    tunnel = LocalTunnel(str(tmp_path))
    programs = await Commands(tunnel).partitions()
    await tunnel.close()

    assert told == {one.name: (one.rules, one.idle, one.nodes) for one in programs}
    await scheduler.close()


async def test_jobs_and_arrays_are_asked_for_one_by_one_where_there_are_very_many(
    harness: Harness, tmp_path: Path
) -> None:
    assert isinstance(harness.executor, SlurmExecutor)
    scheduler = harness.executor._host.scheduler
    assert isinstance(scheduler, Rest)
    scheduler.sizes = ListSizes(long_bytes=1, one_bytes=1)
    waits = {"additional_parameters": {"begin": "now+1hour"}}
    alone = await harness.submit(harness.shell("echo up; sleep 3; exit 6"))
    await harness.output(alone, b"up")
    harness.executor.__dict__.update(waits)
    refs = await harness.submit_all([harness.shell("echo ran") for _ in range(3)])
    ids = numbers(tmp_path)

    whole = await scheduler.queue()
    parts = await scheduler.queue([*ids, "999999"])

    assert sorted(one.id for one in parts.values()) == ids
    assert all(whole[name].id == one.id for name, one in parts.items())
    assert (await harness.end(alone)).seen.exit_code == 6
    await harness.executor.cancel(refs, 1)
    assert [(await harness.end(ref)).seen.native_state for ref in refs] == ["CANCELLED"] * 3


async def test_a_server_that_is_killed_and_starts_again_loses_no_job(
    harness: Harness, server: Slurmrestd
) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 2; exit 6"))
    lives = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(lives, b"up")
    await anyio.to_thread.run_sync(server.stop)
    ended = await harness.end(ref)
    seen = await harness.executor.observe([lives])
    await harness.executor.cancel([lives], 0.0)
    await anyio.to_thread.run_sync(server.start)

    assert ended.seen.exit_code == 6
    assert seen[lives].phase == "running"
    assert (await harness.end(lives)).seen.phase == "ended"


async def test_a_job_waits_for_a_server_that_is_away(harness: Harness, server: Slurmrestd) -> None:
    job = harness.shell("echo ran")
    await anyio.to_thread.run_sync(server.stop)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(harness.submit, job)
        await anyio.to_thread.run_sync(server.start)

    (ref,) = harness.started
    assert (await harness.end(ref)).stdout == b"ran\n"


async def test_a_controller_that_is_down_changes_no_state(harness: Harness, slurm: Slurm) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 2; exit 9"))
    lives = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(lives, b"up")
    await harness.phase(lives, "running")
    slurm.stop_controller()
    try:
        ended = await harness.end(ref)
        seen = await harness.executor.observe([lives])
    finally:
        slurm.start_controller()

    assert ended.seen.exit_code == 9
    assert seen[lives].phase == "running"


async def test_a_job_whose_answer_was_cut_is_adopted_by_its_name(
    server: Slurmrestd, slurm: Slurm, tmp_path: Path
) -> None:
    async with relay(server.socket) as (port, posts):

        def make() -> SlurmExecutor:
            rest = f"http://root@127.0.0.1:{port}"
            return SlurmExecutor(rest=rest, job_dir=str(tmp_path / "remote"), poll_s=0.5)

        async with Harness(make, str(tmp_path / "here")) as harness:
            ref = await harness.submit(harness.shell("echo ran; exec sleep 600"))
            await harness.output(ref, b"ran")
            (number,) = numbers(tmp_path)
            name = slurm.ask("squeue", "-h", "-j", number, "-o", "%j").strip()
            same = slurm.ask("squeue", "-h", "-t", "all", "-n", name, "-o", "%A").split()

    assert len(posts) == 1
    assert same == [number]


class TestTokens:
    @pytest.fixture
    def over(self) -> str:
        return "http"

    @pytest.mark.parametrize("kind", ["expired", "of another key", "none", "no token"])
    async def test_one_that_is_not_valid_is_told_and_a_new_one_is_taken(
        self, harness: Harness, slurm: Slurm, token: Path, kind: str
    ) -> None:
        good = await anyio.to_thread.run_sync(spoil, token, kind, slurm)

        with pytest.raises(JobNotStarted, match=r"token at file:") as caught:
            await harness.submit(harness.shell("echo ran"))
        restore(token, good)

        assert good.strip() not in str(caught.value)
        assert (await harness.run(harness.shell("echo ran"))).stdout == b"ran\n"

    def test_a_job_from_a_shell_leaves_no_token_anywhere(
        self, server: Slurmrestd, slurm: Slurm, token: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / "runbus.yaml").write_text(
            f"executors:\n  cluster:\n    type: slurm\n    rest: {server.address}\n"
            f"    token: {{secret: file:{token}}}\n    job_dir: {tmp_path}/far\n    poll_s: 0.5\n"
        )
        home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home")}
        (folder / "train.py").write_text("print('ran')\n")
        words = ["run", "--executor", "cluster", "train.py"]
        done = subprocess.run(
            [sys.executable, "-m", "runbus.cli", *words], env=home, cwd=folder,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stdout + done.stderr
        secret = token.read_bytes().strip()
        files = [
            path for at in (tmp_path / "home", tmp_path / "far") for path in at.rglob("*")
            if path.is_file()
        ]  # fmt: skip
        assert files
        assert [path for path in files if secret in path.read_bytes()] == []


def test_the_doctor_asks_the_server_for_the_partitions(
    server: Slurmrestd, slurm: Slurm, tmp_path: Path
) -> None:
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home")}
    entry = f"type: slurm, rest: '{server.address}', partition: short, job_dir: {tmp_path}/far"
    (tmp_path / "runbus.yaml").write_text(f"executors: {{cluster: {{{entry}}}}}\n")
    found = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "runbus.cli", "doctor", "--json"], env=home, cwd=tmp_path,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        checks = {one["title"]: one for one in json.loads(done.stdout)}
        found.append(checks["host localhost: slurmrestd, partition short"])
        server.stop()

    assert found[0]["is_well"]
    assert "short: up, at most 1:00, 1 of 4 CPUs, 4000 MiB, gpu:fake:2" in found[0]["found"]
    assert not found[1]["is_well"]
    assert "no connection to unix://" in found[1]["found"]


def numbers(tmp_path: Path) -> list[str]:
    """Return the numbers that Slurm has given to attempts."""
    return sorted(path.read_text().strip() for path in tmp_path.glob("remote*/*/jobs/*/*/slurm.id"))


def spoil(token: Path, kind: str, slurm: Slurm) -> str:
    """Put something else in the place of a token; return what was there."""
    good = token.read_text()
    if kind == "expired":
        ends = slurm.token("lifespan=1")
        token.write_text(ends)
        wait_until(lambda: is_over(ends))
    elif kind == "of another key":
        token.write_text(good[:-20] + good[-20:].swapcase())
    elif kind == "no token":
        token.write_text("x")
    else:
        token.unlink()
    return good


def restore(token: Path, good: str) -> None:
    token.write_text(good)


def is_over(token: str) -> bool:
    ends = expires_s(token)
    return ends is not None and time.time() > ends


@asynccontextmanager
async def relay(socket: Path) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Lead a port to a socket; of what is posted first the answer is cut off."""
    posts: list[bytes] = []

    async def lead(near: ByteStream) -> None:
        is_cut = False

        async def ask(near: ByteStream, far: ByteStream) -> None:
            nonlocal is_cut
            async for data in near:
                if data.startswith(b"POST"):
                    is_cut = not posts
                    posts.append(data.partition(b"\r\n")[0])
                await far.send(data)

        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with (
                near,
                await anyio.connect_unix(socket) as far,
                anyio.create_task_group() as asking,
            ):
                asking.start_soon(ask, near, far)
                async for data in far:
                    if is_cut:
                        break
                    await near.send(data)
                asking.cancel_scope.cancel()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as serving:
        serving.start_soon(listener.serve, lead)
        yield listener.extra(SocketAttribute.local_port), posts
        serving.cancel_scope.cancel()
