"""Which metric batches on the bus end which jobs."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from runbus import Kernel
from runbus.abc import GRACE_S, EarlyStop, JobSpec
from runbus.bus import Bus
from runbus.events import MetricBatch
from runbus.jobs import STOPPED_EARLY
from runbus.supervisor._early_stop import EarlyStops
from runbus.testing import idle

Spec = Callable[..., JobSpec]


def batch(run_id: str, *points: tuple[str, int, float]) -> MetricBatch:
    names = tuple(dict.fromkeys(name for name, _, _ in points))
    return MetricBatch(
        run_id=run_id, writer="w", names=names,
        series=array("I", [names.index(name) for name, _, _ in points]).tobytes(),
        steps=array("q", [step for _, step, _ in points]).tobytes(),
        times=array("q", [0 for _ in points]).tobytes(),
        values=array("d", [value for *_, value in points]).tobytes(),
    )  # fmt: skip


class Ends:
    """The ends that were asked for."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.asked: list[tuple[str, float, str]] = []
        self.may_go_on = anyio.Event()
        self.may_go_on.set()
        self.stops = EarlyStops(bus, self._cancel)

    async def _cancel(self, reason: str, grace_s: float, job: str) -> None:
        self.asked.append((reason, grace_s, job))
        await self.may_go_on.wait()

    async def emit(self, *batches: MetricBatch) -> None:
        for one in batches:
            await self.bus.emit(one)
        await idle(self.bus, 120)


@asynccontextmanager
async def judging(*specs: JobSpec) -> AsyncIterator[Ends]:
    with anyio.fail_after(120):
        async with Kernel() as kernel, anyio.create_task_group() as tasks:
            ends = Ends(kernel.bus)
            for one in specs:
                await ends.stops.watch([one], tasks)
            yield ends
            tasks.cancel_scope.cancel()


def ruled(spec: Spec, name: str, *rules: str) -> JobSpec:
    return replace(spec(name), stop=EarlyStop(stop_when=" or ".join(rules)))


@pytest.mark.parametrize("rules", [0, 1, 2])
async def test_batches_are_read_once_if_any_job_has_a_rule(spec: Spec, rules: int) -> None:
    with_rules = (ruled(spec, f"ruled-{number}", "loss > 3") for number in range(rules))
    async with judging(spec("a"), *with_rules, spec("b")) as ends:
        readers = [event for event, _ in ends.bus.registry.boxes()]
        assert readers == [MetricBatch][:rules]


async def test_a_job_is_ended_once_by_its_own_rule_and_its_own_points(spec: Spec) -> None:
    async with judging(
        ruled(spec, "a", "loss > 3"), ruled(spec, "b", "acc < 0"), ruled(spec, "c", "loss > 3")
    ) as ends:
        await ends.emit(
            batch("e-other", ("loss", 0, 9.0)),
            batch("e-b", ("loss", 0, 9.0)),
            batch("e-c", ("loss", 0, 1.0), ("acc", 0, -1.0)),
        )
        assert ends.asked == []

        await ends.emit(
            batch("e-a", ("acc", 1, 9.0), ("loss", 1, 2.0), ("acc", 2, 9.0), ("loss", 2, 4.0)),
            batch("e-a", ("loss", 3, 5.0)),
            batch("e-b", ("acc", -1, -1.0)),
        )

    assert ends.asked == [
        (f"{STOPPED_EARLY}loss is 4 > 3 at step 2", GRACE_S, "a"),
        (f"{STOPPED_EARLY}acc is -1 < 0 at step -1", GRACE_S, "b"),
    ]


async def test_each_of_several_metrics_of_a_batch_is_judged_by_its_own_bound(spec: Spec) -> None:
    async with judging(ruled(spec, "a", "loss > 3", "acc > 30")) as ends:
        await ends.emit(batch("e-a", ("acc", 1, 9.0), ("loss", 1, 1.0)))
        assert ends.asked == []
        await ends.emit(batch("e-a", ("acc", 2, 9.0), ("loss", 2, 4.0), ("acc", 3, 31.0)))

    assert [reason for reason, *_ in ends.asked] == [f"{STOPPED_EARLY}loss is 4 > 3 at step 2"]


async def test_however_long_it_takes_to_end_a_job_no_batch_is_missed(spec: Spec) -> None:
    async with judging(ruled(spec, "a", "loss > 3"), ruled(spec, "b", "loss > 3")) as ends:
        ((_, mailbox),) = ends.bus.registry.boxes()
        ends.may_go_on = anyio.Event()
        others = [batch("e-other", ("loss", 0, 9.0))] * (2 * mailbox.maxsize)
        await ends.bus.emit(batch("e-a", ("loss", 1, 9.0)))
        while not ends.asked:
            await anyio.lowlevel.checkpoint()
        emitting = asyncio.create_task(ends.emit(batch("e-b", ("loss", 1, 9.0)), *others))
        while mailbox.pending < mailbox.maxsize:
            await anyio.lowlevel.checkpoint()
        ends.may_go_on.set()
        await emitting

    assert [job for *_, job in ends.asked] == ["a", "b"]
