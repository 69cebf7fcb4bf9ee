"""The plugins of frameworks: what they ask for, and what they do in processes and around pools."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runbus import Cluster, Image, InstanceInfo, Plugin, Secret
from runbus.events import Accelerator, ClusterSpec
from runbus.plugins import (
    WorkerHooks,
    client_hooks,
    frameworks,
    image_script,
    plugin_data,
    plugin_from,
)

CPU = Cluster()
GPU = Cluster(spec=ClusterSpec(accelerator=Accelerator(type="A100")))
ALL = ("cuml", "huggingface", "jax", "joblib", "keras", "mps", "sklearn", "torch")


def image_of(plugin: Plugin, cluster: Cluster = CPU) -> Image:
    assert plugin.transform is not None
    return plugin.transform(Image(), cluster)


@pytest.mark.parametrize(
    ("plugin", "cluster", "pip", "url"),
    [
        (frameworks.torch(), CPU, ("torch",), "https://download.pytorch.org/whl/cpu"),
        (
            frameworks.torch(cuda="cu126", version="2.4", vision=">=0.19", audio="latest"), GPU,
            ("torch==2.4", "torchvision>=0.19", "torchaudio"),
            "https://download.pytorch.org/whl/cu126",
        ),
        (frameworks.jax(), CPU, ("jax",), None),
        (frameworks.jax(cuda="cu124"), GPU, ("jax[cuda12]",), None),
        (frameworks.keras(), CPU, ("keras",), None),
        (frameworks.joblib(version="1.4"), CPU, ("joblib==1.4",), None),
        (frameworks.sklearn(), CPU, ("scikit-learn", "joblib"), None),
        (frameworks.cuml(), GPU, ("cuml-cu12",), "https://pypi.nvidia.com"),
    ],
    ids=["torch", "torch on gpu", "jax", "jax on gpu", "keras", "joblib", "sklearn", "cuml"],
)  # fmt: skip
def test_a_plugin_asks_for_its_packages_and_where_they_come_from(
    plugin: Plugin, cluster: Cluster, pip: tuple[str, ...], url: str | None
) -> None:
    image = image_of(plugin, cluster)

    assert image.pip == pip
    assert [index.url for index in image.pip_indexes] == ([url] if url else [])


@pytest.mark.parametrize("name", ALL)
def test_every_plugin_can_be_made_in_another_process(name: str) -> None:
    plugin = getattr(frameworks, name)()

    again = plugin_from(plugin_data(plugin))

    assert again.name == name
    assert image_of(again) == image_of(plugin)


@pytest.mark.parametrize(
    "token", ["hf_canarycanarycanary", Secret("A_TOKEN")], ids=["text", "secret"]
)
def test_a_token_is_nowhere_but_in_the_environment_of_this_process(
    token: str | Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "hf_canarycanarycanary")
    plugin = frameworks.huggingface(token)
    assert plugin.bootstrap is not None
    image = image_of(plugin)
    script = image_script(image, plugin.bootstrap(CPU))

    assert Secret(image.secrets["HF_TOKEN"]).value() == "hf_canarycanarycanary"
    assert "canary" not in f"{plugin!r} {image!r} {script} {plugin_data(plugin)}"
    for name in [name for name in os.environ if name.startswith("RUNBUS_SECRET_")]:
        monkeypatch.delenv(name)


def test_without_a_token_nobody_logs_in() -> None:
    plugin = frameworks.huggingface()

    assert plugin.bootstrap is not None
    assert plugin.bootstrap(CPU) == ()
    assert image_of(plugin).secrets == {}


def test_mps_sets_only_the_limits_that_are_given() -> None:
    assert set(image_of(frameworks.mps()).env) == {
        "CUDA_MPS_PIPE_DIRECTORY",
        "CUDA_MPS_LOG_DIRECTORY",
    }
    assert image_of(frameworks.mps(50, "0=2G")).env["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "50"


FAKES = {
    "torch/__init__.py": "from torch import cuda",
    "torch/cuda.py": "def is_available(): return False",
    "torch/distributed.py": """
import os
from log_of_tests import log
def init_process_group(backend, init_method):
    names = "MASTER_ADDR MASTER_PORT WORLD_SIZE RANK LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK".split()
    log.append(("torch", backend, init_method, *(os.environ[name] for name in names)))
def destroy_process_group(): log.append("torch left")
""",
    "jax/__init__.py": "",
    "jax/distributed.py": """
from log_of_tests import log
def initialize(**about): log.append(("jax", about))
def shutdown(): log.append("jax left")
""",
    "keras/__init__.py": "",
    "keras/distribution.py": """
import os
from log_of_tests import log
def list_devices(): return ["d0"]
def DataParallel(devices, auto_shard_dataset): return (devices, auto_shard_dataset)
def set_distribution(one): log.append(("keras", one, os.environ["KERAS_BACKEND"]))
""",
    "cuml/__init__.py": "",
    "cuml/accel.py": "from log_of_tests import log\ndef install(): log.append('cuml')\n",
    "log_of_tests.py": "log = []",
}
"""Stand-ins for frameworks that are not installed here; real torch is among the services."""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    for name, text in FAKES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {name.partition("/")[0].removesuffix(".py") for name in FAKES}

    def forget() -> dict[str, Any]:
        return {
            one: sys.modules.pop(one) for one in [*sys.modules] if one.partition(".")[0] in names
        }

    before = forget()
    import log_of_tests  # type: ignore[import-not-found]

    yield log_of_tests.log
    forget()
    sys.modules.update(before)


INFO = InstanceInfo(
    node=1, worker=1, total_nodes=2, workers_per_node=2, head_addr="head", head_port=4000
)


def test_the_processes_find_each_other_at_ports_of_their_own_and_part_in_reverse(
    log: list[Any],
) -> None:
    before = dict(os.environ)
    hooks = WorkerHooks([frameworks.keras(), frameworks.jax(), frameworks.torch()], INFO)

    hooks.enter()
    assert hooks.close() == []

    about = {"coordinator_address": "head:4001", "num_processes": 4, "process_id": 3}
    assert log == [
        ("jax", about),
        ("torch", "gloo", "env://", "head", "4000", "4", "3", "1", "2", "1"),
        ("keras", (["d0"], False), "jax"),
        ("keras", None, "jax"),
        "torch left",
        "jax left",
    ]
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["torch", "jax", "keras"])
def test_a_process_that_is_alone_joins_nobody(name: str, log: list[Any]) -> None:
    with getattr(frameworks, name)().around_app(InstanceInfo()):
        pass

    assert log == []


def test_cuml_takes_the_place_of_scikit_learn(log: list[Any]) -> None:
    WorkerHooks([frameworks.cuml()]).enter()

    assert log == ["cuml"]


class Pool:
    """A pool as the backend of joblib needs it: threads that count what they are given."""

    workers = 2

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self.submitted = 0

    def submit(self, fn: Any, /, *args: Any) -> Future[Any]:
        self.submitted += 1
        return self._threads.submit(fn, *args)


@pytest.mark.parametrize("name", ["joblib", "sklearn"])
def test_what_is_parallel_runs_on_the_pool_while_it_is_active(name: str) -> None:
    import joblib

    with ThreadPoolExecutor(2) as threads:
        pool = Pool(threads)
        plugin = getattr(frameworks, name)()
        with client_hooks([plugin], pool, CPU):
            told = joblib.Parallel(n_jobs=-1)(joblib.delayed(abs)(-n) for n in range(20))
            with pytest.raises(ZeroDivisionError):
                joblib.Parallel(n_jobs=2)(joblib.delayed(divmod)(1, n) for n in (1, 0))
        while_active = pool.submitted
        joblib.Parallel(n_jobs=1)(joblib.delayed(abs)(-n) for n in range(3))

    assert told == list(range(20))
    assert while_active > 0
    assert pool.submitted == while_active
