"""What runs jobs: one module a backend. Names are imported on use, so unused ones cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.executors._docker_code import build_image as build_image
    from runbus.executors._docker_engine import ask_engine as ask_engine
    from runbus.executors._function import FunctionExecutor as FunctionExecutor
    from runbus.executors._kept_folders import idle_script as idle_script
    from runbus.executors._kept_folders import kept_folders as kept_folders
    from runbus.executors._kept_folders import parse_idle as parse_idle
    from runbus.executors._lent import TunnelPool as TunnelPool
    from runbus.executors._paths import expanded as expanded
    from runbus.executors._paths import marked as marked
    from runbus.executors._shell import quote as quote
    from runbus.executors._tunnelled import TunnelExecutor as TunnelExecutor
    from runbus.executors.docker import DockerExecutor as DockerExecutor
    from runbus.executors.local import LocalExecutor as LocalExecutor
    from runbus.executors.slurm import SlurmExecutor as SlurmExecutor
    from runbus.executors.slurm import SlurmResources as SlurmResources
    from runbus.executors.ssh import SSHExecutor as SSHExecutor

__all__ = [
    "DockerExecutor",
    "FunctionExecutor",
    "LocalExecutor",
    "SSHExecutor",
    "SlurmExecutor",
    "SlurmResources",
    "TunnelExecutor",
    "TunnelPool",
    "ask_engine",
    "build_image",
    "expanded",
    "idle_script",
    "kept_folders",
    "marked",
    "parse_idle",
    "quote",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._docker_code": ("build_image",),
        "._docker_engine": ("ask_engine",),
        "._function": ("FunctionExecutor",),
        "._kept_folders": ("idle_script", "kept_folders", "parse_idle"),
        "._lent": ("TunnelPool",),
        "._paths": ("expanded", "marked"),
        "._shell": ("quote",),
        "._tunnelled": ("TunnelExecutor",),
        ".docker": ("DockerExecutor",),
        ".local": ("LocalExecutor",),
        ".slurm": ("SlurmExecutor", "SlurmResources"),
        ".ssh": ("SSHExecutor",),
    },
)
