"""Services that run functions by name."""

from runbus.hub import TaskQueuePlugin

__all__ = ["TaskQueuePlugin"]
