"""What runs jobs: one module a backend."""

from runbus.executors.local import LocalExecutor as LocalExecutor

__all__ = ["LocalExecutor"]
