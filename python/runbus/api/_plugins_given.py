"""What people give as the plugins of an experiment, by what has to be done with each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runbus._listed import listed

__all__ = ["GivenPlugins"]


class GivenPlugins:
    """Parts plugins.

    Args:
        given: Plugins, names of those that can be found, configurations and data of hook values.

    Attributes:
        hooking: What is a plugin of the kernel that leads.
        travelling: What another process has to make, as it was given.
        changing: What changes the jobs when they are recorded.

    Raises:
        PluginError: A plugin cannot be found, or made.
        FieldInvalid: It is no list.
    """

    def __init__(self, given: Any) -> None:
        self.hooking: list[Any] = []
        self.travelling: list[Any] = []
        self.changing: tuple[Any, ...] = ()
        every: list[Any] = list(listed(given, "plugins", object, "plugins"))
        if not every:
            return
        from runbus.plugins import is_for_workers, made_plugins, task_plugins_of

        for one, plugin in zip(every, made_plugins(every), strict=True):
            is_data = isinstance(one, (str, Mapping))
            if is_data or is_for_workers(one):
                self.travelling.append(one)
            # What is data changes a job when it is sent off, by whichever process leads then.
            if not is_data and (changing := task_plugins_of([plugin])):
                self.changing += tuple(changing)
            else:
                self.hooking.append(plugin)
