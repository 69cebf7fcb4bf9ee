"""The reference of events as Markdown, made from the classes themselves."""

from __future__ import annotations

import inspect
import re
from typing import get_type_hints

from runbus import events
from runbus.events._event import Event, Kind

__all__ = ["events_page"]

_TITLES = {
    "kernel": "The kernel",
    "plugin": "Plugins",
    "launch": "From a task to its start",
    "executor": "Executors",
    "job": "Jobs",
    "machine": "Machines",
    "metric": "Metrics",
}

_LEADER = "the supervisor that leads the experiment and its followers"

# Who publishes the events of a module, and those that somebody else does.
_PUBLISHERS = {
    "kernel": "the kernel",
    "plugin": "the kernel",
    "launch": "the supervisor, before it submits a job",
    "executor": "the experiment, for each executor that a job names",
    "job": _LEADER,
    "run": f"{_LEADER}, from what the job's run has recorded",
    "machine": f"{_LEADER}, from the samples in the metrics of the job's run",
    "MachineAlert": "nobody as such; subscribe to it to get every alert",
    "HandlerFailed": "the bus",
    "PluginQuarantined": "the bus",
    "JobFact": "nobody as such; subscribe to it to get every fact about jobs",
    "JobIntended": f"{_LEADER}, once it is in the journal",
    "LogLines": f"{_LEADER}, as the output of a job arrives",
    "MetricBatch": f"{_LEADER}, from the metrics of the job's run",
    "MetricWindows": f"{_LEADER}, from the metrics of the job's run",
    "MetricsProcessed": "a plugin that processes metrics",
    "SinkOpening": "a sink or processor, when it begins",
    "RunRecorded": "nobody as such; subscribe to it to get every record of runs",
    "ResourceSample": f"{_LEADER}, from the samples in the metrics of the job's run",
    "RunStarted": _LEADER,
    "RunFinished": _LEADER,
}

_HEAD = """\
# Events

Every event class of runbus, made from the classes by `make docs`. The kind of a class says which
verb of the bus takes its events: see [events](../concepts/events.md).
"""


def events_page() -> str:
    """Return the reference page of all event classes in `runbus.events`."""
    by_module: dict[str, list[type[Event]]] = {}
    for name in events.__all__:
        cls = getattr(events, name)
        if isinstance(cls, type) and issubclass(cls, Event) and cls.__module__ != Event.__module__:
            by_module.setdefault(cls.__module__.rpartition(".")[2], []).append(cls)
    parts = [_HEAD]
    order = list(_TITLES)
    for module in sorted(by_module, key=lambda m: order.index(m) if m in order else len(order)):
        parts.append(f"## {_TITLES.get(module, module.capitalize())}\n")
        parts += [describe(cls) for cls in by_module[module]]
    return "\n".join(parts)


def describe(cls: type[Event]) -> str:
    """Return the section of one class."""
    text = inspect.cleandoc(cls.__doc__ or "")
    body, _, attributes = text.partition("Attributes:\n")
    kind = cls.kind
    assert isinstance(kind, Kind)
    lines = [
        f"### {cls.__name__}\n",
        f"{kind.value} · `bus.{kind.verb}()` · tag `{cls.__struct_config__.tag}`\n",
        body.strip() + "\n",
        f"Published by {publisher_of(cls)}.\n",
    ]
    fields = fields_of(cls)
    if fields:
        told = told_in(cls)
        told.update(parse(attributes))
        lines += ["| field | type | meaning |", "|---|---|---|"]
        lines += [
            f"| `{name}` | `{shape}` | {told.get(name, '')} |".replace("  ", " ")
            for name, shape in fields
        ]
        lines.append("")
    return "\n".join(lines)


def publisher_of(cls: type[Event]) -> str:
    """Return who publishes the events of a class.

    Raises:
        KeyError: That is not written down.
    """
    module = cls.__module__.rpartition(".")[2]
    return _PUBLISHERS[cls.__name__ if cls.__name__ in _PUBLISHERS else module]


def fields_of(cls: type[Event]) -> list[tuple[str, str]]:
    """Return names and types of the fields, as they are written."""
    written: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for name, hint in vars(base).get("__annotations__", {}).items():
            written[name] = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
    try:
        hints = get_type_hints(cls)
    except NameError:
        hints = {}
    shown = []
    for name in cls.__struct_fields__:
        shape = written.get(name, "")
        if shape == "T":
            value = value_type(cls)
            shape = value if value else str(hints.get(name, "T"))
        shown.append((name, shape.replace("|", "\\|")))
    return shown


def value_type(cls: type[Event]) -> str:
    """Return the name of what a pipeline passes on."""
    for base in getattr(cls, "__orig_bases__", ()):
        for argument in getattr(base, "__args__", ()):
            return getattr(argument, "__name__", str(argument))
    return ""


def told_in(cls: type[Event]) -> dict[str, str]:
    """Return what the classes that `cls` inherits from say of their fields."""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__[1:]):
        if issubclass(base, Event):
            text = inspect.cleandoc(base.__doc__ or "")
            told.update(parse(text.partition("Attributes:\n")[2]))
    told.setdefault("value", "What the plugins before have made of it.")
    return told


def parse(attributes: str) -> dict[str, str]:
    """Return the meaning of each field in an `Attributes:` section."""
    told: dict[str, str] = {}
    name = ""
    for line in attributes.splitlines():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name = start[1]
            told[name] = start[2]
        elif name and line.strip():
            told[name] += " " + line.strip()
    return told
