"""Managed plugins: those that are initialized, started and stopped by calls."""

from __future__ import annotations

from runbus.errors._plugins import PluginError


class IllegalTransition(PluginError):
    """A plugin is in a state in which that cannot be done; none of its code was called.

    Attributes:
        plugin: Which plugin.
        state: The state that it is in.
        verb: What was asked for, such as `start`.
        advice: What to call instead.
    """

    plugin: str
    state: str
    verb: str
    advice: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} is {self.state}: cannot {self.verb} it"

    @property
    def hint(self) -> str:
        return self.advice


class SchemaInvalid(PluginError):
    """The `config_schema` of a plugin is not one: no configuration can be checked against it.

    Attributes:
        where: Where in the schema, such as `timeout.type`; empty for the whole.
        problem: What is wrong there, one clause.
    """

    where: str
    problem: str

    def __str__(self) -> str:
        return f"config_schema: {self.where + ': ' if self.where else ''}{self.problem}"
