"""The Python blocks of Skyward's page about plugins, with one import changed.

What the page says of the order of hooks is tried with values that note it. Where the page
contradicts itself, we chose:

- Keras "depends on JAX in its `decorate`" in one place and in `around_app` in all others: it is
  `around_app`, and our Keras plugin comes after JAX wherever it stands in the list.
- "If the key already exists, it is a no-op", and the key is the plugin's name: two plugins of one
  name are refused instead, so that none is lost in silence.
- The page's block of a custom plugin uses `wraps` and `setup_my_framework` without importing them:
  the test gives it both.

These blocks wait for pools of machines, which come later: "Plugin Composition" and the use of the
custom plugin, both `with sky.ComputePool(...)`; what they stack up is tried without the pool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest

import runbus.compat.skyward as sky
from runbus import Kernel
from runbus.compat.skyward.plugins import Plugin
from runbus.errors import DuplicatePlugin
from runbus.events import Bootstrap, ImageTransform
from runbus.plugins import WorkerHooks, client_hooks

DATACLASS = """
@dataclass(frozen=True, slots=True)
class Plugin:
    name: str
    transform: ImageTransform | None = None
    bootstrap: BootstrapFactory | None = None
    decorate: TaskDecorator | None = None
    around_app: AppLifecycle | None = None
    around_client: ClientLifecycle | None = None
"""

BUILDER = """
from dataclasses import replace
from runbus.compat.skyward.plugins import Plugin

plugin = (
    Plugin.create("my-plugin")
    .with_image_transform(lambda img, cluster: replace(img, pip=(*img.pip, "my-lib")))
    .with_decorator(my_decorator)
    .with_around_app(my_lifecycle)
)
"""

CUSTOM = """
from dataclasses import replace
from runbus.compat.skyward.plugins import Plugin

def my_framework() -> Plugin:
    def transform(image, cluster):
        return replace(image, pip=(*image.pip, "my-framework"))

    def decorate(fn):
        @wraps(fn)
        def wrapper(*args, **kwargs):
            setup_my_framework()
            return fn(*args, **kwargs)
        return wrapper

    return (
        Plugin.create("my-framework")
        .with_image_transform(transform)
        .with_decorator(decorate)
    )
"""


def noting(log: list[str], name: str) -> Plugin:
    """Return a plugin whose five hooks say when they run."""

    @contextmanager
    def life(*about: Any) -> Iterator[None]:
        log.append(f"enter {name}")
        yield
        log.append(f"exit {name}")

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def wrapper(*args: Any) -> Any:
            log.append(f"call {name}")
            return fn(*args)

        return wrapper

    return (
        Plugin.create(name)
        .with_image_transform(lambda img, cluster: dataclasses.replace(img, pip=(*img.pip, name)))
        .with_bootstrap(lambda cluster: (f"echo {name}",))
        .with_decorator(decorate)
        .with_around_app(life)
        .with_around_client(life)
    )


def test_the_plugin_has_the_fields_of_the_page_in_their_order() -> None:
    scope: dict[str, Any] = {"dataclass": dataclasses.dataclass}
    exec(f"from __future__ import annotations\n{DATACLASS}", scope)
    theirs = [field.name for field in dataclasses.fields(scope["Plugin"])]

    ours = dataclasses.fields(Plugin)

    assert [field.name for field in ours][: len(theirs)] == theirs
    assert all(field.default is None for field in ours[1 : len(theirs)])
    assert Plugin("p", None, None, None, None, None) == Plugin.create("p")


def test_the_builder_of_the_page_makes_a_plugin() -> None:
    scope: dict[str, Any] = {"my_decorator": lambda fn: fn, "my_lifecycle": lambda info: info}
    exec(BUILDER, scope)
    plugin = scope["plugin"]

    image = plugin.transform(sky.Image(pip=("numpy",)), sky.Cluster())

    assert image.pip == ("numpy", "my-lib")
    assert plugin.decorate is scope["my_decorator"]
    assert plugin.around_app is scope["my_lifecycle"]


def test_the_custom_plugin_of_the_page_sets_its_framework_up_for_every_call() -> None:
    log: list[str] = []
    scope: dict[str, Any] = {"wraps": wraps, "setup_my_framework": lambda: log.append("set up")}
    exec(CUSTOM, scope)
    plugin = scope["my_framework"]()

    hooks = WorkerHooks([plugin])

    assert hooks.wrapped(max)(1, 2) == 2
    assert hooks.wrapped(max)(3, 2) == 3
    assert log == ["set up", "set up"]
    assert plugin.transform(sky.Image(), sky.Cluster()).pip == ("my-framework",)


async def test_hooks_run_in_the_order_of_the_page() -> None:
    log: list[str] = []
    plugins = [noting(log, "a"), noting(log, "b")]

    async with Kernel(plugins=plugins) as kernel:
        image = await kernel.bus.apply(ImageTransform(sky.Image()))
        lines = await kernel.bus.collect(Bootstrap())
    assert image.pip == ("a", "b")
    assert [line for _, line in lines] == ["echo a", "echo b"]

    with client_hooks(plugins, object(), sky.Cluster()):
        log.append("pool is active")
    assert log == ["enter a", "enter b", "pool is active", "exit b", "exit a"]

    log.clear()
    worker = WorkerHooks(plugins)
    task = worker.wrapped(lambda: log.append("body"))
    task()
    task()
    worker.close()
    once = ["call a", "call b", "body"]
    assert log == ["enter a", "enter b", *once, *once, "exit b", "exit a"]


def test_a_name_that_is_there_twice_is_refused_and_not_skipped() -> None:
    log: list[str] = []

    with pytest.raises(DuplicatePlugin):
        WorkerHooks([noting(log, "a"), noting(log, "a")])


async def test_the_plugins_of_the_composition_block_add_up() -> None:
    plugins = [
        sky.plugins.torch(backend="nccl"),
        sky.plugins.huggingface(token="hf_xxx"),
    ]

    async with Kernel(plugins=plugins) as kernel:
        image = await kernel.bus.apply(ImageTransform(sky.Image()))
        lines = await kernel.bus.collect(Bootstrap())

    assert image.pip == ("torch", "transformers", "datasets", "tokenizers", "huggingface_hub")
    assert set(image.secrets) == {"HF_TOKEN"}
    assert "hf_xxx" not in f"{image!r} {lines!r} {plugins!r}"
    assert {name for name, _ in lines} == {"huggingface"}


def test_jax_comes_before_keras_as_the_page_wants_it() -> None:
    plugins = [sky.plugins.jax(), sky.plugins.keras(backend="jax")]

    for given in (plugins, plugins[::-1]):
        assert [one.name for one in WorkerHooks(given).plugins] == ["jax", "keras"]


def test_the_eight_plugins_of_the_table_have_the_hooks_that_it_names() -> None:
    table = {
        "torch": {"transform", "around_app"},
        "jax": {"transform", "around_app"},
        "keras": {"transform", "around_app"},
        "huggingface": {"transform", "bootstrap"},
        "joblib": {"transform", "around_client"},
        "sklearn": {"transform", "around_client"},
        "cuml": {"transform", "around_app"},
        "mps": {"transform", "bootstrap"},
    }
    hooks = ("transform", "bootstrap", "decorate", "around_app", "around_client")
    for name, wanted in table.items():
        plugin = getattr(sky.plugins, name)()

        assert plugin.name == name
        assert {hook for hook in hooks if getattr(plugin, hook)} == wanted
