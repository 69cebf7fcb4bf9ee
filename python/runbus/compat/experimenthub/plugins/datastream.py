"""Services that hand data from producers to consumers."""

from runbus.hub import DataStreamPlugin

__all__ = ["DataStreamPlugin"]
