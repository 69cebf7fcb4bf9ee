"""A sink that appends metrics to a file of JSON lines."""

from runbus_jsonl._sink import JsonLines

__all__ = ["JsonLines"]
