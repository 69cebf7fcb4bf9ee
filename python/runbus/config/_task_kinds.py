"""Tasks as data: found by their tags, ours and those that are installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec.structs import replace

from runbus import codec
from runbus._secrets import Secret
from runbus.config._function import Function
from runbus.config._output import Argument, Output, output_data
from runbus.config._script import Script
from runbus.config._task import Command, Task, check_task
from runbus.errors import RunbusError, TaskInvalid, near_matches
from runbus.events.values import worded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config._config import Partial

__all__ = ["TASK_GROUP", "Recorded", "decode_task", "encode_task", "task_kinds", "words_taken"]

TASK_GROUP = "runbus.tasks"
"""The entry points that bring further tasks: the tag, and the class."""

_OURS: dict[str, type[Task]] = {kind.tag: kind for kind in (Command, Function, Script)}


def task_kinds() -> list[str]:
    """Return the tags of the tasks that there are; imports none of them."""
    return sorted({*_OURS, *_installed()})


class Recorded(msgspec.Struct, frozen=True):
    """A task that runs word for word as it did before, whatever it would make of itself today.

    Attributes:
        argv: Its command line of then.
        given: The text that its program was given then.
        task: What `encode_task` made of it then.
    """

    tag: ClassVar[str] = "recorded"

    argv: tuple[Argument, ...]
    given: str = ""
    task: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """What a job of it is called if nothing says otherwise."""
        return self.asked.title

    @property
    def asked(self) -> Task:
        """The task itself, made from its data; a `Command` where that is all that is known of it.

        Raises:
            TaskInvalid: There is no such task any more, or it takes other fields.
        """
        return decode_task(self.task) if self.task else Command(self.argv, self.given)

    def command_line(self) -> tuple[Argument, ...]:
        """Return the command line of then."""
        return self.argv

    def with_values(self, values: dict[str, str]) -> Task:
        """Return the task with other values; without any it stays as it was recorded.

        A word `--name=value` of a script or command is replaced, and so is the word after `--name`;
        where there is none it is added. What a function is given is checked, which imports it.

        Raises:
            TaskInvalid: There is no such task any more.
            UsageError: A value does not fit.
        """
        if not values:
            return self
        asked = self.asked
        if isinstance(asked, Function):
            return replace(asked, python=str(self.argv[0])).with_values(values)
        words = asked.args if isinstance(asked, Script) else self.argv
        begin = len(self.argv) - len(words)
        if not isinstance(asked, (Command, Script)) or self.argv[begin:] != words:
            return asked.with_values(values)
        changed = _with_options(words, values)
        argv = (*self.argv[:begin], *changed)
        task = {**self.task, "args": _plain([*changed])} if self.task else {}
        return Recorded(argv, self.given, task)

    def relative_to(self, folder: str) -> Recorded:
        """Return the same: its paths start from nowhere."""
        del folder
        return self


def words_taken(task: Task | Partial[Any]) -> list[Output]:
    """Return which words of its command line a task takes from other jobs; looks for no files."""
    words = task.args if isinstance(task, Script) else getattr(task, "argv", ())
    return [word for word in words if isinstance(word, Output)] if isinstance(words, tuple) else []


def _with_options(words: Sequence[Argument], values: Mapping[str, str]) -> tuple[Argument, ...]:
    """Return the words of a command line with other values of some options."""
    found = list(words)
    for name, value in values.items():
        option = f"--{name}"
        texts = [word if isinstance(word, str) else "" for word in found]
        at = [i for i, word in enumerate(texts) if word.partition("=")[0] == option]
        if not at:
            found.append(f"{option}={value}")
        for i in at:
            if "=" in texts[i]:
                found[i] = f"{option}={value}"
            elif i + 1 < len(found) and not texts[i + 1].startswith("--"):
                found[i + 1] = value
            else:
                found[i] = f"{option}={value}"
    return tuple(found)


def encode_task(task: Task) -> dict[str, Any]:
    """Return what `decode_task` makes a task from.

    Empty for a `Command`, which its command line says, and where no other process could make it: a
    task of a class without an entry point, or with a value that is no data.
    """
    if isinstance(task, Recorded):
        return task.task
    if isinstance(task, Command):
        return {}
    if _OURS.get(task.tag) is not type(task) and task.tag not in _installed():
        return {}
    names = _fields(type(task))
    values = {name: _plain(getattr(task, name)) for name in names}
    said = {name: one for name, one in values.items() if one != names[name]}
    try:
        data: dict[str, Any] = {"type": task.tag, **codec.to_plain(said)}
        codec.encode_json(data)  # a lone surrogate is no text of JSON
    except (TypeError, ValueError):
        return {}
    return data


def _plain(value: Any) -> Any:
    """Return a value with the places of secrets and results instead of them."""
    if isinstance(value, Secret):
        return {"secret": value.reference}
    if isinstance(value, Output):
        return output_data(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


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
        names = _names(kind)
        if unknown := sorted(map(str, fields.keys() - names)):
            near = near_matches(unknown[0], names)
            advice = (
                f"did you mean {near[0]!r}" if near else f"there are {', '.join(sorted(names))}"
            )
            raise codec.DecodeError(f"unknown key {unknown[0]!r}; {advice}")
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
    return {*_fields(kind)}


def _fields(kind: Any) -> dict[str, Any]:
    """Return the fields of a task's class with what they are unless something else is said."""
    names = getattr(kind, "__struct_fields__", ())
    defaults = [_default(one) for one in getattr(kind, "__struct_defaults__", ())]
    last = names[len(names) - len(defaults) :]
    fields = dict.fromkeys(names) | dict(zip(last, defaults, strict=True))
    known = getattr(kind, "__dataclass_fields__", {})
    return fields | {name: one.default for name, one in known.items()}


def _default(one: Any) -> Any:
    return one.factory() if hasattr(one, "factory") else one


def _installed() -> dict[str, Any]:
    from importlib.metadata import entry_points  # costs what those who name none need not pay

    return {point.name: point for point in entry_points(group=TASK_GROUP)}
