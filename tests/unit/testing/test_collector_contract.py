"""The contract of collectors: it holds for plain ones, and none of ten broken ones passes."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from runbus.abc import Collector
from runbus.plugins import CollectorPlugin, PluginMetadata, managed
from runbus.testing.conformance.collector import CollectorContract, CollectorFactory

LET_GO = threading.Event()


class Plain(Collector):
    """Measures one thing."""

    name = "plain"

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s

    async def collect(self) -> Any:
        return {"load": 0.5, "host": "here"}


class Plugin(CollectorPlugin):
    """Measures one thing, in a worker thread."""

    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata("plugin", "1", "collector")

    def collect(self) -> dict[str, Any]:
        return {"load": {"one": 0.5, "five": 0.25}}


class Nameless(Plain):
    """Has no name."""

    name = ""


class Listing(Plain):
    """Returns no mapping."""

    async def collect(self) -> Any:
        return [0.5]


class Wordy(Plain):
    """Measures no number."""

    async def collect(self) -> Any:
        return {"host": "here"}


class Unnamed(Plain):
    """Measures something without a name."""

    async def collect(self) -> Any:
        return {"": 0.5}


class Huge(Plain):
    """Measures more than anybody reads."""

    async def collect(self) -> Any:
        return {str(n): n for n in range(11_000)}


class Blocker(Plain):
    """Blocks the event loop."""

    async def collect(self) -> Any:
        time.sleep(0.6)  # noqa: ASYNC251 - that is what is wrong with it
        return {"load": 0.5}


class Tired(Plain):
    """Fails the second time."""

    samples = 0

    async def collect(self) -> Any:
        self.samples += 1
        if self.samples == 2:
            raise RuntimeError("no more")
        return {"load": 0.5}


class Eager(Plain):
    """Measures more often than it should."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = min(interval_s, 0.02)


class Fearless(Plain):
    """Takes any interval."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s or 0.02


class Sore(Plain):
    """Fails when it is stopped."""

    async def close(self) -> None:
        raise RuntimeError("no")


class Thread(Plain):
    """Leaves a thread behind."""

    async def open(self) -> None:
        threading.Thread(target=LET_GO.wait, args=(60,), daemon=True).start()


class Once(Plain):
    """Works only the first time."""

    used = False

    async def open(self) -> None:
        if Once.used:
            raise RuntimeError("there is one already")
        Once.used = True


class Quick(CollectorContract):
    """Waits no longer than these tests want to."""

    deadline_s = 0.5


BROKEN: dict[type[Plain], str] = {
    Nameless: "it_measures_at_once_and_again_after_its_interval",
    Listing: "it_measures_at_once_and_again_after_its_interval",
    Wordy: "it_measures_at_once_and_again_after_its_interval",
    Eager: "it_does_not_measure_before_its_interval_is_over",
    Unnamed: "its_names_begin_with_its_own_and_can_be_read",
    Huge: "a_sample_is_not_too_large",
    Blocker: "it_does_not_hold_up_the_event_loop",
    Tired: "it_measures_without_a_failure",
    Sore: "it_measures_no_more_once_it_is_stopped",
    Fearless: "an_interval_that_is_none_is_refused",
    Thread: "no_thread_of_it_outlives_it",
    Once: "another_one_works_after_the_first_has_stopped",
}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    LET_GO.clear()
    Once.used = False
    yield
    LET_GO.set()


class TestPlain(CollectorContract):
    @pytest.fixture(params=["collector", "plugin"])
    def make(self, request: pytest.FixtureRequest) -> CollectorFactory:
        if request.param == "collector":
            return Plain
        return lambda interval_s: managed(Plugin(), {"interval_s": interval_s})


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.__name__)
def test_a_broken_collector_does_not_pass(broken: type[Plain]) -> None:
    test = getattr(Quick(), f"test_{BROKEN[broken]}")

    with pytest.raises(BaseException, match=r"(?s).*"):
        done(test(broken))


def done(outcome: Any) -> None:
    """Run what a test of the contract returned to its end."""

    async def awaited() -> None:
        await outcome

    if inspect.iscoroutine(outcome):
        anyio.run(awaited)


def test_a_broken_collector_is_there_for_every_test() -> None:
    names = [name for name in vars(CollectorContract) if name.startswith("test_")]
    assert {name.removeprefix("test_") for name in names} == {*BROKEN.values()}
