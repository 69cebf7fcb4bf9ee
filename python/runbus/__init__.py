"""Launch ML runs on any backend and keep everything they measure.

Names are imported on first use: `import runbus` costs a training script next to nothing, and a
script that only logs never loads asyncio.
"""

from __future__ import annotations

from runbus._lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:  # as in typing, whose import would cost more than all of this module
    from runbus import abc as abc
    from runbus import api as api
    from runbus import attempt as attempt
    from runbus import catalog as catalog
    from runbus import cli as cli
    from runbus import config as config
    from runbus import errors as errors
    from runbus import events as events
    from runbus import executors as executors
    from runbus import hub as hub
    from runbus import kernel as kernel
    from runbus import metrics as metrics
    from runbus import packaging as packaging
    from runbus import plugins as plugins
    from runbus import testing as testing
    from runbus import transports as transports
    from runbus._secrets import Secret as Secret
    from runbus.api import AsyncExperiment as AsyncExperiment
    from runbus.api import Experiment as Experiment
    from runbus.api import run as run
    from runbus.catalog import RunRecord as RunRecord
    from runbus.catalog import open_run as open_run
    from runbus.catalog import runs as runs
    from runbus.config import Command as Command
    from runbus.config import Config as Config
    from runbus.config import Output as Output
    from runbus.config import Partial as Partial
    from runbus.config import Script as Script
    from runbus.config import Task as Task
    from runbus.errors import RunbusError as RunbusError
    from runbus.events import ArtifactLimits as ArtifactLimits
    from runbus.events import Cluster as Cluster
    from runbus.events import Dependency as Dependency
    from runbus.events import EarlyStop as EarlyStop
    from runbus.events import Image as Image
    from runbus.events import InstanceInfo as InstanceInfo
    from runbus.events import PipIndex as PipIndex
    from runbus.events import Resources as Resources
    from runbus.events import RetryPolicy as RetryPolicy
    from runbus.events import Timeouts as Timeouts
    from runbus.executors import DockerExecutor as DockerExecutor
    from runbus.executors import FunctionExecutor as FunctionExecutor
    from runbus.executors import LocalExecutor as LocalExecutor
    from runbus.executors import SlurmExecutor as SlurmExecutor
    from runbus.executors import SSHExecutor as SSHExecutor
    from runbus.experiment import Job as Job
    from runbus.experiment import JobHandle as JobHandle
    from runbus.experiment import sweep as sweep
    from runbus.kernel import Kernel as Kernel
    from runbus.metrics import Run as Run
    from runbus.metrics import __version__ as __version__
    from runbus.metrics import init as init
    from runbus.metrics import on_preempt as on_preempt
    from runbus.packaging import GitArchivePackager as GitArchivePackager
    from runbus.packaging import HybridPackager as HybridPackager
    from runbus.packaging import PatternPackager as PatternPackager
    from runbus.plugins import Plugin as Plugin
    from runbus.transports import LocalTunnel as LocalTunnel
    from runbus.transports import SSHTunnel as SSHTunnel

__all__ = [
    "ArtifactLimits",
    "AsyncExperiment",
    "Cluster",
    "Command",
    "Config",
    "Dependency",
    "DockerExecutor",
    "EarlyStop",
    "Experiment",
    "FunctionExecutor",
    "GitArchivePackager",
    "HybridPackager",
    "Image",
    "InstanceInfo",
    "Job",
    "JobHandle",
    "Kernel",
    "LocalExecutor",
    "LocalTunnel",
    "Output",
    "Partial",
    "PatternPackager",
    "PipIndex",
    "Plugin",
    "Resources",
    "RetryPolicy",
    "Run",
    "RunRecord",
    "RunbusError",
    "SSHExecutor",
    "SSHTunnel",
    "Script",
    "Secret",
    "SlurmExecutor",
    "Task",
    "Timeouts",
    "__version__",
    "init",
    "on_preempt",
    "open_run",
    "run",
    "runs",
    "sweep",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".": (
            "abc",
            "api",
            "attempt",
            "catalog",
            "cli",
            "config",
            "errors",
            "events",
            "hub",
            "kernel",
            "metrics",
            "executors",
            "packaging",
            "plugins",
            "testing",
            "transports",
        ),
        "._secrets": ("Secret",),
        ".catalog": ("RunRecord", "open_run", "runs"),
        ".config": ("Command", "Config", "Output", "Partial", "Script", "Task"),
        ".errors": ("RunbusError",),
        ".events": (
            "Cluster",
            "Dependency",
            "ArtifactLimits",
            "EarlyStop",
            "Image",
            "InstanceInfo",
            "PipIndex",
            "Resources",
            "RetryPolicy",
            "Timeouts",
        ),
        ".executors": (
            "DockerExecutor",
            "FunctionExecutor",
            "LocalExecutor",
            "SSHExecutor",
            "SlurmExecutor",
        ),
        ".api": ("AsyncExperiment", "Experiment", "run"),
        ".experiment": ("Job", "JobHandle", "sweep"),
        ".kernel": ("Kernel",),
        ".metrics": ("Run", "__version__", "init", "on_preempt"),
        ".packaging": ("GitArchivePackager", "HybridPackager", "PatternPackager"),
        ".plugins": ("Plugin",),
        ".transports": ("LocalTunnel", "SSHTunnel"),
    },
)
