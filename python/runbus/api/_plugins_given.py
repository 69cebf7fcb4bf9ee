"""What people give as the plugins of an experiment, by what has to be done with each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus._listed import listed
from runbus._secrets import redacted
from runbus.config import Config
from runbus.errors import PluginNotPortable, UsageError
from runbus.jobs import ChangedBy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from runbus.experiment import Job
    from runbus.plugins import TaskPlugin

__all__ = ["GivenPlugins"]


class GivenPlugins:
    """Parts plugins.

    Args:
        given: Plugins, names of those that can be found, configurations and data of hook values.

    Attributes:
        hooking: What is a plugin of the kernel that leads.
        travelling: What another process has to make, as it was given.
        changing: What changes the jobs when they are recorded.
        changed_by: The same for the record.

    Raises:
        PluginError: A plugin cannot be found, or made.
        FieldInvalid: It is no list.
    """

    def __init__(self, given: Any) -> None:
        self.hooking: list[Any] = []
        self.travelling: list[Any] = []
        self.changing: tuple[Any, ...] = ()
        self.changed_by: list[ChangedBy] = []
        self._is_made = True
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
                self.changed_by += [_recorded(one, each) for each in changing]
            else:
                self.hooking.append(plugin)

    @classmethod
    def recorded(cls, changed_by: Sequence[ChangedBy]) -> Self:
        """Return what is on record of the plugins; nothing is imported before `changed`."""
        given = cls(())
        given.changed_by = list(changed_by)
        given._is_made = not changed_by
        return given

    def changed(self, job: Job) -> Job:
        """Return a job with what changes all jobs before its own plugins.

        Raises:
            UsageError: What changed the jobs on record cannot be made again, and the job does not
                bring it.
            PluginError: It cannot be imported or made any more.
        """
        if not self._is_made:
            self._make(job)
        return replace(job, plugins=(*self.changing, *job.plugins)) if self.changing else job

    def _make(self, job: Job) -> None:
        from runbus.plugins import plugin_from, task_plugins_of

        own = {one.name for one in job.plugins}
        lost = [one for one in self.changed_by if not one.data and one.plugin not in own]
        for one in lost:
            lost_it = f"plugin {one.plugin!r} changed the jobs before it, and cannot be made again"
            raise UsageError(
                f"job {job.name!r}: {lost_it}, as {one.reason}: add the job with plugins=[…]"
            )
        made = [plugin_from(one.data) for one in self.changed_by if one.data]
        self.changing = tuple(task_plugins_of(made))
        self._is_made = len(made) == len(self.changed_by)


def _recorded(given: Any, plugin: TaskPlugin) -> ChangedBy:
    """Return a task plugin as it goes into the record."""
    from runbus.plugins import plugin_data

    try:
        data: Any = plugin_data(given if isinstance(given, Config) else plugin)
    except PluginNotPortable as error:
        return ChangedBy(plugin.name, reason=error.reason)
    shown = _without_references(data)
    if redacted(shown) != shown:
        return ChangedBy(plugin.name, reason="it was made with the value of a secret")
    return ChangedBy(plugin.name, data)


def _without_references(data: Any) -> Any:
    """Return data with None for what says only where a secret is, and for what is empty."""
    if isinstance(data, Mapping):
        is_reference = data.keys() == {"secret"}
        return None if is_reference else {k: _without_references(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_without_references(one) for one in data]
    return data or None
