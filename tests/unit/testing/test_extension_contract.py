"""The kit for extensions: good ones pass it, and each broken one fails where it is broken."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runbus import LocalExecutor
from runbus.plugins import Extension, PluginRegistry
from runbus.testing.conformance.extension import ExtensionContract


class Quiet(LocalExecutor):
    """An executor of an extension."""


def speak() -> None:
    """Say something."""


class Good(Extension):
    """Brings an executor and a command, and takes a setting."""

    def __init__(self, level: int = 1) -> None:
        self.level = level

    def register(self, registry: PluginRegistry) -> None:
        registry.register_executor("quiet", Quiet)
        registry.register_command("speak", speak)


class TestGood(ExtensionContract):
    @pytest.fixture
    def make(self) -> Callable[[], Extension]:
        return Good

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"level": 3}


class TestComposite(ExtensionContract):
    @pytest.fixture
    def make(self) -> Callable[[], Extension]:
        def composite() -> Extension:
            class Whole(Extension):
                pass

            whole = Whole()
            whole.add_plugin(Good())
            return whole

        return composite


class Nameless(Good):
    name = ""


class Renamed(Good):
    def __init__(self) -> None:
        self.name = f"renamed_{id(self)}"


class Nothing(Extension):
    pass


class Elsewhere(Good):
    def register(self, registry: PluginRegistry) -> None:
        super().register(registry)
        PluginRegistry.shared().register_executor("elsewhere", Quiet)


class Missing(Good):
    def register(self, registry: PluginRegistry) -> None:
        registry.register_executor("missing", "no_such_module_anywhere:Executor")


class Once(Good):
    done = False

    def register(self, registry: PluginRegistry) -> None:
        if self.done:
            raise RuntimeError("registered already")
        self.done = True
        super().register(registry)


class Growing(Good):
    count = 0

    def register(self, registry: PluginRegistry) -> None:
        type(self).count += 1
        registry.register_executor(f"quiet{self.count}", Quiet)


class Greedy(Good):
    def initialize(self, config: dict[str, Any]) -> None:
        config["mine"] = True


class Demanding(Good):
    def cleanup(self) -> None:
        if not self.initialized:
            raise RuntimeError("not initialized")
        super().cleanup()


class Hanging(Good):
    def initialize(self, config: dict[str, Any]) -> None:
        released.wait(120)


class Threads(Good):
    def initialize(self, config: dict[str, Any]) -> None:
        threading.Thread(target=released.wait, args=(60,), daemon=True).start()


class Moves(Good):
    def initialize(self, config: dict[str, Any]) -> None:
        os.chdir("/")


class Sets(Good):
    def initialize(self, config: dict[str, Any]) -> None:
        os.environ["LEFT_BEHIND"] = "1"


class Tired(Good):
    is_over = False

    def initialize(self, config: dict[str, Any]) -> None:
        if self.is_over:
            raise RuntimeError("over")

    def cleanup(self) -> None:
        self.is_over = True


released = threading.Event()

BROKEN = {
    Nameless: "test_it_is_an_extension_with_a_name_of_its_own",
    Renamed: "test_it_is_an_extension_with_a_name_of_its_own",
    Nothing: "test_it_registers_something_where_it_is_told_to",
    Elsewhere: "test_it_registers_something_where_it_is_told_to",
    Missing: "test_all_that_it_registers_can_be_imported_and_is_of_its_kind",
    Once: "test_it_registers_the_same_each_time",
    Growing: "test_it_registers_the_same_each_time",
    Greedy: "test_its_settings_stay_as_they_are",
    Demanding: "test_it_can_be_cleaned_up_at_any_time",
    Hanging: "test_it_lives_as_a_whole",
    Threads: "test_it_leaves_the_process_as_it_was",
    Moves: "test_it_leaves_the_process_as_it_was",
    Sets: "test_it_leaves_the_process_as_it_was",
    Tired: "test_it_can_begin_again_after_its_end",
}


@pytest.mark.parametrize("broken", BROKEN, ids=[one.__name__ for one in BROKEN])
def test_the_kit_fails_on_a_broken_extension(
    broken: type[Extension], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("LEFT_BEHIND", "")  # and taken back at the end
    request.addfinalizer(lambda: PluginRegistry.shared().executors.unregister("elsewhere"))
    request.addfinalizer(released.set)
    released.clear()
    contract = ExtensionContract()
    check = getattr(contract, BROKEN[broken])
    arguments: tuple[Any, ...] = (broken,) if BROKEN[broken].endswith("own") else (broken, {})
    check(*(Good, *arguments[1:]))
    contract.limit_s = 0.2
    with pytest.raises(Exception):  # noqa: B017, PT011 - each check fails in its own way
        check(*arguments)
