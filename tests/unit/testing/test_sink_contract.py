"""The contract of sinks: it holds for a plain one, and none of ten broken ones passes."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from runbus.abc import MetricSink
from runbus.events import MetricBatch, RunRecorded
from runbus.plugins import BackendPlugin, PluginMetadata
from runbus.testing.conformance.sink import SinkContract, SinkFactory, Taken

TAKEN: list[tuple[str, int, float]] = []
LET_GO = threading.Event()


class Plain(MetricSink):
    """Keeps what it gets."""

    name = "plain"

    async def write(self, batch: MetricBatch) -> None:
        for name, step, _, value in batch.points():
            self.take(name, step, value)

    def take(self, name: str, step: int, value: float) -> None:
        TAKEN.append((name, step, value))


class Backend(BackendPlugin):
    """Keeps what it gets, in a worker thread."""

    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata("plain-backend", "1", "backend")

    def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
        TAKEN.append((name, iteration or 0, value))

    def log_params(self, params: dict[str, Any]) -> None:
        assert params

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        raise NotImplementedError


class Nameless(Plain):
    """Has no name."""

    name = ""


class Hoarder(Plain):
    """Writes what it has when it has a thousand, and forgets the rest."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, int, float]] = []

    def take(self, name: str, step: int, value: float) -> None:
        self.kept.append((name, step, value))
        if len(self.kept) >= 1000:
            TAKEN.extend(self.kept)
            self.kept.clear()


class Shuffler(Plain):
    """Writes the newest point first."""

    async def write(self, batch: MetricBatch) -> None:
        for name, step, _, value in reversed([*batch.points()]):
            self.take(name, step, value)


class Twice(Plain):
    """Writes each point twice."""

    def take(self, name: str, step: int, value: float) -> None:
        TAKEN.extend([(name, step, value)] * 2)


class Blocker(Plain):
    """Blocks the event loop."""

    async def write(self, batch: MetricBatch) -> None:
        time.sleep(0.6)  # noqa: ASYNC251 - that is what is wrong with it
        await super().write(batch)


class Finite(Plain):
    """Fails for what is not finite."""

    def take(self, name: str, step: int, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError("out of range")
        super().take(name, step, value)


class Ascii(Plain):
    """Leaves out names that it does not like."""

    def take(self, name: str, step: int, value: float) -> None:
        if name.isidentifier():
            super().take(name, step, value)


class Forgetful(Plain):
    """Takes no more than a hundred points."""

    def take(self, name: str, step: int, value: float) -> None:
        if step < 100:
            super().take(name, step, value)


class Small(Plain):
    """Has room for steps of 32 bits."""

    def take(self, name: str, step: int, value: float) -> None:
        super().take(name, step & 0xFFFFFFFF, value)


class Picky(Plain):
    """Fails for what it did not expect."""

    async def record(self, fact: RunRecorded) -> None:
        raise NotImplementedError


class Thread(Plain):
    """Leaves a thread behind."""

    async def open(self) -> None:
        threading.Thread(target=LET_GO.wait, args=(60,), daemon=True).start()


class Hanging(Plain):
    """Does not stop."""

    async def close(self) -> None:
        await anyio.sleep(20)


class Once(Plain):
    """Works only the first time."""

    used = False

    async def open(self) -> None:
        if Once.used:
            raise RuntimeError("there is one already")
        Once.used = True


class Silent(Plain):
    """Does not say how it is."""

    async def health(self) -> tuple[bool, dict[str, Any]]:
        raise RuntimeError("no idea")


class Quick(SinkContract):
    """Waits no longer than these tests want to."""

    deadline_s = 0.5


BROKEN: dict[type[Plain], str] = {
    Nameless: "it_starts_and_stops_where_nothing_is_measured",
    Hanging: "it_starts_and_stops_where_nothing_is_measured",
    Hoarder: "every_point_arrives_once_and_in_order",
    Shuffler: "every_point_arrives_once_and_in_order",
    Twice: "every_point_arrives_once_and_in_order",
    Forgetful: "a_sink_that_is_stopped_has_taken_what_waited",
    Blocker: "it_does_not_hold_up_the_event_loop",
    Finite: "it_takes_what_is_not_finite",
    Ascii: "it_takes_any_name",
    Small: "it_takes_large_steps_and_integers",
    Picky: "it_takes_or_passes_over_other_records",
    Thread: "no_thread_of_it_outlives_it",
    Once: "another_one_works_after_the_first_has_stopped",
    Silent: "it_says_how_it_is",
}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    TAKEN.clear()
    LET_GO.clear()
    Once.used = False
    yield
    LET_GO.set()


class TestPlain(SinkContract):
    @pytest.fixture(params=[Plain, Backend], ids=["sink", "backend"])
    def make(self, request: pytest.FixtureRequest) -> SinkFactory:
        factory: Callable[[], Any] = request.param
        return factory

    @pytest.fixture
    def taken(self) -> Taken:
        return lambda: TAKEN


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.__name__)
async def test_a_broken_sink_does_not_pass(broken: type[Plain]) -> None:
    test = getattr(Quick(), f"test_{BROKEN[broken]}")
    fixtures: dict[str, Any] = {"make": broken, "taken": lambda: TAKEN}

    with pytest.raises(BaseException, match=r"(?s).*"):
        await test(**{name: fixtures[name] for name in inspect.signature(test).parameters})


def test_a_broken_sink_is_there_for_every_test() -> None:
    tests = {name.removeprefix("test_") for name in vars(SinkContract) if name.startswith("test_")}
    assert tests == {*BROKEN.values()}
