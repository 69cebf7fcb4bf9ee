"""A plugin as a third party writes it. A line that ends in `# wrong` must be a type error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from runbus import Plugin
from runbus.abc import Scope
from runbus.events import (
    Around,
    Collector,
    Decorate,
    First,
    JobEnded,
    Lagged,
    MetricBatch,
    Notify,
    Pipeline,
    Shutdown,
    Stream,
)


class Trained(Notify):
    epoch: int
    loss: float = 0.0


class Named(Notify, kw_only=True, tag="named", gc=False):
    name: str


class Tick(Stream):
    number: int


class Total(Pipeline[int]):
    unit: str = ""


class Argv(Pipeline[tuple[str, ...]]): ...


class Lines(Collector[str]): ...


class Which(First[int]): ...


class Wrap(Around): ...


class Dress(Decorate): ...


async def on_trained(event: Trained) -> None: ...
def on_trained_sync(event: Trained) -> None: ...
async def on_job(event: JobEnded) -> None: ...
async def on_total(event: Total) -> int:
    return event.value + 1


def on_argv(event: Argv) -> tuple[str, ...]:
    return (*event.value, "--quiet")


async def on_lines(event: Lines) -> list[str]:
    return ["module load cuda"]


async def on_which(event: Which) -> int | None:
    return None


@asynccontextmanager
async def on_wrap(event: Wrap) -> AsyncIterator[None]:
    yield


def on_dress(event: Dress, fn: Any) -> Any:
    return fn


async def on_end(event: Shutdown) -> None: ...
async def on_anything(event: Any) -> Any: ...
async def on_tick(event: Tick) -> None: ...
async def on_batch(event: MetricBatch) -> None: ...
async def takes_int(number: int) -> None: ...
async def gives_text(event: Total) -> str:
    return ""


async def gives_nothing(event: Total) -> None: ...


class Right:
    name = "right"

    async def setup(self, scope: Scope) -> None:
        scope.on(Trained, on_trained)
        scope.on(Trained, on_trained_sync, once=True, timeout=3, thread=True)
        scope.on(Trained, lambda event: print(event.epoch))
        scope.on(Trained, on_anything)
        scope.on(JobEnded, on_job)
        scope.on(Total, on_total)
        scope.on(Total, lambda event: event.value + 1)
        scope.on(Total, on_anything)
        scope.on(Argv, on_argv)
        scope.on(Lines, on_lines)
        scope.on(Which, on_which)
        scope.on(Wrap, on_wrap)
        scope.on(Dress, on_dress)
        scope.on(Shutdown, on_end).close()
        stream = scope.stream(Tick, overflow="conflate", key=lambda tick: tick.number)
        async for item in stream:
            if not isinstance(item, Lagged):
                print(item.number)
        scope.start(stream.batch, restart="on_failure")
        await scope.bus.publish(Trained(1, loss=0.5))
        await scope.bus.publish(Named(name="x"))
        total: int = await scope.bus.apply(Total(1, unit="s"))
        print(total)


right = Plugin("right").on(Trained, on_trained).stream(MetricBatch, on_batch).on(Total, on_total)


class Wrong:
    name = "wrong"

    async def setup(self, scope: Scope) -> None:
        scope.on(JobEnded, takes_int)  # wrong
        scope.on(JobEnded, on_trained)  # wrong
        scope.on(Tick, on_tick)  # wrong
        scope.on(Total, gives_text)  # wrong
        scope.on(Total, gives_nothing)  # wrong
        scope.on(Total, lambda event: "text")  # wrong
        scope.on(Lines, lambda event: 5)  # wrong
        scope.on(Wrap, on_trained)  # wrong
        scope.on(Dress, on_trained)  # wrong
        scope.on(Trained, on_trained, timeout="5")  # wrong
        scope.stream(Tick, overflow="nonsense")  # wrong
        scope.stream(Tick, maxsize="many")  # wrong
        scope.stream(Total)  # wrong
        scope.start(print)  # wrong
        scope.start(on_end, restart="always")  # wrong
        await scope.bus.publish(Tick(1))  # wrong
        Trained("one")  # wrong
        Trained(1).epoch = 2  # wrong
        Plugin("p").on(JobEnded, takes_int)  # wrong
        Plugin("p").on(Trained, on_trained).on(Total, gives_text)  # wrong
        Plugin("p").stream(Total, on_anything)  # wrong
        Plugin("p").stream(MetricBatch, on_tick)  # wrong
