"""Plugins for the frameworks that most jobs use: each a function that returns a `Plugin`.

None of the frameworks is imported before a worker process needs it. What they share on a machine,
such as the ports at which processes find each other, is counted from `InstanceInfo.head_port`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runbus._secrets import Secret
from runbus.events import PipIndex
from runbus.plugins._ops import phase
from runbus.plugins._plugin import Plugin
from runbus.plugins._travel import plugin_factory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.events import Cluster, Image, InstanceInfo
    from runbus.plugins._ops import Op

__all__ = ["cuml", "huggingface", "jax", "joblib", "keras", "mps", "sklearn", "torch"]

_TORCH_PORT, _JAX_PORT = 0, 1
"""Which of the ports from `head_port` on each takes: both may be in one process."""


def _requirement(name: str, version: str | None) -> str:
    if version is None or version == "latest":
        return name
    return f"{name}=={version}" if version[:1].isdigit() else f"{name}{version}"


def _with_packages(image: Image, *pip: str, **changes: Any) -> Image:
    return dataclasses.replace(image, pip=(*image.pip, *pip), **changes)


@contextmanager
def _variables(**values: object) -> Iterator[None]:
    """Set environment variables, and set them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@plugin_factory
def torch(
    backend: str | None = None,
    cuda: str = "cu128",
    version: str = "latest",
    vision: str | None = None,
    audio: str | None = None,
) -> Plugin:
    """Install PyTorch, and make the worker processes one process group.

    A process that is alone makes no group.

    Args:
        backend: What the group speaks; nccl where there is CUDA and gloo elsewhere if None.
        cuda: The build for machines with CUDA, such as `cu128`; others get the one for CPUs.
        version: `latest`, a version, or a condition such as `>=2.4`.
        vision: The version of torchvision, as `version`; it is left out if None.
        audio: The version of torchaudio, as `vision`.
    """
    wanted = {"torch": version, "torchvision": vision, "torchaudio": audio}
    wanted = {name: one for name, one in wanted.items() if one is not None}

    def transform(image: Image, cluster: Cluster) -> Image:
        has_cuda = cluster.accelerator is not None and cluster.accelerator.is_cuda
        url = f"https://download.pytorch.org/whl/{cuda if has_cuda else 'cpu'}"
        index = PipIndex(url, tuple(wanted))
        pip = [_requirement(name, one) for name, one in wanted.items()]
        return _with_packages(image, *pip, pip_indexes=(*image.pip_indexes, index))

    @contextmanager
    def around_app(info: InstanceInfo) -> Iterator[None]:
        if info.total_workers < 2:
            yield
            return
        from torch import cuda as devices
        from torch import distributed

        about = _variables(
            MASTER_ADDR=info.head_addr,
            MASTER_PORT=info.head_port + _TORCH_PORT,
            WORLD_SIZE=info.total_workers,
            RANK=info.global_worker_index,
            NODE_RANK=info.node,
            LOCAL_RANK=info.worker,
            LOCAL_WORLD_SIZE=info.workers_per_node,
        )
        with about:
            spoken = backend or ("nccl" if devices.is_available() else "gloo")
            distributed.init_process_group(spoken, init_method="env://")
            try:
                yield
            finally:
                distributed.destroy_process_group()

    return Plugin.create("torch").with_image_transform(transform).with_around_app(around_app)


@plugin_factory
def jax(cuda: str = "cu124") -> Plugin:
    """Install JAX, and connect the worker processes.

    A process that is alone is not connected to anything.

    Args:
        cuda: Which CUDA machines with it have, such as `cu124`; others get JAX for CPUs.
    """

    def transform(image: Image, cluster: Cluster) -> Image:
        has_cuda = cluster.accelerator is not None and cluster.accelerator.is_cuda
        return _with_packages(image, f"jax[cuda{cuda[2:4]}]" if has_cuda else "jax")

    @contextmanager
    def around_app(info: InstanceInfo) -> Iterator[None]:
        if info.total_workers < 2:
            yield
            return
        from jax import distributed

        distributed.initialize(
            coordinator_address=f"{info.head_addr}:{info.head_port + _JAX_PORT}",
            num_processes=info.total_workers,
            process_id=info.global_worker_index,
        )
        try:
            yield
        finally:
            distributed.shutdown()

    return Plugin.create("jax").with_image_transform(transform).with_around_app(around_app)


@plugin_factory
def keras(backend: str = "jax") -> Plugin:
    """Install Keras with a backend, and have it share data out among worker processes of JAX.

    It comes after the plugins of the backends, which connect the processes.

    Args:
        backend: `jax`, `torch` or `tensorflow`; their own plugins install them.
    """

    def transform(image: Image, cluster: Cluster) -> Image:
        return _with_packages(image, "keras", env={**image.env, "KERAS_BACKEND": backend})

    @contextmanager
    def around_app(info: InstanceInfo) -> Iterator[None]:
        with _variables(KERAS_BACKEND=backend):
            if info.total_workers < 2 or backend != "jax":
                yield
                return
            from keras import distribution

            devices = distribution.list_devices()
            shared = distribution.DataParallel(devices=devices, auto_shard_dataset=False)
            distribution.set_distribution(shared)
            try:
                yield
            finally:
                distribution.set_distribution(None)

    plugin = Plugin.create("keras").with_image_transform(transform).with_around_app(around_app)
    return plugin.placed(after=("jax", "torch"))


# As `huggingface-cli login`, but no other user of the machine sees the token among the arguments.
_LOGIN = (
    '"${RUNBUS_VENV:+$RUNBUS_VENV/bin/}python3" -c '
    "'import os, huggingface_hub as hub; hub.login(token=os.environ[\"HF_TOKEN\"])'"
)


@plugin_factory
def huggingface(token: str | Secret | None = None) -> Plugin:
    """Install transformers, datasets and tokenizers, and log in to the Hugging Face hub.

    Args:
        token: The token, best as a `Secret`. A text is kept in the environment of this process,
            which no job inherits, and is in no file; nobody is logged in if None.
    """
    if isinstance(token, str):
        return huggingface(_kept(token))

    def transform(image: Image, cluster: Cluster) -> Image:
        changes: dict[str, Any] = {}
        if token is not None:
            changes["secrets"] = {**image.secrets, "HF_TOKEN": token.reference}
        return _with_packages(
            image, "transformers", "datasets", "tokenizers", "huggingface_hub", **changes
        )

    def bootstrap(cluster: Cluster) -> tuple[Op, ...]:
        return (phase("huggingface-login", _LOGIN),) if token is not None else ()

    return Plugin.create("huggingface").with_image_transform(transform).with_bootstrap(bootstrap)


def _kept(token: str) -> Secret:
    """Keep a token where only this process finds it: jobs inherit no variable of such a name."""
    name = f"RUNBUS_SECRET_{hashlib.sha256(token.encode()).hexdigest()[:16]}"
    os.environ[name] = token
    return Secret(name)


@plugin_factory
def joblib(version: str | None = None) -> Plugin:
    """Have `joblib.Parallel` run on the workers of a pool while that is active.

    Args:
        version: The version of joblib, as `torch` takes it; the newest if None.
    """
    return _on_pool("joblib", _requirement("joblib", version))


@plugin_factory
def sklearn(version: str | None = None) -> Plugin:
    """Have what scikit-learn does in parallel run on the workers of a pool while that is active.

    Args:
        version: The version of scikit-learn, as `torch` takes it; the newest if None.
    """
    return _on_pool("sklearn", _requirement("scikit-learn", version), "joblib")


def _on_pool(name: str, *pip: str) -> Plugin:
    def transform(image: Image, cluster: Cluster) -> Image:
        return _with_packages(image, *pip)

    @contextmanager
    def around_client(pool: Any, cluster: Cluster) -> Iterator[None]:
        from runbus.plugins._joblib_backend import running_on

        with running_on(pool):
            yield

    return Plugin.create(name).with_image_transform(transform).with_around_client(around_client)


@plugin_factory
def cuml(cuda: str = "cu12") -> Plugin:
    """Install cuML, and have scikit-learn's estimators run on the GPU.

    Args:
        cuda: The build, such as `cu12`.
    """
    package = f"cuml-{cuda}"

    def transform(image: Image, cluster: Cluster) -> Image:
        index = PipIndex("https://pypi.nvidia.com", (package,))
        return _with_packages(image, package, pip_indexes=(*image.pip_indexes, index))

    @contextmanager
    def around_app(info: InstanceInfo) -> Iterator[None]:
        from cuml import accel

        accel.install()
        yield

    return Plugin.create("cuml").with_image_transform(transform).with_around_app(around_app)


@plugin_factory
def mps(
    active_thread_percentage: int | None = None, pinned_memory_limit: str | None = None
) -> Plugin:
    """Start NVIDIA's Multi-Process Service, so that several processes share a GPU.

    Args:
        active_thread_percentage: The share of the GPU's threads that each process may use.
        pinned_memory_limit: The memory of a device that each may use, such as `0=2G`.
    """
    settings = {
        "CUDA_MPS_PIPE_DIRECTORY": "/tmp/nvidia-mps",
        "CUDA_MPS_LOG_DIRECTORY": "/tmp/nvidia-log",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": active_thread_percentage,
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": pinned_memory_limit,
    }
    env = {name: str(value) for name, value in settings.items() if value is not None}

    def transform(image: Image, cluster: Cluster) -> Image:
        return dataclasses.replace(image, env={**image.env, **env})

    def bootstrap(cluster: Cluster) -> tuple[Op, ...]:
        folders = 'mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"'
        return (phase("nvidia-mps", folders, "nvidia-cuda-mps-control -d"),)

    return Plugin.create("mps").with_image_transform(transform).with_bootstrap(bootstrap)
