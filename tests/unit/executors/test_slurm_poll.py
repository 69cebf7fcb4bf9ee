"""When those who follow jobs are told what Slurm says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from runbus.abc import JobRef
from runbus.executors._placement import Placement
from runbus.executors._slurm.commands import Commands
from runbus.executors._slurm.host import SlurmHost
from runbus.executors._slurm.listing import Fact
from runbus.executors._slurm.login import LoginNode
from runbus.executors._slurm.verdict import Accounts
from runbus.testing._waiting import until
from runbus.transports import LocalTunnel


class Numbered(Commands):
    """Has given the number 5 again, to another job; notes what is ended."""

    ended: Sequence[str] = ()

    async def queue(self, ids: Sequence[str] = ()) -> dict[str, Fact]:
        return {
            "b": Fact("5", "b", "RUNNING"), "c": Fact("6", "c", "RUNNING"),
            "d": Fact("7", "d", "COMPLETED"),
        }  # fmt: skip

    async def end(self, ids: Sequence[str]) -> None:
        self.ended = ids

    async def tell_to_end(self, ids: Sequence[str]) -> None:
        self.ended = ids


class Slow(Commands):
    """Has a job that begins and one that has ended; its accounts do not answer."""

    async def queue(self, ids: Sequence[str] = ()) -> dict[str, Fact]:
        return {"a": Fact("5", "a", "RUNNING", nodes="n1"), "b": Fact("6", "b", "FAILED")}

    async def accounts(self, ids: Sequence[str], names: Sequence[str]) -> Accounts:
        await anyio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_number_that_was_given_again_ends_no_other_job(tmp_path: Path, how: str) -> None:
    tunnel = LocalTunnel(str(tmp_path))
    slurm = Numbered(tunnel)
    node = LoginNode(tunnel, slurm)
    placements = []
    for name, number in {"a": "5", "c": "6", "d": "7"}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "slurm.id").write_text(f"{number}\n")
        placements.append(placed(folder))
    if how == "stop":
        await node.stop(dict.fromkeys(placements, 1.0))
    else:
        await node.kill(placements)
    await tunnel.close()

    assert slurm.ended == ["6"]


async def test_what_the_controller_says_is_told_before_the_accounts_have_answered(
    tmp_path: Path,
) -> None:
    tunnel = LocalTunnel(str(tmp_path / "far"))
    host = SlurmHost(tunnel, Slow(tunnel), 0.01, lambda: None)
    for name in "ab":
        (tmp_path / name).mkdir()
        host.follow(
            JobRef(name=name, folder=str(tmp_path / name), handle=name),
            placed(tmp_path / "far" / name),
        )

    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.run)
            await until(lambda: len(host.standings) >= 2)
            tasks.cancel_scope.cancel()
    await tunnel.close()

    facts = [host.standings[str(tmp_path / name)].fact for name in "ab"]
    assert [one and one.state for one in facts] == ["RUNNING", "FAILED"]


def placed(folder: Path) -> Placement:
    return Placement(
        host="localhost", folder=str(folder), run_folder=str(folder.parent / "run"),
        local_run_folder="run", known_as=folder.name,
    )  # fmt: skip
