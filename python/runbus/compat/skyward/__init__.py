"""Skyward's names: `import runbus.compat.skyward as sky`, then `sky.plugins.torch()`.

`Image`, `Plugin` and the hooks are ours, with the same fields. Pools of machines come later.
"""

from __future__ import annotations

from runbus.compat.skyward import plugins
from runbus.events import Cluster, Image, InstanceInfo, PipIndex
from runbus.plugins import Plugin

__all__ = ["Cluster", "Image", "InstanceInfo", "PipIndex", "Plugin", "plugins"]
