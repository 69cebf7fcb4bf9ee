"""Services of a hub: begun, replaced, asked for their health and ended, each by itself."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from typing import Any, cast

import pytest

from runbus import Kernel
from runbus.abc import PluginState
from runbus.errors import (
    HookError,
    HubClosed,
    InvalidService,
    NotOffered,
    PluginStuck,
    ServiceUnavailable,
    ShutdownFailed,
)
from runbus.hub import ExperimentHub, LocalQueue, MemoryStream, RunbusMLOps, ServicePlugin
from runbus.plugins import ServiceAdapter, _service_face

from .services import Counting, Hanging


@pytest.fixture(autouse=True)
def _patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give health checks the time of a busy machine, unless one of them hangs."""
    if "hanging" not in request.node.name:
        monkeypatch.setattr(_service_face, "_HEALTH_S", 30.0)


async def test_a_service_is_a_plugin_of_any_kernel() -> None:
    service = Counting()
    async with Kernel(plugins=[service]) as kernel:
        health = (await kernel.check_health()).plugins["mlops"]
        assert (health.state, health.healthy) == (PluginState.STARTED, True)
        assert health.details == {"status": "connected"}

    assert (service.log[0], service.log[-1]) == ("initialize", "shutdown")
    assert set(service.log[1:-1]) == {"health_check"}


async def test_a_service_that_hangs_holds_up_a_kernel_no_longer_than_it_may() -> None:
    release = threading.Event()

    class Stuck(Counting):
        plugin_type = "taskqueue"

        def initialize(self) -> None:
            release.wait(120)

    other = Counting()
    async with Kernel(plugins=[other]) as kernel:
        with pytest.raises(HookError) as told:
            await kernel.start_plugin(ServiceAdapter(Stuck(), initialize_s=0.05))
        assert isinstance(told.value.__cause__, PluginStuck)
        assert (await kernel.check_health()).plugins["mlops"].healthy
    release.set()


async def test_a_class_that_only_looks_like_a_service_is_none_to_a_kernel() -> None:
    class Alike:
        plugin_type = "mlops"
        initialize = shutdown = health_check = print

    with pytest.raises(Exception, match="is not a plugin"):
        Kernel(plugins=[Alike()])


def test_a_hub_has_one_service_of_each_kind() -> None:
    stream = MemoryStream()
    with ExperimentHub([stream]) as hub:
        assert hub.get_plugin("datastream") is stream
        assert hub.get_plugin("mlops") is None


def test_the_new_service_is_initialized_before_the_old_one_is_shut_down() -> None:
    log: list[str] = []
    old, new = Counting("old ", log=log), Counting("new ", log=log)
    with ExperimentHub([old]) as hub:
        hub.register_plugin(new)
        assert hub.get_plugin("mlops") is new
        calls = [one for one in log if "health" not in one]
        assert calls == ["old initialize", "new initialize", "old shutdown"]
    assert [one for one in log if "shutdown" in one] == ["old shutdown", "new shutdown"]


def test_a_service_that_cannot_be_initialized_leaves_the_old_one_in_place() -> None:
    old, new = Counting("old "), Counting("new ", fails="initialize")
    with ExperimentHub([old]) as hub:
        with pytest.raises(ServiceUnavailable) as told:
            hub.register_plugin(new)
        assert hub.get_plugin("mlops") is old
        assert "old shutdown" not in old.log
        assert hub.check_plugin_health()["mlops"]["healthy"]
    assert new.log == ["new initialize", "new shutdown"]
    assert (told.value.kind, told.value.service) == ("mlops", "Counting")
    assert "OSError: cannot reach amqp://***@localhost" in told.value.problem
    assert "hunter2" not in str(told.value)


def test_a_service_that_is_registered_again_is_left_as_it_is() -> None:
    service = Counting()
    with ExperimentHub([service]) as hub:
        hub.register_plugin(service)
        assert "shutdown" not in service.log
        assert service.log.count("initialize") == 1


def test_a_service_whose_end_fails_keeps_no_other_one_from_its_own() -> None:
    log: list[str] = []
    bad = Counting("bad ", fails="shutdown", log=log)
    stream = MemoryStream()
    stream.create_queue("q")
    hub = ExperimentHub([stream, bad])
    with pytest.raises(ShutdownFailed) as told:
        hub.shutdown()
    assert "hunter2" not in str(told.value)
    hub.shutdown()
    assert log[-1] == "bad shutdown"
    assert stream.health_check()[1]["waiting"] == {}


def test_two_hubs_share_nothing() -> None:
    one, other = Counting("one "), Counting("other ")
    with ExperimentHub([one]) as first, ExperimentHub([other], types={}) as second:
        first.create_experiment("bearings", "fault_detection")
        assert second.get_plugin("mlops") is other
        assert (second.experiments(), second.available_experiments()) == ({}, [])
        first.shutdown()
        assert second.check_plugin_health()["mlops"]["healthy"]


def test_health_is_asked_of_all_at_once_and_a_hanging_check_is_one_unhealthy_row() -> None:
    hanging = Hanging()
    service = Counting()
    with ExperimentHub([hanging, service]) as hub:
        found = hub.check_plugin_health()
        assert found["mlops"] == {"healthy": True, "details": {"status": "connected"}}
        assert found["datastream"]["healthy"] is False
        again = hub.check_plugin_health()
        assert "has not returned for" in again["datastream"]["details"]["error"]
        # One thread hangs, however often it is asked.
        assert hanging.asked == 1
        hanging.release.set()


def test_a_check_that_raises_is_one_unhealthy_row_without_credentials() -> None:
    with ExperimentHub([Counting(fails="health_check"), MemoryStream()]) as hub:
        found = hub.check_plugin_health()
    assert found["datastream"]["healthy"] is True
    assert found["mlops"]["healthy"] is False
    assert "OSError: cannot reach amqp://***@localhost" in found["mlops"]["details"]["error"]


DETAILS: list[tuple[Any, Any]] = [
    (
        {"broker_url": "amqp://guest:hunter2@host//", "workers": 2},
        {"broker_url": "amqp://***@host//", "workers": 2},
    ),
    ({"password": "hunter2", "n": [("api_key", "hunter2")]}, {"password": "***"}),
    ({"error": ValueError("redis://:hunter2@host")}, {"error": "redis://***@host"}),
]


@pytest.mark.parametrize(("details", "shown"), DETAILS, ids=range(3))
def test_credentials_are_cut_out_of_details(details: Any, shown: dict[str, Any]) -> None:
    service = Counting()
    service.details = details
    with ExperimentHub([service]) as hub:
        found = hub.check_plugin_health()["mlops"]
    assert "hunter2" not in str(found)
    assert found["details"].items() >= shown.items()


def test_an_answer_of_another_form_is_unhealthy_and_details_that_are_no_data_are_told() -> None:
    service = Counting()
    endless: dict[str, Any] = {}
    endless["self"] = endless
    with ExperimentHub([service]) as hub:
        for details, healthy in ([], False), (endless, True), ({"x": "y" * 100_000}, True):
            service.details = details
            row = hub.check_plugin_health()["mlops"]
            assert row["healthy"] is healthy
            assert "error" in row["details"]


def test_a_system_exit_of_a_service_is_not_the_end_of_the_process() -> None:
    class Exiting(Counting):
        def _note(self, method: str) -> None:
            raise SystemExit(3)

    with ExperimentHub() as hub:
        with pytest.raises(ServiceUnavailable, match="SystemExit"):
            hub.register_plugin(Exiting())
        assert hub.get_plugin("mlops") is None


class NoHealth:
    """Lacks a method."""

    plugin_type = "mlops"

    def initialize(self) -> None:
        """Do nothing."""

    def shutdown(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (MemoryStream, "is a class"),
        (NoHealth(), "has no health_check"),
        (object(), "has the plugin_type None"),
        ("mlops", "has the plugin_type None"),
    ],
    ids=range(4),
)
def test_what_is_no_service_is_refused(given: Any, problem: str) -> None:
    with ExperimentHub() as hub, pytest.raises(InvalidService, match=problem):
        hub.register_plugin(given)


def test_a_class_that_only_looks_like_a_service_is_registered_by_name() -> None:
    class Alike(NoHealth):
        def health_check(self) -> tuple[bool, dict[str, Any]]:
            return True, {"alike": 1}

    with ExperimentHub([cast("ServicePlugin", Alike())]) as hub:
        assert hub.check_plugin_health()["mlops"]["details"] == {"alike": 1}


def test_a_kind_of_ones_own_needs_nothing_but_its_word() -> None:
    class Features(Counting):
        plugin_type = "featurestore"

    with ExperimentHub([Features()]) as hub:
        assert isinstance(hub.get_plugin("featurestore"), Features)
        assert hub.check_plugin_health()["featurestore"]["healthy"]


def test_what_a_service_does_not_offer_says_so() -> None:
    with pytest.raises(NotOffered) as told:
        Counting().create_experiment("x")
    assert str(told.value) == "Counting does not offer create_experiment()"
    assert told.value.hint == "define create_experiment in Counting"
    assert isinstance(told.value, NotImplementedError)


@pytest.mark.parametrize(
    "kind", [MemoryStream, LocalQueue, RunbusMLOps], ids=lambda one: one.__name__
)
async def test_what_comes_with_runbus_runs_in_a_kernel(kind: Any) -> None:
    adapter = ServiceAdapter(kind())
    async with Kernel(plugins=[adapter]) as kernel:
        assert (await kernel.check_health()).plugins[adapter.name].healthy


def test_a_hub_that_was_shut_down_says_so() -> None:
    hub = ExperimentHub()
    hub.shutdown()
    for call in (
        lambda: hub.register_plugin(MemoryStream()),
        hub.check_plugin_health,
        lambda: hub.create_experiment("a", "time_series"),
        lambda: hub.load("a"),
    ):
        with pytest.raises(HubClosed):
            call()


def test_threads_may_register_services_at_once_and_one_remains() -> None:
    log: list[str] = []
    services = [Counting(f"{number} ", log=log) for number in range(8)]
    with ExperimentHub() as hub:
        threads = [threading.Thread(target=hub.register_plugin, args=(one,)) for one in services]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        remaining = hub.get_plugin("mlops")
    ended = [one for one in log if one.endswith("shutdown")]
    assert len(ended) == len(set(ended)) == 8
    assert isinstance(remaining, Counting)
    assert ended[-1] == f"{remaining.name}shutdown"


def test_a_forked_child_has_no_hub_and_its_end_waits_for_nothing() -> None:
    code = """
    import os, signal
    from runbus.errors import HubClosed
    from runbus.hub import ExperimentHub, LocalQueue

    hub = ExperimentHub([LocalQueue()])
    if (child := os.fork()) == 0:
        signal.alarm(100)
        for call in (hub.check_plugin_health, lambda: hub.get_plugin("taskqueue").submit_task("x")):
            try:
                call()
            except HubClosed as error:
                print(error, flush=True)
        hub.get_plugin("taskqueue").shutdown()
        hub.shutdown()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    hub.shutdown()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "check_plugin_health(): the hub is not open",
        "submit_task(): the task queue is not open",
        "0",
    ], done.stderr
