"""What type checkers must see of the bus: checked by mypy, never run."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, assert_type

from runbus.bus import Receipt
from runbus.events import (
    Around,
    Collector,
    Decorate,
    First,
    Image,
    ImageTransform,
    Lagged,
    Notify,
    Stream,
)
from runbus.kernel import Kernel, Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Fact(Notify, frozen=True):
    number: int


class Tick(Stream, frozen=True):
    number: int


class Lines(Collector[str], frozen=True):
    pass


class Which(First[int], frozen=True):
    pass


class Wrap(Around, frozen=True):
    pass


class Dress(Decorate, frozen=True):
    pass


def shout(text: str) -> str:
    return text.upper()


async def on_fact(event: Fact) -> None: ...
async def on_tick(event: Tick) -> None: ...
async def on_image(event: ImageTransform) -> Image:
    return event.value


def on_dress(event: Dress, fn: Any) -> Any:
    return fn


@asynccontextmanager
async def on_wrap(event: Wrap) -> AsyncIterator[None]:
    yield


async def right(kernel: Kernel, scope: Scope) -> None:
    assert_type(await kernel.bus.publish(Fact(1)), Receipt)
    assert_type(await kernel.bus.emit(Tick(1)), None)
    assert_type(await kernel.bus.apply(ImageTransform(Image())), Image)
    assert_type(await kernel.bus.collect(Lines()), list[tuple[str, str]])
    assert_type(await kernel.bus.first(Which()), tuple[str, int])
    assert_type(kernel.bus.decorate(Dress(), shout)("x"), str)
    assert_type(kernel.bus.around(Wrap()), AbstractAsyncContextManager[list[Any]])
    assert_type(await kernel.bus.wait_for(Fact), Fact)
    async with kernel.bus.stream(Tick) as stream:
        async for item in stream:
            assert_type(item, Tick | Lagged)
        assert_type(await stream.batch(), list[Tick | Lagged])
    scope.on(Fact, on_fact)
    scope.on(ImageTransform, on_image)
    scope.on(Wrap, on_wrap)
    scope.on(Dress, on_dress)


async def wrong(kernel: Kernel, scope: Scope) -> None:
    await kernel.bus.publish(Tick(1))  # type: ignore[arg-type]
    await kernel.bus.emit(Fact(1))  # type: ignore[arg-type]
    await kernel.bus.apply(Fact(1))  # type: ignore[arg-type]
    await kernel.bus.collect(Which())  # type: ignore[arg-type]
    await kernel.bus.first(Lines())  # type: ignore[arg-type]
    kernel.bus.around(Dress())  # type: ignore[arg-type]
    kernel.bus.decorate(Wrap(), shout)  # type: ignore[arg-type]
    scope.on(Fact, on_tick)  # type: ignore[arg-type]
    scope.on(Fact, shout)  # type: ignore[arg-type]
    scope.on(Dress, on_fact)  # type: ignore[arg-type, type-var]
