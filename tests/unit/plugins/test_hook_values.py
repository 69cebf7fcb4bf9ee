"""Plugins as values with hooks: what they are, how they combine, and that they are handlers."""

from __future__ import annotations

import dataclasses
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runbus import Cluster, Image, InstanceInfo, Kernel, Plugin
from runbus._secrets import Secret
from runbus.errors import DuplicatePlugin, HookError, InvalidHandler, PluginError
from runbus.events import Bootstrap, ImageTransform, JobDraft, JobTransform, TaskCall, WorkerLife
from runbus.plugins import Op, client_hooks, phase

CLUSTER = Cluster(name="j")


def adds(package: str) -> Callable[[Image, Cluster], Image]:
    return lambda image, cluster: dataclasses.replace(image, pip=(*image.pip, package))


def echoes(word: str) -> Callable[[Cluster], tuple[Op, ...]]:
    return lambda cluster: (f"echo {word} {cluster.name}", phase(word))


def says(word: str) -> Callable[[Callable[..., str]], Callable[..., str]]:
    return lambda fn: lambda *args: f"{word}({fn(*args)})"


def notes(log: list[str], name: str) -> Callable[..., Any]:
    @contextmanager
    def life(*about: Any) -> Iterator[None]:
        log.append(f"enter {name}")
        try:
            yield
        finally:
            log.append(f"exit {name}")

    return life


def test_a_plugin_is_a_frozen_value_that_replace_copies() -> None:
    plugin = Plugin.create("p")

    changed = plugin.with_image_transform(adds("a"))

    assert plugin == Plugin("p")
    assert changed != plugin
    assert dataclasses.replace(changed, name="q").transform is changed.transform
    with pytest.raises(dataclasses.FrozenInstanceError):
        plugin.name = "q"  # type: ignore[misc]
    assert not hasattr(plugin, "__dict__")
    fields = [field.name for field in dataclasses.fields(Plugin)][:6]
    assert fields == ["name", "transform", "bootstrap", "decorate", "around_app", "around_client"]


def test_a_second_hook_of_a_kind_follows_the_first() -> None:
    log: list[str] = []
    plugin = Plugin.create("p")
    for word in ("a", "b", "c"):
        plugin = (
            plugin.with_image_transform(adds(word))
            .with_bootstrap(echoes(word))
            .with_decorator(says(word))
            .with_around_app(notes(log, word))
            .with_around_client(notes(log, word.upper()))
        )
    assert plugin.transform
    assert plugin.bootstrap
    assert plugin.decorate
    assert plugin.around_app
    assert plugin.around_client

    assert plugin.transform(Image(), CLUSTER).pip == ("a", "b", "c")
    assert plugin.bootstrap(CLUSTER) == tuple(
        op for word in ("a", "b", "c") for op in echoes(word)(CLUSTER)
    )
    assert plugin.decorate(lambda: "fn")() == "a(b(c(fn)))"
    with plugin.around_app(InstanceInfo()), plugin.around_client(None, CLUSTER):
        log.append("body")
    app = ["enter a", "enter b", "enter c"]
    client = ["enter A", "enter B", "enter C", "body", "exit C", "exit B", "exit A"]
    assert log == [*app, *client, "exit c", "exit b", "exit a"]


async def async_hook(*about: Any) -> None: ...


def generator(*about: Any) -> Iterator[None]:
    yield


@pytest.mark.parametrize("hook", ["transform", "bootstrap", "decorate", "around_app"])
@pytest.mark.parametrize("given", [async_hook, lambda: None, 3, generator], ids=lambda one: "")
def test_a_hook_that_can_never_work_is_refused_where_it_is_given(hook: str, given: Any) -> None:
    with pytest.raises(InvalidHandler, match="'p'"):
        Plugin("p", **{hook: given})


def test_a_lifecycle_that_is_a_generator_is_told_which_decorator_it_lacks() -> None:
    with pytest.raises(InvalidHandler) as caught:
        Plugin.create("p").with_around_app(generator)  # type: ignore[arg-type]

    assert "@contextmanager" in str(caught.value.hint)


async def test_the_hooks_are_handlers_of_events() -> None:
    log: list[str] = []
    plugins = [
        Plugin.create(word)
        .with_image_transform(adds(word))
        .with_bootstrap(echoes(word))
        .with_decorator(says(word))
        .with_around_app(notes(log, word))
        for word in ("a", "b")
    ]
    async with Kernel(plugins=plugins) as kernel:
        image = await kernel.bus.apply(ImageTransform(Image(), cluster=CLUSTER))
        lines = await kernel.bus.collect(Bootstrap(cluster=CLUSTER))
        wrapped = kernel.bus.decorate(TaskCall(), lambda: "fn")
        async with kernel.bus.around(WorkerLife()):
            log.append("body")

    assert image.pip == ("a", "b")
    assert [(name, line) for name, line in lines if line.startswith("echo")] == [
        ("a", "echo a j"),
        ("b", "echo b j"),
    ]
    assert wrapped() == "a(b(fn))"
    assert log == ["enter a", "enter b", "body", "exit b", "exit a"]


async def test_a_hook_that_repeats_a_secret_is_told_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "s3cret-of-an-index")
    token = Secret("env:INDEX_TOKEN").value()

    def fails(image: Image, cluster: Cluster) -> Image:
        raise ValueError(f"the index refuses {token}")

    async with Kernel(plugins=[Plugin("p", transform=fails)]) as kernel:
        with pytest.raises(HookError) as raised:
            await kernel.bus.apply(ImageTransform(Image()))

    told = "".join(traceback.format_exception(raised.value))
    assert "the index refuses ***" in told
    assert "s3cret" not in told


@pytest.mark.parametrize("given", [None, 3, "torch"], ids=str)
async def test_a_transform_that_returns_no_image_is_named(given: Any) -> None:
    plugin = Plugin("p", transform=lambda image, cluster: given)

    async with Kernel(plugins=[plugin]) as kernel:
        with pytest.raises(PluginError, match="return the new image") as caught:
            await kernel.bus.apply(ImageTransform(Image()))

    error = caught.value
    assert isinstance(error, HookError)
    assert (error.plugin, error.hook, error.place) == ("p", "transform", "client")


@pytest.mark.parametrize(
    ("hook", "call"),
    [
        ("transform", lambda bus: bus.apply(ImageTransform(Image()))),
        ("bootstrap", lambda bus: bus.collect(Bootstrap())),
    ],
    ids=["transform", "bootstrap"],
)
@pytest.mark.parametrize("raised", [ValueError("boom"), SystemExit(0)], ids=["error", "exit"])
async def test_a_hook_that_raises_says_whose_it_is_and_where(
    hook: str, call: Any, raised: BaseException
) -> None:
    def fail(*about: Any) -> Any:
        raise raised

    hooks: dict[str, Any] = {hook: fail}
    async with Kernel(plugins=[Plugin("p", **hooks)]) as kernel:
        with pytest.raises(HookError, match=type(raised).__name__) as caught:
            await call(kernel.bus)

    assert (caught.value.plugin, caught.value.hook) == ("p", hook)


async def test_a_transform_that_hangs_ends_with_its_name_and_stops_nobody_else() -> None:
    class Quick(ImageTransform, frozen=True, tag="test.quick_image"):
        deadline_s = 0.2

    end = threading.Event()

    def hang(image: Image, cluster: Cluster) -> Image:
        end.wait(120)
        return image

    plugin = Plugin("p", transform=hang)
    async with Kernel(plugins=[plugin]) as kernel:
        with pytest.raises(HookError, match="took too long") as caught:
            await kernel.bus.apply(Quick(Image()))
        assert await kernel.bus.collect(Bootstrap()) == []
    end.set()

    assert (caught.value.plugin, caught.value.hook) == ("p", "transform")


async def test_a_bootstrap_that_returns_no_operations_is_named() -> None:
    plugin = Plugin("p", bootstrap=lambda cluster: (3,))  # type: ignore[arg-type, return-value]

    async with Kernel(plugins=[plugin]) as kernel:
        with pytest.raises(HookError, match="expected shell text"):
            await kernel.bus.collect(Bootstrap())


def test_the_hooks_around_a_pool_are_entered_in_order_and_left_in_reverse() -> None:
    log: list[str] = []
    plugins = [Plugin(name, around_client=notes(log, name)) for name in ("a", "b")]

    with client_hooks(plugins, object(), CLUSTER):
        log.append("active")

    assert log == ["enter a", "enter b", "active", "exit b", "exit a"]


def test_a_hook_that_fails_on_entering_has_those_before_it_left() -> None:
    log: list[str] = []

    @contextmanager
    def fail(pool: object, cluster: Cluster) -> Iterator[None]:
        if pool is not None:
            raise OSError("no")
        yield

    plugins = [
        Plugin("a", around_client=notes(log, "a")),
        Plugin("b", around_client=fail),
        Plugin("c", around_client=notes(log, "c")),
    ]
    with (
        pytest.raises(HookError, match="around_client raised OSError: no") as caught,
        client_hooks(plugins, object(), CLUSTER),
    ):
        log.append("active")

    assert log == ["enter a", "exit a"]
    assert (caught.value.plugin, caught.value.place) == ("b", "client")


def test_every_hook_is_left_whatever_the_others_raise_and_the_block_s_error_wins() -> None:
    log: list[str] = []

    class Fails:
        def __enter__(self) -> None: ...

        def __exit__(self, *about: Any) -> bool:
            log.append(f"saw {about[0].__name__ if about[0] else None}")
            raise ValueError("left badly")

    plugins = [
        Plugin("a", around_client=notes(log, "a")),
        *(Plugin(name, around_client=lambda pool, cluster: Fails()) for name in ("b", "c")),
    ]
    with pytest.raises(KeyError) as caught, client_hooks(plugins, object(), CLUSTER):
        raise KeyError("body")
    assert len(caught.value.__notes__) == 2
    assert log == ["enter a", "saw KeyError", "saw KeyError", "exit a"]

    with (
        pytest.raises(HookError, match=r"'c'.*left badly") as alone,
        client_hooks(plugins, object(), CLUSTER),
    ):
        pass
    assert any("'b'" in note for note in alone.value.__notes__)


def test_no_hook_around_a_pool_can_swallow_an_error_of_the_block() -> None:
    class Swallows:
        def __enter__(self) -> None: ...

        def __exit__(self, *about: Any) -> bool:
            return True

    plugin = Plugin("a", around_client=lambda pool, cluster: Swallows())
    with pytest.raises(KeyError), client_hooks([plugin], object(), CLUSTER):
        raise KeyError("body")


def test_two_plugins_of_one_name_are_refused_before_anything_is_entered() -> None:
    log: list[str] = []
    plugins = [Plugin("a", around_client=notes(log, "a"))] * 2

    with pytest.raises(DuplicatePlugin), client_hooks(plugins, object(), CLUSTER):
        pass

    assert log == []


@pytest.mark.parametrize("has_more", [False, True])
async def test_a_plugin_for_functions_alone_says_once_that_commands_have_none_of_it(
    has_more: bool, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = Plugin.create("p").with_decorator(says("p"))
    if has_more:
        plugin = plugin.with_image_transform(adds("a"))
    command = JobDraft(argv=("true",))
    function = JobDraft(argv=("python",), given='{"_target_": "m.f", "_partial_": true}')
    async with Kernel(plugins=[plugin]) as kernel:
        for draft in (function, command, command):
            told = [one for one in caplog.messages if "does nothing for the job" in one]
            assert told == [] or draft is command
            assert await kernel.bus.apply(JobTransform(value=draft, job="j")) == draft
    told = [one for one in caplog.messages if "does nothing for the job 'j'" in one]
    assert len(told) == (0 if has_more else 1)
