"""One connection to a machine for all executors that reach it in the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbus.abc import Tunnel
from runbus.executors import SSHExecutor, TunnelPool
from runbus.executors._slurm.commands import Commands
from runbus.transports import LocalTunnel, SSHTunnel


class Line(LocalTunnel):
    """Counts how often it is closed."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


@pytest.fixture
def made() -> list[Line]:
    return []


@pytest.fixture
def pool(made: list[Line], tmp_path: Path) -> TunnelPool:
    def make(host: str, job_dir: str, identity: str | None) -> Tunnel:
        made.append(Line(str(tmp_path / job_dir)))
        return made[-1]

    return TunnelPool(make)


async def test_a_line_is_closed_with_the_last_who_has_it(
    pool: TunnelPool, made: list[Line]
) -> None:
    one, other = pool.to("box", "a", None), pool.to("box", "a", None)

    await one.close()
    await one.close()
    assert await other.call(b"echo hi") == (0, b"hi\n")
    assert [line.closed for line in made] == [0]

    await other.close()
    assert [line.closed for line in made] == [1]


async def test_another_way_to_a_machine_is_another_line(pool: TunnelPool, made: list[Line]) -> None:
    ways = [("box", "a", None), ("box", "b", None), ("box", "a", "key"), ("me@box", "a", None)]
    lent = [pool.to(*way) for way in (*ways, *ways)]

    assert len(made) == len(ways)
    for line in lent:
        await line.close()
    assert [line.closed for line in made] == [1] * len(ways)


async def test_after_the_last_a_new_line_is_made(pool: TunnelPool, made: list[Line]) -> None:
    await pool.to("box", "a", None).close()
    again = pool.to("box", "a", None)

    assert await again.call(b"echo hi") == (0, b"hi\n")
    assert [line.closed for line in made] == [1, 0]
    await again.close()


async def test_executors_that_differ_otherwise_share_a_line(
    pool: TunnelPool, made: list[Line]
) -> None:
    one = SSHExecutor(["box"], job_dir="a", slots=1, name="one", tunnels=pool)
    two = SSHExecutor(["box"], job_dir="a", slots=2, name="two", tunnels=pool)

    async with two:
        async with one:
            pass
        assert [line.closed for line in made] == [0]
    assert [line.closed for line in made] == [1]


async def test_slurm_is_asked_once_for_all_who_have_the_same_login(
    pool: TunnelPool, tmp_path: Path
) -> None:
    def way(tunnel: Tunnel) -> object:
        return Commands(tunnel).way

    same = [SSHTunnel("box", "me", job_dir=folder) for folder in ("a", "b")]
    others = [
        SSHTunnel("box", "you"), SSHTunnel("box", "me", 2222),
        SSHTunnel("box", "me", pre_command="module load slurm"),
        SSHTunnel("box", "me", jump=SSHTunnel("gate")), LocalTunnel(),
        LocalTunnel(pre_command="module load slurm"),
    ]  # fmt: skip

    assert len({way(one) for one in same}) == 1
    assert len({way(one) for one in (*same, *others)}) == 1 + len(others)
    assert way(pool.to("box", "a", None)) == way(LocalTunnel(str(tmp_path)))
