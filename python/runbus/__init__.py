"""Launch ML runs on any backend and keep everything they measure.

Names are imported on first use: `import runbus` costs a training script next to nothing, and a
script that only logs never loads asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # as in typing, whose import would cost more than all of this module
    from runbus._secrets import Secret as Secret
    from runbus.catalog import RunRecord as RunRecord
    from runbus.catalog import open_run as open_run
    from runbus.catalog import runs as runs
    from runbus.config import Command as Command
    from runbus.config import Script as Script
    from runbus.errors import RunbusError as RunbusError
    from runbus.executors import LocalExecutor as LocalExecutor
    from runbus.executors import SSHExecutor as SSHExecutor
    from runbus.experiment import AsyncExperiment as AsyncExperiment
    from runbus.experiment import Job as Job
    from runbus.experiment import sweep as sweep
    from runbus.kernel import Kernel as Kernel
    from runbus.metrics import Run as Run
    from runbus.metrics import __version__ as __version__
    from runbus.metrics import init as init
    from runbus.packaging import GitArchivePackager as GitArchivePackager
    from runbus.packaging import HybridPackager as HybridPackager
    from runbus.packaging import PatternPackager as PatternPackager
    from runbus.plugins import Plugin as Plugin
    from runbus.transports import LocalTunnel as LocalTunnel
    from runbus.transports import SSHTunnel as SSHTunnel

_HOMES = {
    "AsyncExperiment": "experiment",
    "Command": "config",
    "GitArchivePackager": "packaging",
    "HybridPackager": "packaging",
    "Job": "experiment",
    "Kernel": "kernel",
    "LocalExecutor": "executors",
    "LocalTunnel": "transports",
    "PatternPackager": "packaging",
    "Plugin": "plugins",
    "Run": "metrics",
    "RunRecord": "catalog",
    "RunbusError": "errors",
    "SSHExecutor": "executors",
    "SSHTunnel": "transports",
    "Script": "config",
    "Secret": "_secrets",
    "__version__": "metrics",
    "init": "metrics",
    "open_run": "catalog",
    "runs": "catalog",
    "sweep": "experiment",
}

__all__ = [
    "AsyncExperiment",
    "Command",
    "GitArchivePackager",
    "HybridPackager",
    "Job",
    "Kernel",
    "LocalExecutor",
    "LocalTunnel",
    "PatternPackager",
    "Plugin",
    "Run",
    "RunRecord",
    "RunbusError",
    "SSHExecutor",
    "SSHTunnel",
    "Script",
    "Secret",
    "__version__",
    "init",
    "open_run",
    "runs",
    "sweep",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'runbus' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"runbus.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
