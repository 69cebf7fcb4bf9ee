"""Tasks as data: found by their tags, ours and those that are installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runbus import codec
from runbus.config._function import Function
from runbus.config._task import Command, Script, Task, check_task
from runbus.errors import RunbusError, TaskInvalid, near_matches
from runbus.events.values import worded

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TASK_GROUP", "decode_task", "task_kinds"]

TASK_GROUP = "runbus.tasks"
"""The entry points that bring further tasks: the tag, and the class."""

_OURS: dict[str, type[Task]] = {kind.tag: kind for kind in (Command, Function, Script)}


def task_kinds() -> list[str]:
    """Return the tags of the tasks that there are; imports none of them."""
    return sorted({*_OURS, *_installed()})


def decode_task(data: Mapping[str, Any], folder: str = "") -> Task:
    """Return the task that data describes: its tag as `type`, and the fields of its class.

    Args:
        data: The data, such as `{"type": "script", "path": "train.py"}`.
        folder: The folder that relative paths in it start from; the current one if empty.

    Raises:
        TaskInvalid: There is no task of that tag, it cannot be loaded, or the fields do not fit.
    """
    fields = dict(data)
    tag = fields.pop("type", None)
    kind = _kind(tag)
    try:
        if unknown := sorted(map(str, fields.keys() - _names(kind))):
            raise codec.DecodeError(f"unknown field {unknown[0]!r}")
        task = check_task(codec.convert(fields, kind))
        return task.relative_to(folder) if folder else task
    except codec.DecodeError as error:
        where = re.search(r" - at `\$\.?(.+)`$", str(error))
        place = f"{where[1]}: " if where else ""
        raise TaskInvalid(f"a {tag}", place + worded(str(error))) from error
    except RunbusError:
        raise
    except Exception as error:  # of the class, which is not ours
        raise TaskInvalid(f"a {tag}", f"{type(error).__name__}: {error}") from error


def _kind(tag: object) -> type[Task]:
    if not isinstance(tag, str):
        raise TaskInvalid("a task without a type", f"there are {', '.join(task_kinds())}")
    if (ours := _OURS.get(tag)) is not None:
        return ours
    if (point := _installed().get(tag)) is None:
        known = task_kinds()
        near = near_matches(tag, known)
        advice = f"did you mean {near[0]!r}" if near else f"there are {', '.join(known)}"
        raise TaskInvalid(f"a {tag}", f"no task has that type; {advice}")
    try:
        loaded: Any = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # what an import runs may also call sys.exit()
        reason = f"{point.value} cannot be loaded: {type(error).__name__}: {error}"
        raise TaskInvalid(f"a {tag}", reason) from error
    if not isinstance(loaded, type) or getattr(loaded, "tag", None) != tag:
        raise TaskInvalid(f"a {tag}", f"{point.value} is not a class with the tag {tag!r}")
    found: type[Task] = loaded
    return found


def _names(kind: Any) -> set[str]:
    """Return the fields of a task's class: a Struct's or a data class's."""
    return {*getattr(kind, "__struct_fields__", ()), *getattr(kind, "__dataclass_fields__", ())}


def _installed() -> dict[str, Any]:
    from importlib.metadata import entry_points  # costs what those who name none need not pay

    return {point.name: point for point in entry_points(group=TASK_GROUP)}
