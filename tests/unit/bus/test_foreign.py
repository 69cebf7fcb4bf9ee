"""Code that the bus calls by accident: what it raises hits nobody but its owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest

from runbus import Kernel, Plugin
from runbus.bus._foreign import add_note, describe, length_of, plugin_of, shown
from runbus.errors import HookError, PluginCrashed, PluginError
from runbus.events import (
    Around,
    Collector,
    First,
    HandlerFailed,
    Notify,
    Pipeline,
    PluginFailed,
    Shutdown,
    Stream,
)


def refuse(*_: object) -> NoReturn:
    raise RuntimeError("asked")


REFUSES: Any = refuse


class Prickly:
    """An object of which nothing can be asked."""

    __bool__ = __len__ = __iter__ = __str__ = __repr__ = __eq__ = __hash__ = REFUSES

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class PricklyError(Exception):
    """An error of which nothing can be asked."""

    __bool__ = __len__ = __str__ = __repr__ = __eq__ = __hash__ = add_note = REFUSES
    plugin = property(refuse)


class PricklyPluginError(PluginError):
    __bool__ = __len__ = __str__ = __repr__ = __eq__ = __hash__ = REFUSES
    plugin = property(refuse)


class Falsy(Exception):
    """An error that says that it is none."""

    def __bool__(self) -> bool:
        return False


class Fact(Notify):
    pass


class Odds(Stream):
    number: int

    def __len__(self) -> int:
        raise ValueError("no length")

    __bool__ = __eq__ = __hash__ = __repr__ = REFUSES


class Argv(Pipeline[tuple[str, ...]]):
    def __post_init__(self) -> None:
        if "refused" in self.value:
            raise ValueError("no such word")


class Words(Collector[str]):
    pass


class Ask(First[str]):
    pass


class Wrap(Around):
    pass


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[str]]:
    """Keep the log from being shown: of errors without a truth value `traceback` makes no text."""
    messages: list[str] = []
    loggers = [logging.getLogger(name) for name in ("runbus.bus", "runbus.kernel")]

    def drop(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage())
        return False

    for logger in loggers:
        logger.addFilter(drop)
    yield messages
    for logger in loggers:
        logger.removeFilter(drop)


ERRORS = [PricklyError(), PricklyPluginError(), Falsy("it"), GeneratorExit()]
"""What handlers raise below; not for `publish`, which passes on what is no Exception."""


@pytest.mark.parametrize("error", ERRORS[:3], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_no_error_of_a_handler_hits_the_publisher_or_the_next_handler(
    error: Exception, is_async: bool
) -> None:
    told: list[str] = []

    def fail(event: Fact) -> None:
        raise error

    async def fail_later(event: Fact) -> None:
        await asyncio.sleep(0)
        raise error

    plugins = [
        Plugin("bad").on(Fact, fail_later if is_async else fail),
        Plugin("good").on(Fact, lambda event: told.append("good")),
        Plugin("looks").on(HandlerFailed, lambda event: told.append(event.plugin)),
    ]
    async with Kernel(plugins=plugins) as kernel:
        receipt = await kernel.bus.publish(Fact())

    (failure,) = receipt.errors
    assert isinstance(failure, HookError)
    assert failure.plugin == "bad"
    assert told == ["bad", "good"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_of_a_background_task_or_a_thread_event_is_its_plugins_own(
    error: BaseException,
) -> None:
    failed: list[str] = []
    dispatched = asyncio.Event()

    async def fail(*_: object) -> None:
        raise error

    def arrive(event: Fact) -> None:
        dispatched.set()

    async with Kernel(plugins=[Plugin("task").start(fail), Plugin("sees").on(Fact, arrive)]) as k:
        k.bus.on(PluginFailed, lambda event: failed.append(event.plugin))
        bad = Plugin("bad").on(Fact, fail)
        await k.start_plugin(bad)
        await asyncio.to_thread(k.bus.publish_from_thread, Fact())
        await asyncio.wait_for(dispatched.wait(), 120)
        dispatched.clear()
        # The inbox lives on.
        await asyncio.to_thread(k.bus.publish_from_thread, Fact())
        await asyncio.wait_for(dispatched.wait(), 120)
        health = k.health().plugins["task"]

    assert "PluginCrashed" not in health.error
    assert "task" in health.error


class Manager:
    """A context manager of which nothing can be asked, and that fails."""

    gen = cancel_scope = property(refuse)

    def __init__(self, on_enter: BaseException | None, on_exit: BaseException | None) -> None:
        self.errors = on_enter, on_exit

    async def __aenter__(self) -> None:
        if self.errors[0] is not None:
            raise self.errors[0]

    async def __aexit__(self, *_: object) -> None:
        if self.errors[1] is not None:
            raise self.errors[1]


def in_setup(error: BaseException) -> Plugin:
    async def fail(scope: Any) -> None:
        raise error

    return Plugin("broken").then(fail)


def on_enter(error: BaseException) -> Plugin:
    return Plugin("broken").enter(lambda: Manager(error, None))


def on_exit(error: BaseException) -> Plugin:
    return Plugin("broken").enter(lambda: Manager(None, error))


def at_shutdown(error: BaseException) -> Plugin:
    async def fail(event: Shutdown) -> None:
        raise error

    return Plugin("broken").on(Shutdown, fail)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("broken", [in_setup, on_enter, on_exit, at_shutdown])
async def test_an_error_of_a_plugins_life_names_it_and_the_others_are_closed(
    error: BaseException, broken: Callable[[BaseException], Plugin]
) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("closed")

    with pytest.raises((HookError, BaseExceptionGroup)) as caught:
        async with Kernel(plugins=[Plugin("first").enter(held), broken(error)]):
            pass

    raised = caught.value
    errors = raised.exceptions if isinstance(raised, BaseExceptionGroup) else (raised,)
    assert [plugin_of(one) for one in errors] == ["broken"]
    assert log == ["closed"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_error_of_a_health_check_is_an_answer(error: BaseException) -> None:
    class Ill:
        name = "ill"

        async def setup(self, scope: Any) -> None:
            pass

        def health(self) -> NoReturn:
            raise error

    async with Kernel(plugins=[Ill()]) as kernel:
        found = (await kernel.check_health()).plugins["ill"]

    assert not found.healthy
    assert found.details["error"].startswith(type(error).__name__)


async def test_an_event_of_which_nothing_can_be_asked_comes_to_every_reader() -> None:
    async with Kernel() as kernel:
        bus = kernel.bus
        options: list[dict[str, Any]] = [
            {"overflow": "drop_oldest"},
            {"overflow": "drop_newest"},
            {"overflow": "block", "spill": lambda event: None},
            {"overflow": "conflate", "key": lambda event: event.number},
            {"overflow": "conflate", "key": lambda event: Prickly()},
        ]
        streams = [bus.stream(Odds, maxsize=2, **one).open() for one in options]
        waiting = bus.wait_for(Odds, lambda event: event.number == 2, timeout=120)
        bus.add_tap(Watching())
        for number in range(3):
            bus.emit_nowait(Odds(number))

        assert (await waiting).number == 2
        for stream in streams[:4]:
            statistics = stream.statistics()
            assert statistics.accepted == 3
            assert statistics.items == (0, 0, 0, 0, 0)
            assert [event.number for event in await stream.batch() if isinstance(event, Odds)]
        # A key that cannot be one loses the event, as a failing key function does.
        assert streams[4].statistics().dropped == 3


class Watching:
    def intent(self, *_: object) -> None:
        raise GeneratorExit

    def outcome(self, *_: object) -> None:
        raise GeneratorExit


class Holder:
    """A key that is equal to nothing, but can be hashed."""

    __eq__ = REFUSES

    def __hash__(self) -> int:
        return 1


async def test_a_key_that_cannot_be_compared_loses_its_event_only() -> None:
    async with Kernel() as kernel:
        stream = kernel.bus.stream(
            Odds, maxsize=4, overflow="conflate", key=lambda event: Holder()
        ).open()
        for number in range(2):
            await kernel.bus.emit(Odds(number))

        assert stream.statistics()[:3] == (2, 0, 1)


class OddList(list[str]):
    __bool__ = __len__ = REFUSES


@pytest.mark.parametrize(
    ("ask", "handler"),
    [
        (lambda bus: bus.apply(Argv(())), lambda event: ("refused",)),
        (lambda bus: bus.apply(Argv(())), lambda event: Prickly()),
        (lambda bus: bus.first(Ask()), lambda event: Prickly()),
        (lambda bus: bus.collect(Words()), lambda event: [Prickly()]),
        (lambda bus: bus.collect(Words()), lambda event: Prickly()),
        (lambda bus: bus.collect(Words()), lambda event: OddList(["a"])),
        (lambda bus: bus.around(Wrap()).__aenter__(), lambda event: 3),
    ],
)
async def test_an_answer_that_is_refused_names_who_gave_it(
    ask: Callable[[Any], Any], handler: Callable[[Any], object]
) -> None:
    async with Kernel() as kernel:
        classes: list[Any] = [Argv, Ask, Words, Wrap]
        for cls in classes:
            kernel.bus.on(cls, handler)
        with pytest.raises(HookError, match="application"):
            await ask(kernel.bus)


@pytest.mark.parametrize("error", [PricklyError(), Falsy()], ids=["prickly", "falsy"])
async def test_every_wrapper_sees_the_error_of_its_block_whatever_that_says_of_itself(
    error: Exception,
) -> None:
    seen: list[object] = []

    class Sees:
        def __init__(self, event: Wrap) -> None:
            pass

        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, cls: object, exc: object, traceback: object) -> None:
            seen.append(exc)
            raise ValueError("also")

    async with Kernel(plugins=[Plugin("a").on(Wrap, lambda event: Sees(event))]) as kernel:
        with pytest.raises(type(error)) as caught:
            async with kernel.bus.around(Wrap()):
                raise error
    assert [id(seen[0]), id(caught.value)] == [id(error), id(error)]


class Bare:
    """Waits for a future, but does not ask it what came of it."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future

    def __await__(self) -> Generator[asyncio.Future[None], None, None]:
        self.future._asyncio_future_blocking = True
        yield self.future


async def test_an_error_that_says_it_is_none_comes_into_a_handler_that_waits() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def waits(event: Fact) -> None:
        await Bare(future)

    async with Kernel(plugins=[Plugin("a").on(Fact, waits)]) as kernel:
        publishing = asyncio.create_task(kernel.bus.publish(Fact()))
        await asyncio.sleep(0)
        future.set_exception(Falsy("it"))
        (failure,) = (await publishing).errors

    assert isinstance(failure.__cause__, Falsy)


def test_what_is_asked_has_an_answer_whatever_is_raised() -> None:
    assert shown(Prickly()) == "(its text cannot be made: RuntimeError)"
    assert describe(PricklyError()) == "PricklyError: (its text cannot be made: RuntimeError)"
    assert length_of(Prickly()) == 0
    assert plugin_of(PricklyPluginError()) == ""
    assert plugin_of(PricklyError()) == ""
    assert plugin_of(PluginCrashed("p", "t", "", "e")) == "p"
    add_note(PricklyError(), "a note")


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes_through(ending: type[BaseException]) -> None:
    class Ends(Exception):
        def __str__(self) -> str:
            raise ending

        def __len__(self) -> int:
            raise ending

    for ask in (describe, length_of):
        with pytest.raises(ending):
            ask(Ends())


async def test_a_predicate_may_raise_whatever_it_likes() -> None:
    async with Kernel() as kernel:
        waits = [kernel.bus.wait_for(Fact, predicate) for predicate in (stops, refuse)]
        assert (await kernel.bus.publish(Fact())).errors == ()
        assert kernel.bus.waiting == 0
        for wait in waits:
            with pytest.raises(RuntimeError):
                await wait


def stops(event: Fact) -> NoReturn:
    raise StopIteration
