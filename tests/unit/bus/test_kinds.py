"""Each kind of event in its own verb: §5.1."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runbus.config import Command
from runbus.errors import (
    HandlerTimeout,
    HookError,
    InvalidHandler,
    NoHandler,
    Reentrant,
    WrongKind,
)
from runbus.events import (
    Around,
    Collector,
    Decorate,
    First,
    Notify,
    Pipeline,
    Stream,
    Teardown,
)
from runbus.experiment import ExperimentDraft, Job
from runbus.testing import FakeClock, FakePlugin, fail_next, idle, record


class Layers(Pipeline[tuple[str, ...]], frozen=True):
    pass


class Lines(Collector[str], frozen=True):
    pass


class Which(First[str], frozen=True):
    pass


class Wrap(Around, frozen=True):
    pass


class Forgiving(Around, frozen=True):
    may_suppress = True


class Dress(Decorate, frozen=True):
    pass


class Happened(Notify, frozen=True):
    number: int = 0


class HappenedTwice(Happened, frozen=True):
    pass


class Tick(Stream, frozen=True):
    number: int = 0


class Over(Teardown, frozen=True):
    pass


def fail():
    raise KeyError("body")


def adds(layer):
    async def handler(event):
        return (*event.value, layer)

    return handler


def gives(value):
    async def handler(event):
        return value

    return handler


async def test_a_pipeline_passes_the_value_from_plugin_to_plugin_in_their_order(kernel_factory):
    kernel = await kernel_factory(*(FakePlugin(n, {Layers: adds(n)}) for n in "abc"))

    assert await kernel.bus.apply(Layers(("base",))) == ("base", "a", "b", "c")


@pytest.mark.parametrize(("value", "said"), [(None, "returned None"), ("text", "returned a str")])
async def test_a_pipeline_refuses_what_is_no_next_value(kernel_factory, value, said):
    later = FakePlugin("later", {Layers: adds("later")})
    kernel = await kernel_factory(FakePlugin("bad", {Layers: gives(value)}), later)

    with pytest.raises(HookError, match=rf"plugin 'bad': .*{said}") as caught:
        await kernel.bus.apply(Layers(()))
    assert caught.value.event == "Layers"


class Anything(Pipeline, frozen=True):  # type: ignore[type-arg]
    pass


async def test_a_pipeline_that_declares_no_type_keeps_to_that_of_its_first_value(kernel_factory):
    kernel = await kernel_factory()
    assert await kernel.bus.apply(Anything("a")) == "a"

    kernel.bus.on(Anything, lambda event: event.value + "b")
    assert await kernel.bus.apply(Anything("a")) == "ab"
    kernel.bus.on(Anything, lambda event: 3)
    with pytest.raises(HookError, match="returned a int; a str was expected"):
        await kernel.bus.apply(Anything("a"))


async def test_the_first_error_of_a_pipeline_ends_it_and_keeps_its_cause(kernel_factory):
    called: list[Any] = []

    async def breaks(event):
        raise ZeroDivisionError("oh")

    async def notes(event):
        called.append(event)
        return event.value

    kernel = await kernel_factory(
        FakePlugin("bad", {Layers: breaks}), FakePlugin("later", {Layers: notes})
    )
    with pytest.raises(HookError) as caught:
        await kernel.bus.apply(Layers(()))

    assert (caught.value.plugin, caught.value.event) == ("bad", "Layers")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert called == []


async def test_an_exception_group_of_a_handler_is_kept_whole(kernel_factory):
    async def breaks(event):
        raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])

    kernel = await kernel_factory(FakePlugin("bad", {Layers: breaks}))
    with pytest.raises(HookError) as caught:
        await kernel.bus.apply(Layers(()))

    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


async def test_a_collector_concatenates_in_plugin_order_and_says_who_gave_what(kernel_factory):
    kernel = await kernel_factory(
        FakePlugin("a", {Lines: gives(["1", "2"])}),
        FakePlugin("b", {Lines: gives(None)}),
        FakePlugin("c", {Lines: gives(("3",))}),
    )

    assert await kernel.bus.collect(Lines()) == [("a", "1"), ("a", "2"), ("c", "3")]


@pytest.mark.parametrize(
    ("value", "said"), [("text", "bare str"), (b"x", "a bytes"), ({"a": 1}, "a dict"), (3, "a int")]
)
async def test_a_collector_refuses_what_is_no_list(kernel_factory, value, said):
    kernel = await kernel_factory(FakePlugin("bad", {Lines: gives(value)}))

    with pytest.raises(HookError, match=said) as caught:
        await kernel.bus.collect(Lines())
    assert (caught.value.plugin, caught.value.event) == ("bad", "Lines")


async def test_first_asks_until_somebody_knows(kernel_factory):
    asked: list[Any] = []

    def answers(name, value):
        async def handler(event):
            asked.append(name)
            return value

        return handler

    kernel = await kernel_factory(
        FakePlugin("a", {Which: answers("a", None)}),
        FakePlugin("b", {Which: answers("b", "mine")}),
        FakePlugin("c", {Which: answers("c", "too late")}),
    )

    assert await kernel.bus.first(Which()) == ("b", "mine")
    assert asked == ["a", "b"]


async def test_first_without_an_answer_names_who_was_asked(kernel_factory):
    kernel = await kernel_factory(FakePlugin("a", {Which: gives(None)}))

    with pytest.raises(NoHandler, match="nobody answered Which: none of a did"):
        await kernel.bus.first(Which())


def wrapper(name, log, *, fails_on="", swallows=False):
    @asynccontextmanager
    async def handler(event):
        if fails_on == "enter":
            raise ValueError(f"{name} cannot enter")
        log.append(f"+{name}")
        try:
            yield name
        except BaseException as error:
            log.append(f"{name} saw {type(error).__name__}")
            if not swallows:
                raise
        finally:
            log.append(f"-{name}")
            if fails_on == "exit":
                raise ValueError(f"{name} cannot exit")

    return handler


async def test_wrappers_enter_in_order_and_exit_in_reverse(kernel_factory):
    log: list[Any] = []
    kernel = await kernel_factory(*(FakePlugin(n, {Wrap: wrapper(n, log)}) for n in "ab"))
    async with kernel.bus.around(Wrap()) as values:
        log.append(values)

    assert log == ["+a", "+b", ["a", "b"], "-b", "-a"]


async def test_a_wrapper_that_cannot_enter_unwinds_those_that_did(kernel_factory):
    log: list[Any] = []
    kernel = await kernel_factory(
        FakePlugin("a", {Wrap: wrapper("a", log)}),
        FakePlugin("b", {Wrap: wrapper("b", log, fails_on="enter")}),
    )
    with pytest.raises(HookError, match=r"plugin 'b'.*cannot enter"):
        async with kernel.bus.around(Wrap()):
            pytest.fail("the block must not run")

    assert log == ["+a", "a saw HookError", "-a"]


async def test_every_wrapper_sees_the_error_of_the_block_and_none_can_swallow_it(kernel_factory):
    log: list[Any] = []
    kernel = await kernel_factory(
        FakePlugin("a", {Wrap: wrapper("a", log)}),
        FakePlugin("b", {Wrap: wrapper("b", log, swallows=True)}),
    )
    with pytest.raises(KeyError):
        async with kernel.bus.around(Wrap()):
            raise KeyError("body")

    assert log == ["+a", "+b", "b saw KeyError", "-b", "a saw KeyError", "-a"]


async def test_a_class_of_events_may_let_wrappers_swallow_errors(kernel_factory):
    log: list[Any] = []
    kernel = await kernel_factory(
        FakePlugin("a", {Forgiving: wrapper("a", log)}),
        FakePlugin("b", {Forgiving: wrapper("b", log, swallows=True)}),
    )
    async with kernel.bus.around(Forgiving()):
        fail()

    assert log == ["+a", "+b", "b saw KeyError", "-b", "-a"]


async def test_no_wrapper_can_swallow_that_another_could_not_be_entered(kernel_factory):
    """The block has not run, and what comes after it must not believe that it has."""
    log: list[Any] = []
    kernel = await kernel_factory(
        FakePlugin("a", {Forgiving: wrapper("a", log, swallows=True)}),
        FakePlugin("bad", {Forgiving: wrapper("bad", log, fails_on="enter")}),
    )

    with pytest.raises(HookError, match="bad"):
        async with kernel.bus.around(Forgiving()):
            pytest.fail("the block must not run")

    assert log == ["+a", "a saw HookError", "-a"]


async def test_a_failing_exit_is_raised_when_the_block_was_fine_and_a_note_when_not(kernel_factory):
    log: list[Any] = []
    kernel = await kernel_factory(FakePlugin("a", {Wrap: wrapper("a", log, fails_on="exit")}))

    with pytest.raises(HookError, match="cannot exit"):
        async with kernel.bus.around(Wrap()):
            pass
    with pytest.raises(KeyError) as caught:
        async with kernel.bus.around(Wrap()):
            raise KeyError("body")
    assert "cannot exit" in "".join(caught.value.__notes__)


async def test_a_wrapper_handler_must_return_a_context_manager(kernel_factory):
    kernel = await kernel_factory(FakePlugin("bad", {Wrap: gives(3)}))

    with pytest.raises(HookError, match="returned 3, no async context manager") as caught:
        async with kernel.bus.around(Wrap()):
            pass
    assert (caught.value.plugin, caught.value.event) == ("bad", "Wrap")


class Manager:
    """Does as it is told on entering and on exiting."""

    def __init__(self, *, enter=None, leave=None):
        self.enter = enter
        self.leave = leave

    async def __aenter__(self):
        if self.enter is not None:
            await self.enter.wait()

    async def __aexit__(self, kind, error, traceback):
        if self.leave is not None:
            await self.leave.wait()
        if error is not None:
            raise error


async def test_a_wrapper_that_raises_the_error_of_the_block_again_swallows_nothing(kernel_factory):
    kernel = await kernel_factory(FakePlugin("p", {Forgiving: gives(Manager())}))

    with pytest.raises(KeyError) as caught:
        async with kernel.bus.around(Forgiving()):
            fail()
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("half", ["__aenter__", "__aexit__"])
async def test_half_a_context_manager_is_none(kernel_factory, half):
    made = type("Half", (), {half: getattr(Manager, half)})
    kernel = await kernel_factory(FakePlugin("p", {Wrap: gives(made())}))

    with pytest.raises(HookError, match="no async context manager"):
        async with kernel.bus.around(Wrap()):
            pytest.fail("the block must not run")


@pytest.mark.parametrize("step", ["enter", "leave"])
async def test_the_limit_of_a_wrapper_holds_for_its_manager_too(kernel_factory, step):
    clock = FakeClock()
    kernel = await kernel_factory(timers=clock)
    manager = Manager(**{step: asyncio.Event()})
    kernel.bus.on(Wrap, gives(manager), timeout=2.0)

    async def use():
        async with kernel.bus.around(Wrap()):
            pass

    task = asyncio.create_task(use())
    await clock.advance(1.9)
    assert not task.done()
    await clock.advance(0.2)
    with pytest.raises(HookError) as caught:
        await task
    late = caught.value.__cause__
    assert isinstance(late, HandlerTimeout)
    assert (late.event, late.timeout_s) == ("Wrap", 2.0)


async def test_the_first_plugin_wraps_a_function_outermost(kernel_factory):
    def dresses(name):
        def handler(event, fn):
            return lambda: f"{name}({fn()})"

        return handler

    kernel = await kernel_factory(*(FakePlugin(n, {Dress: dresses(n)}) for n in "ab"))

    assert kernel.bus.decorate(Dress(), lambda: "x")() == "a(b(x))"


async def test_decorate_refuses_what_cannot_be_called(kernel_factory):
    kernel = await kernel_factory(FakePlugin("bad", {Dress: lambda event, fn: None}))

    with pytest.raises(HookError, match="returned None, which cannot be called") as caught:
        kernel.bus.decorate(Dress(), print)
    assert (caught.value.plugin, caught.value.event) == ("bad", "Dress")


async def test_each_handler_that_is_asked_gets_the_event_itself(kernel_factory):
    seen: list[Any] = []

    def notes(event, *wrapped):
        seen.append(event)
        return wrapped[0] if wrapped else None

    kernel = await kernel_factory(FakePlugin("p", dict.fromkeys((Lines, Which, Dress), notes)))
    events = [Lines(), Which(), Dress()]
    await kernel.bus.collect(events[0])
    with pytest.raises(NoHandler):
        await kernel.bus.first(events[1])
    kernel.bus.decorate(events[2], print)

    assert all(one is other for one, other in zip(seen, events, strict=True))


async def test_a_subscriber_of_a_base_class_gets_its_subclasses(kernel_factory):
    base = FakePlugin("base", {Happened: None})
    every = FakePlugin("every", {Notify: None})
    exact = FakePlugin("exact", {HappenedTwice: None})
    kernel = await kernel_factory(base, every, exact)
    await kernel.bus.publish(HappenedTwice(1))
    await kernel.bus.publish(Happened(2))

    assert base.seen == [HappenedTwice(1), Happened(2)]
    assert every.seen[-2:] == [HappenedTwice(1), Happened(2)]
    assert exact.seen == [HappenedTwice(1)]


async def test_teardown_goes_in_reverse_and_collects_failures(kernel_factory):
    log: list[Any] = []

    async def fails(event):
        log.append("b")
        raise ValueError("no")

    kernel = await kernel_factory(
        FakePlugin("a", {Over: lambda event: log.append("a")}),
        FakePlugin("b", {Over: fails}),
        FakePlugin("c", {Over: lambda event: log.append("c")}),
    )
    failures = await kernel.bus.teardown(Over(), 1.0)

    assert log == ["c", "b", "a"]
    assert [failure.plugin for failure in failures] == ["b"]


WRONG = [
    ("publish", Tick(), "emit"),
    ("publish", Layers(()), "apply"),
    ("emit", Happened(), "publish"),
    ("emit_nowait", Happened(), "publish"),
    ("apply", Happened(), "publish"),
    ("collect", Layers(()), "apply"),
    ("first", Lines(), "collect"),
    ("around", Which(), "first"),
    ("decorate", Wrap(), "around"),
    ("teardown", Dress(), "decorate"),
    ("publish", object(), ""),
]


@pytest.mark.parametrize(("verb", "event", "right"), WRONG, ids=lambda value: str(value)[:20])
async def test_the_wrong_verb_is_refused_and_the_right_one_named(
    kernel_factory, verb, event, right
):
    kernel = await kernel_factory()
    extra = {"decorate": (print,), "teardown": (1.0,)}.get(verb, ())

    async def use():
        result = getattr(kernel.bus, verb)(event, *extra)
        if hasattr(result, "__aenter__"):
            await result.__aenter__()
        elif asyncio.iscoroutine(result):
            await result

    with pytest.raises(WrongKind) as caught:
        await use()

    kind = getattr(event, "kind", None)
    assert (caught.value.verb, caught.value.right_verb) == (verb, right)
    assert (caught.value.event, caught.value.kind) == (
        type(event).__name__,
        kind.value if kind else "",
    )


async def test_a_class_instead_of_an_event_is_told_to_be_one(kernel_factory):
    kernel = await kernel_factory()
    bus = kernel.bus
    for verb in (bus.publish, bus.emit, bus.apply, bus.first):
        with pytest.raises(WrongKind, match=r"Tick is a class of events, which \w+\(\)") as caught:
            await verb(Tick)
        assert caught.value.hint == "pass an event of that class: Tick(...)"
        assert (caught.value.event, caught.value.kind) == ("Tick", "")
        assert (caught.value.verb, caught.value.right_verb) == (verb.__name__, "")
    with pytest.raises(WrongKind, match="Tick is a class of events"):
        await asyncio.to_thread(bus.publish_from_thread, Tick)


async def test_a_kernel_instead_of_its_bus_is_told_to_be_one(kernel_factory):
    kernel = await kernel_factory()
    job = Job(name="a", task=Command(("true",)))

    with pytest.raises(TypeError, match=r"not a Kernel: pass kernel\.bus"):
        await ExperimentDraft("p", [job]).run(kernel)
    with pytest.raises(TypeError, match=r"not a Kernel: pass kernel\.bus"):
        await idle(kernel)
    with pytest.raises(TypeError, match=r"not a Kernel: pass kernel\.bus"):
        fail_next(kernel, print, ValueError())
    with pytest.raises(TypeError, match=r"not a Kernel: pass kernel\.bus"), record(kernel):
        pass


async def test_streams_are_not_subscribed_with_on_nor_requests_with_stream(kernel_factory):
    kernel = await kernel_factory()

    with pytest.raises(WrongKind, match=r"Tick is a stream event, which on\(\)"):
        kernel.bus.on(Tick, print)
    with pytest.raises(WrongKind):
        kernel.bus.stream(Layers)
    with pytest.raises(WrongKind):
        kernel.bus.on(int, print)


async def test_a_request_inside_of_itself_is_refused(kernel_factory):
    async def asks_itself(event):
        return await kernel.bus.apply(event)

    kernel = await kernel_factory(FakePlugin("a", {Layers: asks_itself}))
    with pytest.raises(HookError) as caught:
        await kernel.bus.apply(Layers(()))
    assert isinstance(caught.value.__cause__, Reentrant)
    assert caught.value.__cause__.chain == ("Layers", "Layers")


def none_wanted():
    pass


async def two_wanted(event, other):
    pass


async def yields(event):
    yield event


class Callable:
    async def __call__(self, event):
        return event


BAD_HANDLERS = [
    (Happened, none_wanted, "cannot be called with 1"),
    (Happened, two_wanted, "cannot be called with 1"),
    (Happened, "text", "cannot be called"),
    (Happened, yields, "generator"),
    (Happened, Callable, "is a class"),
    (Dress, lambda event: None, "cannot be called with 2"),
    (Dress, two_wanted, "is async"),
    (Wrap, yields, "async generator"),
]


@pytest.mark.parametrize(("event", "handler", "said"), BAD_HANDLERS)
async def test_a_handler_that_can_never_work_is_refused_when_subscribed(
    kernel_factory, event, handler, said
):
    kernel = await kernel_factory()

    with pytest.raises(InvalidHandler, match=said) as caught:
        kernel.bus.on(event, handler)
    assert caught.value.plugin == "application"
    assert caught.value.hint


async def test_callable_objects_and_partials_of_them_are_seen_as_async(kernel_factory):
    from functools import partial

    kernel = await kernel_factory()
    assert kernel.bus.on(Happened, Callable()).is_async
    assert kernel.bus.on(Happened, partial(two_wanted, other=1)).is_async


@pytest.mark.parametrize(
    "made",
    [lambda: two_wanted(1, 2), lambda: asyncio.get_running_loop().create_future()],
    ids=["a coroutine", "a future"],
)
async def test_a_sync_handler_that_returns_an_awaitable_is_an_error(kernel_factory, made):
    kernel = await kernel_factory(FakePlugin("bad", {Happened: lambda event: made()}))
    receipt = await kernel.bus.publish(Happened())

    assert "returned an awaitable" in str(receipt.errors[0])


async def test_a_request_that_is_cancelled_counts_as_a_call_that_neither_failed_nor_succeeded(
    kernel_factory,
):
    waiting = asyncio.Event()
    is_to_fail = True

    async def answers(event):
        if is_to_fail:
            raise ValueError("no")
        waiting.set()
        await asyncio.Event().wait()

    kernel = await kernel_factory(FakePlugin("p", {Lines: answers}))
    with pytest.raises(HookError):
        await kernel.bus.collect(Lines())
    is_to_fail = False
    with record(kernel.bus) as recording:
        task = asyncio.create_task(kernel.bus.collect(Lines()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    (entry,) = recording.entries
    assert [verdict for *_, verdict in entry.handlers] == ["cancelled"]
    (handler,) = kernel.health().plugins["p"].handlers
    assert (handler.calls, handler.errors, handler.failures_in_a_row) == (2, 1, 1)


async def test_the_same_handler_twice_is_refused(kernel_factory):
    kernel = await kernel_factory()
    kernel.bus.on(Happened, print)

    with pytest.raises(InvalidHandler, match="subscribed twice"):
        kernel.bus.on(Happened, print)


async def test_once_is_called_once(kernel_factory):
    kernel = await kernel_factory()
    seen: list[Any] = []
    kernel.bus.on(Happened, seen.append, once=True)
    await kernel.bus.publish(Happened(1))
    await kernel.bus.publish(Happened(2))

    assert seen == [Happened(1)]


async def test_a_new_subscriber_gets_the_next_event_and_a_closed_one_not_even_this(kernel_factory):
    kernel = await kernel_factory()
    seen: list[Any] = []

    def late(event):
        seen.append(("late", event.number))

    def second(event):
        seen.append(("second", event.number))

    async def first(event):
        if event.number == 1:
            kernel.bus.on(Happened, late)
            subscription.close()

    kernel.bus.on(Happened, first)
    subscription = kernel.bus.on(Happened, second)
    await kernel.bus.publish(Happened(1))
    await kernel.bus.publish(Happened(2))

    assert seen == [("late", 2)]


async def test_a_sync_handler_can_run_in_a_thread(kernel_factory):
    import threading

    kernel = await kernel_factory()
    seen: list[Any] = []
    kernel.bus.on(Happened, lambda event: seen.append(threading.get_ident()), thread=True)
    await kernel.bus.publish(Happened())

    assert seen
    assert seen != [threading.get_ident()]


async def test_a_recording_shows_kind_parent_and_outcome(kernel_factory):
    kernel = await kernel_factory()

    async def answers(event):
        await kernel.bus.publish(HappenedTwice(2))

    kernel.bus.on(Layers, adds("x"))
    kernel.bus.on(Happened, answers, once=True)
    with record(kernel.bus) as recording:
        await kernel.bus.apply(Layers(()))
        await kernel.bus.publish(Happened(1))
        await kernel.bus.emit(Tick(1))
    layers, happened, twice, tick = recording.entries

    assert [e.outcome for e in recording.entries] == ["ok"] * 4
    assert (layers.parent, happened.parent, tick.parent) == (0, 0, 0)
    assert (twice.parent, twice.origin) == (happened.seq, "application")
    assert layers.handlers[0][0::2] == ("application", "ok")
    recording.assert_order(Layers, Happened(1), HappenedTwice)
    with pytest.raises(AssertionError):
        recording.assert_order(HappenedTwice, Layers)
