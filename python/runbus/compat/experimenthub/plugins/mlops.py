"""Services that track runs."""

from runbus.hub import MLOpsPlugin

__all__ = ["MLOpsPlugin"]
