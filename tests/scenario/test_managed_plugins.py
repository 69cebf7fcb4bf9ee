"""Backends, collectors, processors and rules in a kernel: what reaches whom, who hurts whom."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from runbus import Command, Job, Kernel, LocalExecutor
from runbus._secrets import Secret
from runbus.abc import Collector, MetricSink, PluginState
from runbus.errors import ConfigInvalid, HookError, MailboxFull
from runbus.events import (
    MetricBatch,
    MetricsProcessed,
    ParamsLogged,
    PluginFailed,
    RunRecorded,
)
from runbus.experiment import ExperimentDraft
from runbus.hub import AsyncPluginManager
from runbus.jobs import JobState
from runbus.plugins import (
    BackendPlugin,
    CollectorPlugin,
    ManagedLife,
    Metric,
    PluginMetadata,
    ProcessorPlugin,
    Routing,
    RoutingRule,
    managed,
)
from runbus.plugins._batches import batch_of
from runbus.testing._waiting import PATIENCE_S, until

JOB = """
import runbus
run = runbus.init()
run.params(lr=0.1)
with open("model", "w") as file:
    file.write("weights")
run.log_artifact("model", "best")
run.log_text("note", "hello")
for step in range(5000):
    run.log("loss", float(step), step=step)
"""


class Tracker(BackendPlugin):
    """Keeps what it is given, and in which order its methods were called."""

    name = "tracker"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.points: list[tuple[str, float, int | None]] = []

    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata(self.name, "1.0", plugin_type="backend")

    def initialize(self, config: dict[str, Any]) -> None:
        self.calls.append(("initialize", config))

    def start(self) -> None:
        self.calls.append(("start",))

    def stop(self) -> None:
        self.calls.append(("stop", len(self.points)))

    def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
        self.points.append((name, value, iteration))

    def log_params(self, params: dict[str, Any]) -> None:
        self.calls.append(("params", params))

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        self.calls.append(("artifact", Path(local_path).read_text(), artifact_path))

    def log_text(self, name: str, text: str, iteration: int | None = None) -> None:
        self.calls.append(("text", name, text))


def points(n: int, name: str = "loss", run_id: str = "run") -> MetricBatch:
    return batch_of(((name, float(k), k, k) for k in range(n)), run_id, "w", n)


@pytest.fixture(autouse=True)
def _unsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing come but what is logged, however long a job takes."""
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")


async def test_a_backend_gets_all_that_a_job_logs_in_order_before_it_is_stopped(
    tmp_path: Path,
) -> None:
    tracker = Tracker()
    job = Job(name="train", task=Command((sys.executable, "-c", JOB)), cwd=str(tmp_path))

    async with Kernel(plugins=[LocalExecutor(), tracker]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    assert tracker.points == [("loss", float(step), step) for step in range(5000)]
    assert tracker.calls == [
        ("initialize", {}),
        ("start",),
        ("params", {"lr": 0.1}),
        ("artifact", "weights", "best"),
        ("text", "note", "hello"),
        ("stop", 5000),
    ]


async def test_a_native_sink_gets_batches_and_records(tmp_path: Path) -> None:
    class Sink(MetricSink):
        name = "sink"

        def __init__(self) -> None:
            self.steps: list[int] = []
            self.facts: list[str] = []

        def can_handle(self, kind: str) -> bool:
            return kind in ("scalar", "artifact")

        async def write(self, batch: MetricBatch) -> None:
            self.steps += [step for _, step, _, _ in batch.points()]

        async def record(self, fact: RunRecorded) -> None:
            self.facts.append(type(fact).__name__)

    sink = Sink()
    job = Job(name="train", task=Command((sys.executable, "-c", JOB)), cwd=str(tmp_path))
    async with Kernel(plugins=[LocalExecutor(), sink]) as kernel:
        await ExperimentDraft("p", [job]).run(kernel.bus)

    assert sink.steps == [*range(5000)]
    assert sink.facts == ["ArtifactLogged"]


async def test_what_a_sink_raises_costs_it_that_one_point_and_is_counted() -> None:
    class Picky(Tracker):
        name = "picky"

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            if iteration == 3:
                raise ValueError("not that one")
            super().log_metric(name, value, iteration)

    picky, tracker = Picky(), Tracker()
    sink = managed(picky)
    async with Kernel(plugins=[sink, tracker]) as kernel:
        await kernel.bus.emit(points(10))
        await kernel.stop_plugin("tracker")
        await until(lambda: sink.counts.points + sink.counts.lost == 10)
        health = await kernel.check_health()
        details = health.plugins["picky"].details

    assert (details["points"], details["lost"]) == (9, 1)
    assert details["error"] == "ValueError: not that one"
    assert not health.plugins["picky"].healthy
    assert [step for _, _, step in picky.points] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert len(tracker.points) == 10


async def test_a_sink_that_loses_points_is_unwell_though_params_arrive_and_tells_it_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Down(Tracker):
        name = "down"
        is_down = True

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            if self.is_down:
                raise ValueError("no space")

    plugin = Down()
    sink = managed(plugin)
    about: Any = {"run_id": "run", "experiment_id": "x", "job": "a", "time_ns": 1}
    async with Kernel(plugins=[sink]) as kernel:
        await kernel.bus.emit(points(10))
        await until(lambda: sink.counts.lost == 10)
        await kernel.bus.publish(ParamsLogged(params={"lr": 0.1}, **about))
        await until(lambda: sink.counts.records == 1)
        health = (await kernel.check_health()).plugins["down"]
        assert (health.healthy, health.details["error"]) == (False, "ValueError: no space")
        plugin.is_down = False
        await kernel.bus.emit(points(10))
        await until(lambda: sink.counts.points == 10)
        health = (await kernel.check_health()).plugins["down"]
        assert (health.healthy, health.details["error"]) == (True, "")
    ends = [one.getMessage() for one in caplog.records if "lost" in one.getMessage()]
    assert ends == ["plugin 'down': took 11, 10 lost; last ValueError: no space"]


async def test_a_sink_that_exits_has_failed_and_is_stopped() -> None:
    class Exits(Tracker):
        name = "exits"

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            raise SystemExit(3)

    exits = managed(Exits())
    async with Kernel(plugins=[exits]) as kernel:
        await kernel.bus.emit(points(10))
        with anyio.fail_after(120):
            await kernel.bus.wait_for(PluginFailed, since=0)
        health = kernel.health().plugins["exits"]
        assert not health.healthy
        assert "log_metric raised SystemExit: 3" in health.error
    assert exits.counts.lost == 10


@pytest.mark.parametrize("method", ["initialize", "start", "stop"])
async def test_what_a_method_raises_is_told_under_its_own_name(method: str) -> None:
    def fails(self: Tracker, *_: Any) -> None:
        raise ValueError("boom")

    plugin = type("Failing", (Tracker,), {method: fails})()
    with pytest.raises((HookError, ExceptionGroup)) as failed:
        async with Kernel(plugins=[plugin]):
            pass
    error = failed.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert str(error) == f"plugin 'tracker': {method} raised ValueError: boom"


async def test_a_sink_whose_server_is_away_is_given_the_same_point_again() -> None:
    class Away(Tracker):
        name = "away"
        refusals = 2

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            if iteration == 5 and self.refusals:
                self.refusals -= 1
                raise ConnectionError("no route")
            super().log_metric(name, value, iteration)

    away = Away()
    async with Kernel(plugins=[away]) as kernel:
        await kernel.bus.emit(points(10))
        await until(lambda: len(away.points) == 10)
        details = (await kernel.check_health()).plugins["away"].details

    assert [step for _, _, step in away.points] == [*range(10)]
    assert (details["lost"], details["retries"], details["error"]) == (0, 2, "")


async def test_a_sink_whose_server_stays_away_is_given_up_when_it_is_stopped() -> None:
    class Gone(Tracker):
        name = "gone"

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            if iteration and iteration >= 4:
                raise ConnectionError("no route")
            super().log_metric(name, value, iteration)

    gone = managed(Gone())
    async with Kernel(plugins=[gone]) as kernel:
        await kernel.bus.emit(points(10))
        with anyio.fail_after(120):
            await kernel.stop_plugin("gone")

    assert (gone.counts.points, gone.counts.lost) == (4, 6)


async def test_a_sink_that_hangs_has_failed_and_touches_nobody_else() -> None:
    let_go, returned = threading.Event(), threading.Event()

    class Stuck(Tracker):
        name = "stuck"

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            let_go.wait(120)
            returned.set()

    stuck, tracker = Stuck(), Tracker()
    failures: list[PluginFailed] = []
    async with Kernel(plugins=[stuck, tracker]) as kernel:
        kernel.bus.on(PluginFailed, failures.append)
        stuck.call_s = 0.05
        await kernel.bus.emit(points(10))
        with anyio.fail_after(120):
            await kernel.bus.wait_for(PluginFailed, since=0)
        await until(lambda: len(tracker.points) == 10)
    assert not returned.is_set()
    let_go.set()

    assert [failure.plugin for failure in failures] == ["stuck"]
    assert ("stop", 0) not in stuck.calls, "its other methods are not called while one hangs"
    assert tracker.calls[-1] == ("stop", 10)


async def test_a_configuration_that_does_not_fit_keeps_a_kernel_from_starting() -> None:
    class Strict(Tracker):
        def get_metadata(self) -> PluginMetadata:
            schema = {"url": {"type": "string", "required": True}}
            return PluginMetadata("strict", "1", "backend", config_schema=schema)

    strict = Strict()
    with pytest.raises(HookError) as failed:
        async with Kernel(plugins=[strict]):
            pass
    assert isinstance(failed.value.__cause__, ConfigInvalid)
    assert str(failed.value).count("'strict'") == 1
    assert strict.calls == []


async def test_a_start_that_fails_is_followed_by_a_stop() -> None:
    class Failing(Tracker):
        def start(self) -> None:
            raise ValueError("boom")

    failing = Failing()
    with pytest.raises(HookError, match="boom"):
        async with Kernel(plugins=[failing]):
            pass
    assert failing.calls == [("initialize", {}), ("stop", 0)]


# -- collectors


async def test_samples_are_metrics_under_the_collectors_name_and_the_rest_is_texts() -> None:
    class Weather(Collector):
        name = "weather"
        interval_s = 0.01

        def __init__(self) -> None:
            self.samples = 0

        async def collect(self) -> Mapping[str, Any]:
            self.samples += 1
            return {"sun": {"hours": 5, "bright": True}, "sky": "blue", "rain": [0.5, float("nan")]}

    tracker, weather = Tracker(), Weather()
    async with Kernel(plugins=[tracker, weather]) as kernel:
        await until(lambda: weather.samples >= 3)
        await kernel.stop_plugin("weather")

    first = {name: value for name, value, step in tracker.points if step == 0}
    assert [*first] == [
        "weather/sun/hours", "weather/sun/bright", "weather/rain/0", "weather/rain/1",
    ]  # fmt: skip
    assert [*first.values()][:3] == [5, 1, 0.5]
    texts = [call for call in tracker.calls if call[0] == "text"]
    assert texts == [("text", "weather/sky", "blue")], "a text is told once, until it changes"


async def test_a_sample_that_fails_costs_one_sample() -> None:
    class Moody(CollectorPlugin):
        samples = 0

        def get_metadata(self) -> PluginMetadata:
            return PluginMetadata("moody", "1", "collector")

        def collect(self) -> Mapping[str, Any]:
            self.samples += 1
            if self.samples == 2:
                raise ValueError("no")
            return {"n": self.samples}

    tracker = Tracker()
    moody = managed(Moody(), {"interval_s": 0.01})
    async with Kernel(plugins=[tracker, moody]):
        await until(lambda: moody.samples >= 4)  # the third of them has been handed on by then

    assert [value for _, value, _ in tracker.points][:3] == [1, 3, 4]
    assert moody.failed == 1


# -- rules and processors


async def test_rules_say_what_goes_to_which_sink() -> None:
    class Other(Tracker):
        name = "other"

    tracker, other, all_of_it = Tracker(), Other(), managed(Tracker(), name="all")
    routing = Routing(
        RoutingRule("run-*-a", "tracker"),
        RoutingRule("run-1-a", "tracker"),
        RoutingRule("*", "other", where=lambda metric: metric.value > 7),
        RoutingRule("*", "other", names="*/acc"),
        RoutingRule("*", "other", names="val/*"),
    )
    async with Kernel(plugins=[routing, tracker, other, all_of_it]) as kernel:
        await kernel.bus.emit(points(10, run_id="run-1-a"))
        await kernel.bus.emit(points(10, run_id="run-1-b"))
        await kernel.bus.emit(points(3, name="val/acc", run_id="run-2-b"))

    assert tracker.points == [("loss", float(k), k) for k in range(10)], "once, whatever fits twice"
    assert [(name, step) for name, _, step in other.points] == [
        *[("loss", 8), ("loss", 9)] * 2,
        *[("val/acc", k) for k in range(3)],
    ]
    assert all_of_it.counts.points == 23


async def test_a_rule_whose_function_raises_lets_nothing_through_and_no_other_sink_minds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RULE_KEY", "s3cret-of-a-rule")
    key = Secret("env:RULE_KEY").value()

    def broken(metric: Metric) -> bool:
        raise KeyError(key)

    class Other(Tracker):
        name = "other"

    tracker, other = Tracker(), Other()
    rule = RoutingRule("*", "tracker", where=broken)
    routing = Routing(rule, RoutingRule("*", "tracker", names="acc"))
    async with Kernel(plugins=[routing, tracker, other]) as kernel:
        await kernel.bus.emit(points(10))
        await kernel.bus.emit(points(2, name="acc"))
        await kernel.stop_plugin("tracker")
        health = (await kernel.check_health()).plugins["routing"]

    assert [name for name, _, _ in tracker.points] == ["acc", "acc"]
    assert len(other.points) == 12
    assert not health.healthy
    assert [told["errors"] for told in health.details["rules"]] == [12, 0]
    assert "lets nothing through: KeyError: '***'" in caplog.text
    assert "s3cret" not in caplog.text + str(health)


async def test_a_rule_for_a_sink_that_is_not_there_waits_for_it_and_can_be_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = Tracker()
    routing = Routing()
    rule = routing.add(RoutingRule("*", "tracker", types=["parameter"]))
    async with Kernel(plugins=[routing]) as kernel:
        assert routing.waiting == (rule,)
        await kernel.start_plugin(tracker)
        assert not [*routing.waiting]
        await kernel.bus.emit(points(3))
        await kernel.stop_plugin("tracker")
        assert routing.waiting == (rule,)
        assert tracker.points == []
        assert routing.remove(rule)
        assert not routing.remove(rule)
        again = managed(Tracker())
        await kernel.start_plugin(again)
        await kernel.bus.emit(points(3))

    assert again.counts.points == 3
    assert "RoutingRule('*', 'tracker', types=['parameter']) waits" in caplog.text


async def test_processors_change_and_filter_what_the_sinks_after_them_get() -> None:
    class Percent(ProcessorPlugin):
        def get_metadata(self) -> PluginMetadata:
            return PluginMetadata("percent", "1", "processor")

        def process(self, metric: Metric) -> Any:
            if metric.step == 7:
                raise ValueError("not that one")
            if metric.step == 8:
                return [metric, metric._replace(name="twice")]
            return metric._replace(value=metric.value * 100) if metric.step % 2 else None

    class Shift(ProcessorPlugin):
        def get_metadata(self) -> PluginMetadata:
            return PluginMetadata("shift", "1", "processor")

        def process(self, metric: Metric) -> Metric:
            return metric._replace(step=metric.step + 1000)

    class Late(Tracker):
        name = "late"

    raw, late, percent = Tracker(), Late(), managed(Percent())
    plugins = [raw, percent, managed(Shift()), late]
    with anyio.fail_after(120):  # they end by themselves, before the kernel loses its patience
        async with Kernel(plugins=plugins, shutdown_budget_s=200) as kernel:
            await kernel.bus.emit(points(10))

    assert len(raw.points) == 10
    assert late.points == [
        ("loss", 100.0, 1001),
        ("loss", 300.0, 1003),
        ("loss", 500.0, 1005),
        ("loss", 8.0, 1008),
        ("twice", 8.0, 1008),
        ("loss", 900.0, 1009),
    ]
    assert (percent.seen, percent.failed) == (10, 1)


async def test_what_a_reader_has_no_room_for_is_not_what_a_processor_missed() -> None:
    class Same(ProcessorPlugin):
        def get_metadata(self) -> PluginMetadata:
            return PluginMetadata("same", "1", "processor")

        def process(self, metric: Metric) -> Metric:
            return metric

    same = managed(Same())
    async with Kernel(plugins=[same]) as kernel:
        async with kernel.bus.stream(MetricsProcessed, maxsize=1, overflow="block"):
            for _ in range(3):
                await kernel.bus.emit(points(1))
            await until(lambda: same.made == 3)
        told = (await kernel.check_health()).plugins["same"].details

    assert (told["made"], told["refused"], told["missed"]) == (3, 2, 0)


async def test_the_state_of_a_managed_plugin_is_one_of_the_kernels() -> None:
    async with Kernel(plugins=[Tracker()]) as kernel:
        assert kernel.health().plugins["tracker"].state is PluginState.STARTED


async def test_a_manager_starts_plugins_in_the_kernel_that_runs_the_jobs(tmp_path: Path) -> None:
    class Registered(Tracker):
        made: list[Tracker] = []  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.made.append(self)

    job = Job(name="train", task=Command((sys.executable, "-c", JOB)), cwd=str(tmp_path))
    async with Kernel(plugins=[LocalExecutor(), Routing()]) as kernel:
        async with AsyncPluginManager(use_default_paths=False, kernel=kernel) as manager:
            await manager.register_plugin(Registered)
            assert await manager.start_plugins({"tracker": {}}) == {"tracker": None}
            await ExperimentDraft("p", [job]).run(kernel.bus)
        assert not kernel.bus.is_closed

    tracker = Registered.made[-1]
    assert [step for _, _, step in tracker.points] == [*range(5000)]
    assert tracker.calls[-1] == ("stop", 5000)


async def test_a_sink_that_stands_still_loses_nothing_that_waits_for_it() -> None:
    let_go = threading.Event()

    class Slow(Tracker):
        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            let_go.wait(120)
            super().log_metric(name, value, iteration)

    slow = Slow()
    async with Kernel(plugins=[slow]) as kernel:
        for step in range(300):
            batch = batch_of([("loss", 0.0, step, 0)], "run", "w", step)
            try:
                kernel.bus.emit_nowait(batch)
            except MailboxFull:
                let_go.set()
                await kernel.bus.emit(batch)

    assert [step for _, _, step in slow.points] == [*range(300)]


async def test_the_methods_of_a_plugin_are_called_one_at_a_time() -> None:
    class Alone(Tracker):
        busy = 0
        worst = 0

        def _call(self) -> None:
            self.busy += 1
            self.worst = max(self.worst, self.busy)
            time.sleep(0.002)
            self.busy -= 1

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            self._call()

        def log_params(self, params: dict[str, Any]) -> None:
            self._call()

    alone = Alone()
    about: dict[str, Any] = {"run_id": "r", "experiment_id": "e", "job": "j", "time_ns": 0}
    async with Kernel(plugins=[alone]) as kernel:
        for step in range(20):
            await kernel.bus.emit(points(2))
            await kernel.bus.publish(ParamsLogged(params={"n": step}, **about))

    assert alone.worst == 1


async def test_a_manager_knows_that_a_running_plugin_has_failed_and_can_begin_anew() -> None:
    let_go = threading.Event()

    class Stuck(Tracker):
        hangs = True

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            if self.hangs:
                let_go.wait(120)

    async with AsyncPluginManager(use_default_paths=False) as manager:
        await manager.register_plugin(Stuck)
        await manager.start_plugins({"tracker": {}})
        bus = (await manager.kernel()).bus
        running = manager.get_plugin_instance("tracker")
        assert running is not None
        running.call_s = 0.05
        await bus.emit(points(1))
        with anyio.fail_after(120):
            await bus.wait_for(PluginFailed, since=0)
        status = (await manager.get_status())["plugins"]["tracker"]
        assert status["state"] == "failed"
        assert "log_metric" in status["error"]
        assert manager.get_plugin_instance("tracker") is None

        Stuck.hangs = False
        assert await manager.start_plugins({"tracker": {}}) == {"tracker": None}
    let_go.set()


@pytest.mark.parametrize("method", ["initialize", "start", "stop"])
async def test_the_error_of_a_plugin_that_repeats_a_secret_does_not(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("the key s3cret-of-managed is not valid")

    monkeypatch.setenv("TRACKER_KEY", "s3cret-of-managed")
    tracker = Tracker()
    setattr(tracker, method, fails)
    with pytest.raises((HookError, ExceptionGroup)) as raised:
        async with Kernel(plugins=[managed(tracker, {"key": {"secret": "env:TRACKER_KEY"}})]):
            pass

    told = "".join(traceback.format_exception(raised.value))
    assert (f"{method} raised ValueError: the key *** is not" in told, "s3cret" in told) == (
        True,
        False,
    )


async def test_a_status_that_came_too_late_is_asked_for_again() -> None:
    asked, answer = threading.Event(), threading.Event()

    class Slow(Tracker):
        def get_status(self) -> dict[str, Any]:
            asked.set()
            answer.wait(120)
            return {"queue": 3}

    life = ManagedLife(Slow())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.status)
        await anyio.to_thread.run_sync(asked.wait, 120)
        tasks.cancel_scope.cancel()
    assert await life.status() == {"error": "get_status() does not return"}
    answer.set()
    with anyio.fail_after(PATIENCE_S):
        while "error" in (status := await life.status()):  # noqa: ASYNC110 - a thread answers
            await anyio.sleep(0.01)

    assert status == {"queue": 3}
