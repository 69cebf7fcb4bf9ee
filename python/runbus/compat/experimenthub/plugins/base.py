"""What every service offers."""

from runbus.hub import ServicePlugin as Plugin

__all__ = ["Plugin"]
