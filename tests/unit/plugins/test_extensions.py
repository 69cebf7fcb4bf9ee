"""Extensions: what they register, for how long, and what happens when they fail."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, ClassVar

import pytest

import runbus
from runbus import Kernel, LocalExecutor
from runbus.errors import (
    FieldInvalid,
    FieldUnknown,
    HookError,
    PluginStuck,
    TargetUnusable,
    UsageError,
)
from runbus.plugins import (
    Extension,
    ExtensionLife,
    PluginRegistry,
    configure_plugins,
    register_plugin,
    unregister_plugin,
)

BEGIN_S = 5.0
"""How long those that hang are waited for: each must have come there by then."""


class Quiet(LocalExecutor):
    """An executor of an extension."""


class Recorded(Extension):
    """Notes what is called."""

    def __init__(self, name: str = "recorded", **brings: Any) -> None:
        self.name = name
        self.brings = brings
        self.calls: list[Any] = []

    def initialize(self, config: dict[str, Any]) -> None:
        self.calls.append(("initialize", config))

    def register(self, registry: PluginRegistry) -> None:
        self.calls.append("register")
        for name, target in self.brings.items():
            registry.register_executor(name, target)

    def cleanup(self) -> None:
        self.calls.append("cleanup")


def shared() -> PluginRegistry:
    return PluginRegistry.shared()


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        ("CustomPlugin", "custom_plugin"),
        ("MLflowPlugin", "mlflow_plugin"),
        ("Cluster2Plugin", "cluster2_plugin"),
    ],
)
def test_the_name_comes_from_the_class(cls: str, name: str) -> None:
    assert type(cls, (Extension,), {})().name == name


def test_a_class_and_an_object_may_say_another_name() -> None:
    class Named(Extension):
        name = "mine"

    assert Named().name == "mine"
    assert Recorded("other").name == "other"


def test_two_registries_share_nothing_but_what_is_built_in() -> None:
    one, other = PluginRegistry(), PluginRegistry()
    Recorded(quiet=Quiet).register(one)
    assert "quiet" in one.executors
    assert one.executors["quiet"] is Quiet
    assert "quiet" not in other.executors
    assert "quiet" not in shared().executors
    assert {"local", "ssh"} <= {*one.executors}


async def test_what_an_extension_brings_has_its_name_as_long_as_the_kernel_runs() -> None:
    extension = Recorded(quiet=Quiet)
    async with Kernel(plugins=[extension]):
        assert shared().executors["quiet"] is Quiet
        assert shared().executors.origin_of("quiet") == "extension recorded"
    assert "quiet" not in shared().executors
    assert extension.calls == [("initialize", {}), "register", "cleanup"]


async def test_one_kernel_does_not_take_away_what_another_still_has() -> None:
    async with Kernel(plugins=[Recorded(quiet=Quiet)]):
        async with Kernel(plugins=[Recorded(quiet=Quiet)]):
            pass
        assert "quiet" in shared().executors
    assert "quiet" not in shared().executors


async def test_a_register_that_raises_in_the_middle_leaves_nothing_registered() -> None:
    class Half(Recorded):
        def register(self, registry: PluginRegistry) -> None:
            super().register(registry)
            raise ValueError("no cluster")

    extension = Half(quiet=Quiet)
    with pytest.raises(HookError, match="register raised ValueError: no cluster"):
        async with Kernel(plugins=[extension]):
            pass
    assert "quiet" not in shared().executors
    assert extension.calls[-1] == "cleanup"


async def test_a_failed_initialize_is_cleaned_up_and_nothing_is_registered() -> None:
    class Broken(Recorded):
        def initialize(self, config: dict[str, Any]) -> None:
            super().initialize(config)
            raise SystemExit(3)

    extension = Broken(quiet=Quiet)
    with pytest.raises(HookError, match="initialize raised SystemExit: 3"):
        async with Kernel(plugins=[extension]):
            pass
    assert extension.calls == [("initialize", {}), "cleanup"]


async def test_a_hanging_initialize_is_left_behind_and_never_registers_anything() -> None:
    class Hangs(Recorded):
        begin_s: ClassVar[float] = BEGIN_S

        def initialize(self, config: dict[str, Any]) -> None:
            released.wait(120)
            woke.set()

    released, woke = threading.Event(), threading.Event()
    extension = Hangs(quiet=Quiet)
    with pytest.raises(HookError, match=r"left behind after .* initialize and register"):
        async with Kernel(plugins=[extension]):
            pass
    assert not woke.is_set()
    released.set()
    assert woke.wait(120)
    assert extension.calls == ["cleanup"]
    assert "quiet" not in shared().executors


async def test_after_a_part_that_hung_nothing_else_begins() -> None:
    class Hangs(Recorded):
        def initialize(self, config: dict[str, Any]) -> None:
            released.wait(120)

    class Whole(Recorded):
        begin_s: ClassVar[float] = BEGIN_S

    released = threading.Event()
    before = {*threading.enumerate()}
    whole = Whole(quiet=Quiet)
    whole.add_plugin(Hangs("part"))
    with pytest.raises(HookError, match="left behind"):
        async with Kernel(plugins=[whole]):
            pass
    (hung,) = [
        one
        for one in threading.enumerate()
        if one not in before and one.name == "recorded: initialize and register"
    ]
    released.set()
    hung.join(120)
    assert whole.calls == []


async def test_what_hangs_in_register_finds_the_registry_closed() -> None:
    class Hangs(Recorded):
        begin_s: ClassVar[float] = BEGIN_S

        def register(self, registry: PluginRegistry) -> None:
            released.wait(120)
            try:
                super().register(registry)
            except UsageError as error:
                told.append(str(error))
            woke.set()

    told: list[str] = []
    released, woke = threading.Event(), threading.Event()
    with pytest.raises(HookError, match="left behind"):
        async with Kernel(plugins=[Hangs(quiet=Quiet)]):
            pass
    released.set()
    assert woke.wait(120)
    assert told == [
        "executor 'quiet' is registered too late: extension 'recorded' has returned from register()"
    ]
    assert "quiet" not in shared().executors


def begin_and_end_at(line: int, life: ExtensionLife) -> bool:
    """Begin, and have another thread end it at the nth line of that; whether there is such a line.

    A line that is passed with a lock held is one at which the end waits.
    """
    ending = threading.Thread(target=life.end)
    passed = 0

    def trace(frame: FrameType, event: str, value: object) -> Any:
        nonlocal passed
        if frame.f_globals["__name__"] != ExtensionLife.__module__:
            return None
        passed += event == "line"
        if event == "line" and passed == line:
            ending.start()
            ending.join(0.2)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(HookError):  # the registry may be closed by then
            life.begin()
    finally:
        sys.settrace(before)
    if passed >= line:
        ending.join(120)
    return passed >= line


def test_whenever_it_is_given_up_what_begins_is_cleaned_up() -> None:
    line = 1
    while True:
        part, whole = Recorded("part"), Recorded(quiet=Quiet)
        whole.add_plugin(part)
        registry = PluginRegistry()
        if not begin_and_end_at(line, ExtensionLife(whole, registry=registry)):
            break
        for one in part, whole:
            begun = [call for call in one.calls if call != "register"]
            assert sorted(map(str, begun)) in ([], ["cleanup"], ["('initialize', {})", "cleanup"])
        assert "quiet" not in registry.executors
        line += 1
    assert line > 10


async def test_a_cleanup_that_raises_is_told_and_takes_nobody_along() -> None:
    class Raises(Recorded):
        def cleanup(self) -> None:
            super().cleanup()
            raise OSError("gone")

    part, whole = Recorded("part"), Raises(quiet=Quiet)
    whole.add_plugin(part)
    with pytest.raises(ExceptionGroup) as raised:
        async with Kernel(plugins=[whole]):
            pass
    assert raised.group_contains(HookError, match="cleanup raised OSError: gone")
    assert "quiet" not in shared().executors
    assert part.calls[-1] == "cleanup"


async def test_a_name_that_another_extension_has_is_refused_and_the_other_keeps_it() -> None:
    with pytest.raises(HookError, match="Quiet is the executor of that name"):
        async with Kernel(
            plugins=[Recorded(quiet=Quiet), Recorded("second", one=Quiet, quiet=runbus.SSHExecutor)]
        ):
            pass
    async with Kernel(plugins=[Recorded(quiet=Quiet)]) as kernel:
        with pytest.raises(HookError, match="Quiet is the executor of that name"):
            await kernel.start_plugin(Recorded("second", one=Quiet, quiet=runbus.SSHExecutor))
        assert shared().executors["quiet"] is Quiet
        assert "one" not in shared().executors


@pytest.mark.parametrize("name", ["run", "supervise", "", "a b", "-x", "a/b", "é"])
def test_a_command_cannot_shadow_ours_or_have_a_name_that_nobody_can_type(name: str) -> None:
    with pytest.raises(TargetUnusable):
        PluginRegistry().register_command(name, print)


@pytest.mark.parametrize(
    "target", [5, None, str, Recorded], ids=["int", "none", "str", "extension"]
)
def test_what_is_no_executor_is_refused_where_it_is_registered(target: Any) -> None:
    registry = PluginRegistry()
    with pytest.raises(TargetUnusable):
        registry.register_executor("wrong", target)
    assert "wrong" not in registry.executors


def test_the_same_again_is_harmless_and_another_is_not() -> None:
    registry = PluginRegistry()
    extension = Recorded(quiet=Quiet)
    extension.register(registry)
    extension.register(registry)
    with pytest.raises(TargetUnusable, match="Quiet is the executor of that name"):
        registry.register_executor("quiet", LocalExecutor)
    with pytest.raises(TargetUnusable, match="LocalExecutor is the executor of that name"):
        registry.register_executor("local", Quiet)
    assert registry.executors["quiet"] is Quiet


async def test_settings_are_what_the_constructor_takes() -> None:
    class Service(Extension):
        def __init__(self, api_key: str = "", timeout: int = 30) -> None:
            super().__init__()
            self.api_key, self.timeout = api_key, timeout

    configure_plugins({"service": {"api_key": "k"}})
    configure_plugins({"service": {"api_key": "k", "timeout": 60}})
    service = Service()
    async with Kernel(plugins=[service]):
        assert (service.api_key, service.timeout, service.initialized) == ("k", 60, True)
    assert not service.initialized
    with pytest.raises(FieldUnknown, match="timout"):
        service.initialize({"timout": 1})
    with pytest.raises(FieldInvalid):
        configure_plugins({"service": 3})  # type: ignore[dict-item]
    configure_plugins({"service": {}})
    async with Kernel(plugins=[fresh := Service()]):
        assert (fresh.api_key, fresh.timeout) == ("", 30)


async def test_settings_that_do_not_validate_stop_the_start() -> None:
    class Service(Recorded):
        def validate_config(self) -> bool:  # type: ignore[override]
            raise ValueError("API key is required")

    class Refuses(Recorded):
        def validate_config(self, config: Any = None) -> bool:
            return False

    for extension, told in (Service("a"), "API key is required"), (Refuses("b"), "returned False"):
        with pytest.raises(HookError, match=told):
            async with Kernel(plugins=[extension]):
                pass
        assert extension.calls == [("initialize", {}), "cleanup"]


async def test_a_composite_begins_after_its_parts_and_ends_before_them(
    request: pytest.FixtureRequest,
) -> None:
    calls: list[str] = []

    class Part(Extension):
        def __init__(self, name: str) -> None:
            self.name = name

        def initialize(self, config: dict[str, Any]) -> None:
            calls.append(f"begin {self.name} {config}")

        def register(self, registry: PluginRegistry) -> None:
            registry.register_executor(self.name, Quiet)
            super().register(registry)

        def cleanup(self) -> None:
            calls.append(f"end {self.name}")

    configure_plugins({"inner": {"x": 1}})
    request.addfinalizer(lambda: configure_plugins({"inner": {}}))
    whole, inner, innermost = Part("outer"), Part("inner"), Part("innermost")
    inner.add_plugin(innermost)
    whole.add_plugin(inner)
    whole.add_plugin(innermost)
    async with Kernel(plugins=[whole]):
        assert {"outer", "inner", "innermost"} <= {*shared().executors}
    assert calls == [
        "begin innermost {}", "begin inner {'x': 1}", "begin outer {}",
        "end outer", "end inner", "end innermost",
    ]  # fmt: skip
    assert not {"outer", "inner", "innermost"} & {*shared().executors}
    for wrong in (whole, inner, Part, "x"):
        with pytest.raises(FieldInvalid):
            innermost.add_plugin(wrong)  # type: ignore[arg-type]


def test_a_program_registers_one_for_the_rest_of_its_life() -> None:
    extension = Recorded(quiet=Quiet)
    register_plugin(extension)
    register_plugin(extension)
    try:
        run = runbus.api.run(runbus.Command(("true",)), executor="quiet")
        assert run.state == "SUCCEEDED"
    finally:
        unregister_plugin(extension)
        unregister_plugin(extension)
    assert extension.calls == [("initialize", {}), "register", "cleanup"]
    assert "quiet" not in shared().executors
    with pytest.raises(FieldInvalid):
        register_plugin(Recorded)  # type: ignore[arg-type]


def test_a_program_that_registers_a_broken_one_goes_on_without_it() -> None:
    class Hangs(Recorded):
        begin_s: ClassVar[float] = BEGIN_S
        cleanup_s: ClassVar[float] = 0.05

        def initialize(self, config: dict[str, Any]) -> None:
            released.wait(120)

        def cleanup(self) -> None:
            released.wait(120)

    released = threading.Event()
    with pytest.raises(PluginStuck) as raised:
        register_plugin(Hangs(quiet=Quiet))
    assert any("cleanup" in note for note in raised.value.__notes__)
    assert "quiet" not in shared().executors
    released.set()
