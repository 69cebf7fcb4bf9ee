"""When those who follow jobs are told what Slurm says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio

from runbus.abc import JobRef
from runbus.executors._placement import Placement
from runbus.executors._slurm.commands import Commands
from runbus.executors._slurm.host import SlurmHost
from runbus.executors._slurm.listing import Fact
from runbus.executors._slurm.verdict import Accounts
from runbus.transports import LocalTunnel


class Slow(Commands):
    """Has a job that begins and one that has ended; its accounts do not answer."""

    async def queue(self, ids: Sequence[str] = ()) -> dict[str, Fact]:
        return {"a": Fact("5", "a", "RUNNING", nodes="n1"), "b": Fact("6", "b", "FAILED")}

    async def accounts(self, ids: Sequence[str], names: Sequence[str]) -> Accounts:
        await anyio.sleep_forever()
        raise AssertionError


async def test_what_the_controller_says_is_told_before_the_accounts_have_answered(
    tmp_path: Path,
) -> None:
    tunnel = LocalTunnel(str(tmp_path / "far"))
    host = SlurmHost(tunnel, Slow(tunnel), 0.01, lambda: None)
    for name in "ab":
        (tmp_path / name).mkdir()
        placement = Placement(
            host=host.name, folder=str(tmp_path / "far" / name), run_folder=str(tmp_path / "run"),
            local_run_folder="run", known_as=name,
        )  # fmt: skip
        host.follow(JobRef(name=name, folder=str(tmp_path / name), handle=name), placement)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.run)
            while len(host.standings) < 2:  # noqa: ASYNC110 - it is another's to say
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    await tunnel.close()

    facts = [host.standings[str(tmp_path / name)].fact for name in "ab"]
    assert [one and one.state for one in facts] == ["RUNNING", "FAILED"]
