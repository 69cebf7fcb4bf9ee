"""What every hook value must do: plugins that are a `runbus.Plugin`.

    class TestMine(HookContract):
        @pytest.fixture
        def make(self) -> Callable[[], Plugin]:
            return my_plugin

The hooks are called as a kernel and a worker process call them. Where a test would need a machine
with what the plugin brings, such as its framework, `around_app` is entered as the only process of
one machine; override `can_enter` if not even that works here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import threading
from collections.abc import Callable  # noqa: TC003 - fixtures are read at run time
from contextlib import AbstractContextManager
from pathlib import Path  # noqa: TC003
from typing import Any

import pytest

from runbus import Image, Kernel, Plugin
from runbus.events import (
    Accelerator,
    Bootstrap,
    Cluster,
    ClusterSpec,
    ImageTransform,
    InstanceInfo,
    PipIndex,
)
from runbus.plugins import (
    WorkerHooks,
    image_script,
    is_for_workers,
    plugin_data,
    plugin_from,
    render_ops,
)
from runbus.testing._waiting import PATIENCE_S

__all__ = ["HookContract", "within"]

CLUSTERS = (
    Cluster(),
    Cluster(spec=ClusterSpec(nodes=4, accelerator=Accelerator(type="A100", count=8))),
    Cluster(spec=ClusterSpec(accelerator=Accelerator(type="MI300X", is_cuda=False))),
)
FULL = Image(
    base="base",
    python="3.11",
    pip=("of-the-user",),
    pip_indexes=(PipIndex("https://index.example/simple", ("of-the-user",)),),
    apt=("git",),
    env={"OF_THE_USER": "1"},
    secrets={"SECRET_OF_THE_USER": "env:S"},
)
SHELLS = ("dash", "bash", "busybox sh")
LIMIT_S = PATIENCE_S


class HookContract:
    """What every plugin that is a hook value must do."""

    can_enter = True
    """Whether `around_app` can be entered in this process, as the only one there is."""

    @pytest.fixture
    def make(self) -> Callable[[], Plugin]:
        """Return a function that makes the plugin."""
        raise NotImplementedError("a subclass of the contract has a fixture `make`")

    @pytest.fixture
    def plugin(self, make: Callable[[], Plugin]) -> Plugin:
        """Return the plugin."""
        return make()

    def test_it_is_a_plugin_with_a_name_and_each_time_the_same(
        self, plugin: Plugin, make: Callable[[], Plugin]
    ) -> None:
        """It is a value."""
        assert isinstance(plugin, Plugin)
        assert plugin.name
        assert make().name == plugin.name
        assert dataclasses.replace(plugin) == plugin

    async def test_a_kernel_takes_it_and_asks_it_for_images(self, plugin: Plugin) -> None:
        """So it is in the process that leads."""
        async with Kernel(plugins=[plugin]) as kernel:
            for cluster in CLUSTERS:
                image = await kernel.bus.apply(ImageTransform(FULL, cluster=cluster))
                assert isinstance(image, Image)
                await kernel.bus.collect(Bootstrap(cluster=cluster))

    def test_its_transform_is_pure_and_adds_to_what_others_asked_for(self, plugin: Plugin) -> None:
        """It may be called any number of times."""
        if plugin.transform is None:
            return
        before = dict(os.environ)
        for cluster in CLUSTERS:
            image = plugin.transform(FULL, cluster)

            assert plugin.transform(FULL, cluster) == image, "twice the same gives two images"
            assert set(FULL.pip) <= set(image.pip), "it drops packages of others"
            assert set(FULL.pip_indexes) <= set(image.pip_indexes), "it drops an index of others"
            assert set(FULL.apt) <= set(image.apt), "it drops system packages of others"
            for field in ("env", "secrets"):
                kept = getattr(image, field)
                lost = {name for name in getattr(FULL, field) if name not in kept}
                assert not lost, f"it drops variables of others from {field}: {lost}"
            assert set(plugin.transform(image, cluster).pip) == set(image.pip), "not idempotent"
            assert dict(os.environ) == before, "it changes the environment of this process"

    def test_its_script_is_shell_that_every_sh_reads_and_holds_no_secret(
        self, plugin: Plugin, tmp_path: Path
    ) -> None:
        """A machine may have any of the shells."""
        for cluster in CLUSTERS:
            ops = plugin.bootstrap(cluster) if plugin.bootstrap else ()
            assert isinstance(ops, (tuple, list)), "bootstrap returns a tuple of operations"
            again = plugin.bootstrap(cluster) if plugin.bootstrap else ()
            assert render_ops(ops) == render_ops(again), "twice the same gives two scripts"
            image = plugin.transform(FULL, cluster) if plugin.transform else FULL
            script = tmp_path / "script.sh"
            script.write_text(image_script(image, ops))
            for shell in SHELLS:
                checked = subprocess.run(
                    [*shell.split(), "-n", str(script)],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=LIMIT_S,
                )
                assert checked.returncode == 0, checked.stderr

    def test_its_decorator_keeps_arguments_results_errors_and_the_name(
        self, plugin: Plugin
    ) -> None:
        """A function stays what it was."""
        if plugin.decorate is None:
            return

        def task(first: int, *rest: int, key: str = "") -> tuple[Any, ...]:
            return first, rest, key

        def fails() -> None:
            raise KeyError("of the task")

        wrapped = plugin.decorate(task)
        assert wrapped(1, 2, key="k") == (1, (2,), "k")
        assert wrapped(3) == (3, (), ""), "the second call differs"
        assert wrapped.__name__ == "task", "it lacks functools.wraps"
        with pytest.raises(KeyError, match="of the task"):
            plugin.decorate(fails)()

    def test_its_lifecycles_are_context_managers_and_cheap_to_make(self, plugin: Plugin) -> None:
        """Nothing happens before they are entered."""
        before = dict(os.environ)
        if plugin.around_app is not None:
            made = plugin.around_app(InstanceInfo())
            assert isinstance(made, AbstractContextManager)
            assert plugin.around_app(InstanceInfo()) is not made, "one manager for two processes"
        if plugin.around_client is not None:
            assert isinstance(plugin.around_client(None, Cluster()), AbstractContextManager)
        assert dict(os.environ) == before, "making one changes the environment"

    def test_the_only_process_of_a_machine_enters_and_leaves_it(self, plugin: Plugin) -> None:
        """It leaves nothing behind."""
        if plugin.around_app is None or not self.can_enter:
            return
        before = dict(os.environ)
        hooks = WorkerHooks([plugin], InstanceInfo())
        try:
            result = within(lambda: hooks.wrapped(lambda: 3)())
        finally:
            failures = within(hooks.close)

        assert result == 3
        assert failures == []
        assert dict(os.environ) == before, "it leaves variables behind"

    def test_a_worker_process_can_make_it(self, plugin: Plugin) -> None:
        """What travels is data."""
        if not is_for_workers(plugin):
            return
        data = json.loads(json.dumps(plugin_data(plugin)))
        again = plugin_from(data)

        assert again.name == plugin.name
        for hook in ("decorate", "around_app"):
            assert (getattr(again, hook) is None) == (getattr(plugin, hook) is None)


def within(fn: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """Return what a function returns, unless that takes too long."""
    found: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            found.append(fn())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(limit_s)
    assert not thread.is_alive(), f"it takes longer than {limit_s:g} s"
    if errors:
        raise errors[0]
    return found[0]
