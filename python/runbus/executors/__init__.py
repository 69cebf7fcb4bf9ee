"""What runs jobs: one module a backend."""

from runbus.executors.local import LocalExecutor as LocalExecutor
from runbus.executors.ssh import SSHExecutor as SSHExecutor

__all__ = ["LocalExecutor", "SSHExecutor"]
