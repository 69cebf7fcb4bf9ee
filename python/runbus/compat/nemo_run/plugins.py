"""`nemo_run.plugins`: what registers executors, packagers, integrations and commands."""

from runbus.plugins import Extension as Plugin
from runbus.plugins import PluginRegistry

__all__ = ["Plugin", "PluginRegistry"]
