"""Managed plugins by name: their states, what they depend on, and those that misbehave."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import runbus
from runbus.abc import PluginState
from runbus.errors import (
    ConfigInvalid,
    DuplicatePlugin,
    HookError,
    IllegalTransition,
    InvalidPlugin,
    MissingPlugin,
    OrderCycle,
    PluginNotFound,
    PluginNotLoadable,
    PluginStuck,
    SchemaInvalid,
)
from runbus.hub import AsyncPluginManager, PluginManager
from runbus.hub._followed_run import FollowedRun
from runbus.plugins import (
    BackendPlugin,
    CollectorPlugin,
    Metric,
    PluginBase,
    PluginMetadata,
    PluginType,
    ProcessorPlugin,
)
from runbus.testing._waiting import wait_until

CALLS: list[str] = []
LET_GO = threading.Event()


class Part(PluginBase):
    """Tells in `CALLS` what is called; made with a name and what it depends on."""

    name = "part"
    needs: tuple[str, ...] = ()
    schema: Any = None
    words: tuple[str, ...] = ()

    @classmethod
    def get_metadata(cls) -> PluginMetadata:
        return PluginMetadata(
            cls.name,
            "1.0",
            "framework",
            dependencies=cls.needs,
            config_schema=cls.schema,
            capabilities=cls.words,
        )

    def initialize(self, config: dict[str, Any]) -> None:
        CALLS.append(f"initialize {self.name}")

    def start(self) -> None:
        CALLS.append(f"start {self.name}")

    def stop(self) -> None:
        CALLS.append(f"stop {self.name}")

    def get_status(self) -> dict[str, Any]:
        return {"config": dict(self.config)}


def part(name: str, *needs: str, **fields: Any) -> type[Part]:
    return type(name.title(), (Part,), {"name": name, "needs": needs, **fields})


@pytest.fixture
def manager() -> Iterator[PluginManager]:
    CALLS.clear()
    LET_GO.clear()
    with PluginManager(use_default_paths=False, limit_s=40) as manager:
        manager.discover_plugins()
        yield manager
        LET_GO.set()


def run_through(manager: PluginManager, name: str, *more: str) -> None:
    for step in ("initialize", "start", *more):
        getattr(manager, f"{step}_plugin")(name)


def state(manager: PluginManager, name: str) -> PluginState:
    return next(info.state for info in manager.list_plugins() if info.name == name)


def test_a_plugin_goes_from_loaded_to_stopped_and_its_methods_are_called_once(
    manager: PluginManager,
) -> None:
    seen = [manager.register_plugin(part("a")).state]
    for step in ("validate", "initialize", "start", "stop"):
        assert getattr(manager, f"{step}_plugin")("a") is True
        seen.append(state(manager, "a"))

    assert [one.value for one in seen] == [
        "loaded",
        "validated",
        "initialized",
        "started",
        "stopped",
    ]
    assert CALLS == ["initialize a", "start a", "stop a"]


@pytest.mark.parametrize("before", [(), ("initialize", "start"), ("initialize", "stop")])
def test_a_start_that_is_not_due_is_refused_and_calls_nothing(
    manager: PluginManager, before: tuple[str, ...]
) -> None:
    manager.register_plugin(part("a"))
    for step in before:
        getattr(manager, f"{step}_plugin")("a")
    CALLS.clear()

    with pytest.raises(IllegalTransition) as refused:
        manager.start_plugin("a")

    assert (refused.value.plugin, refused.value.verb) == ("a", "start")
    assert refused.value.hint
    assert CALLS == []


@pytest.mark.parametrize("before", [(), ("validate",), ("initialize", "start", "stop")])
def test_a_stop_that_is_not_due_is_refused_and_calls_nothing(
    manager: PluginManager, before: tuple[str, ...]
) -> None:
    manager.register_plugin(part("a"))
    for step in before:
        getattr(manager, f"{step}_plugin")("a")
    CALLS.clear()

    with pytest.raises(IllegalTransition):
        manager.stop_plugin("a")

    assert CALLS == []


def test_to_initialize_anew_stops_the_old_instance_and_those_that_depend_on_it(
    manager: PluginManager,
) -> None:
    manager.register_plugin(part("a"))
    manager.register_plugin(part("b", "a"))
    manager.initialize_plugin("b")
    manager.start_plugin("b")
    old = manager.get_plugin_instance("a")
    CALLS.clear()

    manager.initialize_plugin("a")

    assert CALLS == ["stop b", "stop a", "initialize a"]
    assert manager.get_plugin_instance("a") not in (None, old)
    assert state(manager, "b") is PluginState.STOPPED


def test_a_discovery_leaves_running_plugins_as_they_are(manager: PluginManager) -> None:
    manager.register_plugin(part("a"))
    manager.initialize_plugin("a")
    manager.start_plugin("a")

    infos = manager.discover_plugins()

    assert infos["a"].state is PluginState.STARTED
    assert CALLS == ["initialize a", "start a"]


def test_what_a_plugin_depends_on_is_started_first_and_stopped_last(manager: PluginManager) -> None:
    for one in (part("c", "b"), part("b", "a"), part("a")):
        manager.register_plugin(one)
    manager.initialize_plugin("c")
    manager.start_plugin("c")
    manager.stop_plugin("a")

    assert CALLS == [
        "initialize c",
        "initialize a",
        "start a",
        "initialize b",
        "start b",
        "start c",
        "stop c",
        "stop b",
        "stop a",
    ]


def test_dependencies_are_resolved_to_the_last_in_an_order_that_is_always_the_same(
    manager: PluginManager,
) -> None:
    for one in (part("d", "c", "b"), part("c", "a"), part("b", "a"), part("a")):
        manager.register_plugin(one)

    assert manager.resolve_dependencies(["d"]) == ["a", "c", "b", "d"]
    with pytest.raises(PluginNotFound) as unknown:
        manager.resolve_dependencies(["aa"])
    assert unknown.value.plugin == "aa"


def test_a_circle_of_dependencies_is_named(manager: PluginManager) -> None:
    manager.register_plugin(part("a", "b"))
    manager.register_plugin(part("b", "a"))

    with pytest.raises(OrderCycle) as circle:
        manager.resolve_dependencies(["a"])
    assert circle.value.path == ("a", "b", "a")
    with pytest.raises(OrderCycle):
        manager.initialize_plugin("b")
    assert CALLS == []


def test_a_dependency_that_is_not_there_is_told_with_all_others(manager: PluginManager) -> None:
    class Needy(Part):
        name = "needy"

        @classmethod
        def get_metadata(cls) -> PluginMetadata:
            return PluginMetadata(
                "needy",
                "1",
                "framework",
                dependencies=["ghost", "no-such-package>=2", "pytest>=1"],
                requires=["no-such-other"],
            )

    manager.register_plugin(Needy)
    with pytest.raises(PluginNotLoadable) as missing:
        manager.validate_plugin("needy")

    for told in ("plugin 'ghost'", "no-such-other", "no-such-package>=2"):
        assert told in missing.value.problem
    assert "pytest" not in missing.value.problem
    assert state(manager, "needy") is PluginState.FAILED
    with pytest.raises(MissingPlugin):
        manager.resolve_dependencies(["needy"])


def test_a_missing_distribution_among_the_dependencies_is_shown_and_keeps_nothing_from_starting(
    manager: PluginManager,
) -> None:
    manager.register_plugin(part("a", "no-such-package>=2"))
    manager.initialize_plugin("a")
    manager.start_plugin("a")

    told = manager.get_status()["plugins"]["a"]
    assert told["state"] == "started"
    assert told["missing"] == ["it requires no-such-package>=2, which is not installed"]


def test_the_configuration_is_checked_before_any_code_and_no_message_holds_a_secret(
    manager: PluginManager,
) -> None:
    schema = {
        "url": {"type": "string", "required": True},
        "api_key": {"type": "string", "secret": True},
        "timeout": {"type": "number", "default": 30},
    }
    manager.register_plugin(part("a", schema=schema))

    with pytest.raises(ConfigInvalid) as refused:
        manager.initialize_plugin("a", {"api_key": 12345678, "timeuot": 1})
    assert [problem.path for problem in refused.value.problems] == ["url", "api_key", "timeuot"]
    assert "12345678" not in str(refused.value) + str(manager.get_status())
    assert (CALLS, state(manager, "a")) == ([], PluginState.FAILED)

    manager.initialize_plugin("a", {"url": "u"})
    manager.start_plugin("a")
    told = manager.get_status()["plugins"]["a"]
    assert told["status"] == {"config": {"url": "u", "timeout": 30}}


@pytest.mark.parametrize("method", ["initialize", "start", "stop"])
def test_an_error_that_repeats_a_secret_is_told_without_it(
    manager: PluginManager, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("the key s3cret-of-a-manager is not valid")

    monkeypatch.setenv("TRACKER_KEY", "s3cret-of-a-manager")
    manager.register_plugin(part("a", **{method: fails}))

    def live() -> None:
        manager.initialize_plugin("a", {"key": {"secret": "env:TRACKER_KEY"}})
        manager.start_plugin("a")
        manager.stop_plugin("a")

    with pytest.raises(HookError) as raised:
        live()

    told = "".join(traceback.format_exception(raised.value))
    assert f"{method} raised ValueError: the key *** is not valid" in told
    assert "s3cret" not in told


def test_a_schema_that_is_none_is_told_by_validation(manager: PluginManager) -> None:
    manager.register_plugin(part("a", schema={"url": {"type": "strnig"}}))

    with pytest.raises(SchemaInvalid) as wrong:
        manager.validate_plugin("a")
    assert wrong.value.where == "url.type"


@pytest.mark.parametrize("method", ["initialize", "start"])
def test_a_plugin_that_raises_has_failed_with_the_reason_and_may_be_initialized_anew(
    manager: PluginManager, method: str
) -> None:
    broken = True

    def fail(self: Part, *args: Any) -> None:
        if broken:
            raise ValueError("boom")

    manager.register_plugin(part("a", **{method: fail}))
    with pytest.raises(HookError, match="boom") as failed:
        run_through(manager, "a")
    assert isinstance(failed.value.__cause__, ValueError)
    status = manager.get_status()
    assert status["plugins"]["a"]["state"] == "failed"
    assert "boom" in status["plugins"]["a"]["error"]
    assert (status["loaded"], status["active"], status["errors"]) == (0, 0, 1)

    broken = False
    manager.initialize_plugin("a")
    manager.start_plugin("a")
    assert "error" not in manager.get_status()["plugins"]["a"]


def test_a_plugin_that_raises_when_it_is_stopped_has_failed_and_is_not_active(
    manager: PluginManager,
) -> None:
    def fail(self: Part) -> None:
        raise ValueError("boom")

    manager.register_plugin(part("a", stop=fail))
    manager.initialize_plugin("a")
    manager.start_plugin("a")
    with pytest.raises(HookError, match="boom"):
        manager.stop_plugin("a")

    assert state(manager, "a") is PluginState.FAILED


@pytest.mark.parametrize("method", ["initialize", "start", "stop"])
def test_a_plugin_that_hangs_has_failed_in_time_and_others_go_on(
    manager: PluginManager, method: str
) -> None:
    class Stuck(Part):
        """Has little time for the one method that hangs, and all of it for the others."""

        name = "stuck"
        calls = ("initialize", "start", "stop")
        call_s = 0.05 if method == "initialize" else None

        def _called(self, doing: str) -> None:
            if doing == method:
                LET_GO.wait(120)
            elif self.calls.index(doing) + 1 == self.calls.index(method):
                self.call_s = 0.05

        def initialize(self, config: dict[str, Any]) -> None:
            self._called("initialize")

        def start(self) -> None:
            self._called("start")

        def stop(self) -> None:
            self._called("stop")

    manager.register_plugin(Stuck)
    manager.register_plugin(part("well"))
    with pytest.raises(PluginStuck):
        run_through(manager, "stuck", "stop")

    manager.initialize_plugin("well")
    manager.start_plugin("well")
    assert manager.get_status()["plugins"]["well"]["state"] == "started"
    assert state(manager, "stuck") is PluginState.FAILED


def test_a_plugin_that_exits_the_process_has_only_failed(manager: PluginManager) -> None:
    def leave(self: Part, config: Any) -> None:
        raise SystemExit(3)

    manager.register_plugin(part("a", initialize=leave))
    with pytest.raises(HookError, match="SystemExit"):
        manager.initialize_plugin("a")


def test_a_status_that_hangs_or_raises_is_told_as_such_and_others_are_there(
    manager: PluginManager,
) -> None:
    def fail(self: Part) -> dict[str, Any]:
        raise ValueError("boom")

    def hang(self: Part) -> dict[str, Any]:
        LET_GO.wait(120)
        return {}

    for one in (part("a"), part("b", get_status=fail), part("c", get_status=hang)):
        manager.register_plugin(one)
    assert manager.start_plugins({"a": {}, "b": {}, "c": {}}) == dict.fromkeys("abc")

    def statuses() -> dict[str, Any]:
        told = manager.get_status()["plugins"]
        return {name: told[name]["status"] for name in "abc"}

    # Where the machine stalls, those that answer are too late, too, and so they are asked again.
    late = {"error": "get_status() does not return"}
    expected = {"a": {"config": {}}, "b": {"error": "ValueError: boom"}, "c": late}
    wait_until(lambda: statuses() == expected)


def test_all_are_started_in_order_and_one_that_fails_keeps_only_its_dependents_from_it(
    manager: PluginManager,
) -> None:
    def fail(self: Part) -> None:
        raise ValueError("boom")

    for one in (part("b", "a"), part("a"), part("y", "x"), part("x", start=fail), part("z")):
        manager.register_plugin(one)
    outcomes = manager.start_plugins({"b": {}, "y": {}, "z": {}, "ghost": {}})

    assert {name for name, error in outcomes.items() if error is None} == {"a", "b", "z"}
    assert isinstance(outcomes["x"], HookError)
    assert isinstance(outcomes["y"], MissingPlugin)
    assert isinstance(outcomes["ghost"], PluginNotFound)
    assert CALLS.index("start a") < CALLS.index("start b")
    assert "initialize y" not in CALLS

    CALLS.clear()
    assert manager.stop_all_plugins() == dict.fromkeys(["b", "a", "z"])
    assert CALLS.index("stop b") < CALLS.index("stop a")
    assert manager.get_status()["active"] == 0


def test_independent_plugins_start_and_stop_at_the_same_time(manager: PluginManager) -> None:
    together = threading.Barrier(3, timeout=120)

    def meet(self: Part) -> None:
        together.wait()

    for name in "abc":
        manager.register_plugin(part(name, start=meet, stop=meet))

    assert manager.start_plugins({"a": {}, "b": {}, "c": {}}) == dict.fromkeys("abc")
    assert manager.stop_all_plugins() == dict.fromkeys("abc")


def test_what_does_not_stop_by_the_deadline_is_told_and_the_others_are_stopped() -> None:
    CALLS.clear()
    LET_GO.clear()

    def hang(self: Part) -> None:
        LET_GO.wait(120)

    with PluginManager(use_default_paths=False) as manager:
        manager.register_plugin(part("stuck", stop=hang))
        manager.register_plugin(part("well"))
        manager.start_plugins({"stuck": {}, "well": {}})
        outcomes = manager.stop_all_plugins(deadline_s=5)
        LET_GO.set()

    assert outcomes["well"] is None
    assert isinstance(outcomes["stuck"], PluginStuck)
    assert "stop well" in CALLS


def test_a_name_is_registered_once_and_the_same_class_again_changes_nothing(
    manager: PluginManager,
) -> None:
    one = part("a")
    manager.register_plugin(one)
    manager.initialize_plugin("a")

    assert manager.register_plugin(one).state is PluginState.INITIALIZED
    with pytest.raises(DuplicatePlugin):
        manager.register_plugin(part("a"))


@pytest.mark.parametrize("what", ["abstract", "plain", "instance", "silent"])
def test_what_is_no_managed_plugin_is_not_registered(manager: PluginManager, what: str) -> None:
    class Silent(Part):
        @classmethod
        def get_metadata(cls) -> Any:
            return None

    class Half(BackendPlugin):
        def get_metadata(self) -> PluginMetadata:
            return PluginMetadata("half", "1", "backend")

    given: Any = {"abstract": Half, "plain": dict, "instance": Part(), "silent": Silent}[what]
    with pytest.raises(InvalidPlugin):
        manager.register_plugin(given)
    assert manager.list_plugins() == []


def test_plugins_are_found_by_name_type_and_capability(manager: PluginManager) -> None:
    one = part("a", words=("metrics",))
    manager.register_plugin(one)
    manager.register_plugin(part("b"))

    assert manager.get_plugin("framework", "a") is one
    assert manager.get_plugin(PluginType.BACKEND, "a") is None
    assert manager.get_plugin_by_name("a") is one
    assert manager.get_plugin_by_name("ghost") is None
    assert [info.name for info in manager.list_plugins("framework")] == ["a", "b"]
    assert manager.get_plugins_by_type("backend") == []
    assert [info.name for info in manager.list_plugins(capability="metrics")] == ["a"]
    info = manager.list_plugins()[0]
    assert info["metadata"] is info.metadata
    assert manager.get_plugin_instance("a") is None


def test_a_kind_from_outside_is_a_kind(manager: PluginManager) -> None:
    class Exporter(Part):
        name = "exporter"

        @classmethod
        def get_metadata(cls) -> PluginMetadata:
            return PluginMetadata("exporter", "1", "exporter")

    manager.register_plugin(Exporter)

    assert [info.name for info in manager.list_plugins("exporter")] == ["exporter"]
    assert PluginType("exporter") is PluginType("exporter") == "exporter"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plugins.json", '{"a": {"url": "u"}}'),
        ("plugins.yaml", "plugins:\n  a:\n    url: u\n"),
    ],
)
def test_a_file_says_how_plugins_are_configured(
    manager: PluginManager, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    manager.register_plugin(part("a", schema={"url": {"type": "string"}}))

    assert manager.load_config(tmp_path / name) == {"a": {"url": "u"}}
    assert manager.start_plugins() == {"a": None}
    assert manager.get_status()["plugins"]["a"]["status"] == {"config": {"url": "u"}}


def test_what_is_wrong_in_a_file_is_told_with_its_line(
    manager: PluginManager, tmp_path: Path
) -> None:
    file = tmp_path / "plugins.yaml"
    file.write_text("a:\n  url: u\n  timeout: soon\n")
    manager.register_plugin(
        part("a", schema={"url": {"type": "string"}, "timeout": {"type": "number"}})
    )
    manager.load_config(file)
    with pytest.raises(ConfigInvalid) as refused:
        manager.initialize_plugin("a")
    (problem,) = refused.value.problems
    assert (problem.path, problem.origin, problem.line) == ("timeout", str(file), 3)

    file.write_text("a: 3\n")
    with pytest.raises(ConfigInvalid) as refused:
        manager.load_config(file)
    assert refused.value.problems[0].line == 1


def test_a_secret_is_a_reference_until_the_plugin_gets_it(
    manager: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER_KEY", "s3cret")
    seen: list[Any] = []

    def initialize(self: Part, config: Any) -> None:
        seen.append(config)

    manager.register_plugin(
        part("a", schema={"key": {"type": "string", "secret": True}}, initialize=initialize)
    )
    manager.initialize_plugin("a", {"key": {"secret": "env:TRACKER_KEY"}})

    assert seen == [{"key": "s3cret"}]


def test_what_a_run_of_this_process_logs_reaches_the_sinks_of_a_manager(tmp_path: Path) -> None:
    class Tracker(BackendPlugin):
        points: list[tuple[str, float, int | None]] = []  # noqa: RUF012
        others: list[Any] = []  # noqa: RUF012

        @classmethod
        def get_metadata(cls) -> PluginMetadata:
            return PluginMetadata("tracker", "1", "backend")

        def stop(self) -> None:
            self.others.append("stop")

        def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
            self.points.append((name, value, iteration))

        def log_params(self, params: dict[str, Any]) -> None:
            self.others.append(params)

        def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
            self.others.append(artifact_path)

    (tmp_path / "model").write_text("weights")
    with PluginManager(use_default_paths=False) as manager:
        manager.register_plugin(Tracker)
        manager.start_plugins({"tracker": {}})
        with runbus.init(project="followed", config={"lr": 0.1}) as run:
            manager.follow_run(run.id)
            for step in range(3000):
                run.log("loss", float(step), step=step)
            run.log_artifact(tmp_path / "model", "best")
            manager.stop_all_plugins()

    assert Tracker.points == [("loss", float(step), step) for step in range(3000)]
    assert Tracker.others == [{"lr": 0.1}, "best", "stop"]


def test_variables_and_the_file_of_the_folder_configure_a_plugin_and_the_call_goes_first(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runbus.yaml").write_text(
        "plugins:\n  a:\n    url: file\n    user: file\n    n: x\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNBUS_PLUGIN_A_USER", "variable")
    names = ("url", "user", "n")
    manager.register_plugin(part("a", schema={name: {"type": "string"} for name in names}))
    manager.initialize_plugin("a", {"url": "call"})
    instance = manager.get_plugin_instance("a")
    assert instance is not None
    assert instance.config == {"url": "call", "user": "variable", "n": "x"}

    manager.register_plugin(part("b", schema={"n": {"type": "number"}}))
    (tmp_path / "runbus.yaml").write_text("plugins:\n  b:\n    n: x\n")
    with pytest.raises(ConfigInvalid) as refused:
        manager.initialize_plugin("b")
    assert refused.value.problems[0].origin == f"{tmp_path / 'runbus.yaml'}:3"


POINTS: list[float] = []
SAMPLED = threading.Event()


class Staged(PluginBase):
    """Tells when it begins and ends."""

    name = ""
    kind = ""

    @classmethod
    def get_metadata(cls) -> PluginMetadata:
        return PluginMetadata(cls.name, "1", cls.kind)

    def start(self) -> None:
        CALLS.append(f"start {self.name}")

    def stop(self) -> None:
        CALLS.append(f"stop {self.name}")


class Sink(Staged, BackendPlugin):
    name, kind = "a-sink", "backend"

    def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
        POINTS.append(value)

    def log_params(self, params: dict[str, Any]) -> None: ...

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None: ...


class Gauge(Staged, CollectorPlugin):
    name, kind = "a-gauge", "collector"
    interval_s = 3600.0  # once: it samples as it begins

    def collect(self) -> dict[str, float]:
        SAMPLED.set()
        return {"x": 1.0}


class Plus(Staged, ProcessorPlugin):
    name, kind = "z-plus", "processor"

    def process(self, metric: Metric) -> Metric:
        return metric._replace(value=metric.value + 1)


class Times(Plus):
    name = "z-times"

    def process(self, metric: Metric) -> Metric:
        return metric._replace(value=metric.value * 10)


def test_points_flow_from_collectors_through_processors_to_sinks_from_first_to_last(
    manager: PluginManager,
) -> None:
    POINTS.clear()
    SAMPLED.clear()
    for one in (Gauge, Sink, Plus, Times):
        manager.register_plugin(one)
    names = ["a-gauge", "a-sink", "z-plus", "z-times"]
    assert manager.start_plugins({name: {} for name in names}) == dict.fromkeys(names)
    assert SAMPLED.wait(120)
    assert manager.stop_all_plugins() == dict.fromkeys(names)

    assert POINTS == [20.0]
    assert [
        *(f"start {name}" for name in ("z-plus", "z-times", "a-sink", "a-gauge")),
        *(f"stop {name}" for name in ("a-gauge", "z-plus", "z-times", "a-sink")),
    ] == CALLS


async def test_who_asks_while_plugins_are_looked_for_waits_for_what_is_found(
    tmp_path: Path,
) -> None:
    text = "from runbus.plugins import PluginBase, PluginMetadata\n"
    for name in ("One", "Two"):
        text += (
            f"class {name}(PluginBase):\n    def get_metadata(self=None):\n"
            f"        return PluginMetadata({name.lower()!r}, '1.0', 'framework')\n"
        )
    (tmp_path / "both.py").write_text(text)
    async with AsyncPluginManager([tmp_path], use_default_paths=False) as manager:
        found = await asyncio.gather(*map(manager.get_plugin_by_name, ("one", "two", "three")))

    assert [one and one.__name__ for one in found] == ["One", "Two", None]


async def test_a_folder_that_no_variable_could_name_is_looked_in(tmp_path: Path) -> None:
    folder = tmp_path / "mine: plugins"
    folder.mkdir()
    (folder / "quiet.py").write_text(
        "from runbus.plugins import PluginBase, PluginMetadata\n"
        "class Quiet(PluginBase):\n    def get_metadata(self=None):\n"
        "        return PluginMetadata('quiet', '1.0', 'framework')\n"
    )
    async with AsyncPluginManager([folder], use_default_paths=False) as manager:
        assert [*await manager.discover_plugins()] == ["quiet"]


async def test_a_run_that_has_ended_is_followed_again_and_leaves_nothing_behind() -> None:
    with runbus.init(project="followed") as run:
        run.log("loss", 1.0)
    async with AsyncPluginManager(use_default_paths=False) as manager:
        kernel = await manager.kernel()
        there = len(kernel.hosts)
        for _ in range(3):
            await manager.follow_run(run.id)
            followed = kernel.hosts[-1].plugin
            assert isinstance(followed, FollowedRun)
            with anyio.fail_after(120):
                await followed.finish()

        assert len(kernel.hosts) == there + 1


@pytest.mark.parametrize("steps", range(8))
async def test_a_kernel_whose_start_was_cancelled_is_tried_once_more(steps: int) -> None:
    async with AsyncPluginManager(use_default_paths=False) as manager:
        starting = asyncio.create_task(manager.kernel())
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])

        await manager.register_plugin(part("a"))
        await manager.initialize_plugin("a")
        assert await manager.start_plugin("a")
