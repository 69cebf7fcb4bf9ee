"""What to run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import msgspec
from msgspec.structs import force_setattr, replace

from runbus.config._function import Function
from runbus.config._node import Node
from runbus.config._output import Argument, Output, arguments
from runbus.config._script import Script
from runbus.errors import FieldInvalid, TaskInvalid, UsageError

if TYPE_CHECKING:
    from runbus.config._config import Partial

__all__ = ["Command", "Script", "Task", "check_task", "given_by", "plain_words_of", "words_of"]


@runtime_checkable
class Task(Protocol):
    """What to run: anything that can say its command line.

    It may have a text `given`, too: its program finds that in the file `given` of the folder
    `RUNBUS_ATTEMPT`, wherever it runs.

    A class of one's own is frozen data, a `msgspec.Struct` or a data class. With an entry point in
    the group `runbus.tasks`, named as its tag, a batch file can say `task: {type: TAG, …}`.

    Attributes:
        tag: What the class is called in data.
    """

    tag: ClassVar[str]

    @property
    def title(self) -> str:
        """What a job of it is called if nothing says otherwise."""
        ...

    def command_line(self) -> tuple[Argument, ...]:
        """Return the program and its arguments, as the operating system gets them.

        An argument may be an `Output`: then it is what another job returns.

        Raises:
            UsageError: It cannot run as it is.
        """
        ...

    def with_values(self, values: dict[str, str]) -> Task:
        """Return the same with the values of a point of a sweep, by their names."""
        ...

    def relative_to(self, folder: str) -> Task:
        """Return the same with its relative paths, if it has any, starting from a folder."""
        ...


class Command(msgspec.Struct, frozen=True):
    """A program and its arguments, as the operating system gets them: no shell reads them.

    Attributes:
        argv: The program first. An `Output` among its arguments is what another job returns.
        given: A text that the program finds in the file `given` of the folder `RUNBUS_ATTEMPT`.

    Raises:
        TaskInvalid: It is not a sequence of strings, or it is empty.
    """

    tag: ClassVar[str] = "command"

    argv: tuple[Argument, ...]
    given: str = ""

    def __post_init__(self) -> None:
        try:
            argv = arguments(self.argv, "argv")
        except FieldInvalid as error:
            told = f"{error.field}: {error.reason}"
            reason = "it must be a sequence of texts" if error.field == "argv" else told
            raise TaskInvalid(f"Command({self.argv!r})", reason) from error
        if not argv:
            raise TaskInvalid("Command(())", "there is no program")
        if isinstance(argv[0], Output):
            raise TaskInvalid(f"Command({argv!r})", "no other job can return the program itself")
        force_setattr(self, "argv", argv)

    @property
    def title(self) -> str:
        """What a job of it is called if nothing says otherwise."""
        return os.path.basename(str(self.argv[0]))

    def command_line(self) -> tuple[Argument, ...]:
        """Return the program and its arguments."""
        return self.argv

    def with_values(self, values: dict[str, str]) -> Command:
        """Return the same with `--name=value` for each of `values` at the end."""
        return Command((*self.argv, *_options(values)), self.given)

    def relative_to(self, folder: str) -> Command:
        """Return the same: which of its words are paths, nobody knows."""
        del folder
        return self


def check_task(given: object) -> Task:
    """Return what is a task, a `Partial` as one, and refuse what is not.

    Raises:
        TaskInvalid: It is not a task, or a `Partial` of what no other process can import.
        ConfigInvalid: A value of a `Partial` is missing or does not fit.
    """
    if not isinstance(given, (Node, Command, Script)) and "fiddle" in sys.modules:
        from runbus.config._shape import making

        given = making.adopted(given)
    # Those of our own first: to look for all that a protocol asks for takes many times as long.
    if isinstance(given, Node):
        from runbus.config._function import function_task  # costs what functions cost

        return function_task(given)
    if isinstance(given, type) or not isinstance(given, (Command, Script, Task)):
        raise TaskInvalid(repr(given), f"it is not a task: it {_lack_of(given)}")
    return given


def _lack_of(given: object) -> str:
    """Return why a thing is not a task."""
    if isinstance(given, type):
        return "is a class"
    if isinstance(given, CoroutineType):
        given.close()  # else the interpreter warns that nobody has awaited it
        return "is a coroutine"
    if hasattr(given, "command_line"):  # it is meant to be one
        needed = ("tag", "title", "with_values", "relative_to")
        return f"has no {', '.join(name for name in needed if not hasattr(given, name))}"
    if callable(given):
        return "is a function"
    kind = type(given).__name__
    return f"is {'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def words_of(task: Task | Partial[Any]) -> tuple[Argument, ...]:
    """Return the command line of a task, once it is known to be one.

    Raises:
        TaskInvalid: It is not a sequence of texts, or it is empty.
        UsageError: The task cannot run as it is.
    """
    words: Any = check_task(task).command_line()
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise TaskInvalid(repr(task), f"its command line is {words!r} instead of a tuple of texts")
    if not words or not isinstance(words[0], str) or not all(map(_is_argument, words)):
        raise TaskInvalid(repr(task), f"its command line is {words!r} instead of texts")
    return tuple(words)


def _is_argument(word: object) -> bool:
    return isinstance(word, (str, Output))


def plain_words_of(task: Task | Partial[Any]) -> tuple[str, ...]:
    """Return the command line of a task that takes nothing from other jobs.

    Raises:
        TaskInvalid: As `words_of` does.
        UsageError: As `words_of` does, or another job returns one of the words.
    """
    words = words_of(task)
    if open_ := [word for word in words if isinstance(word, Output)]:
        raise UsageError(f"{open_[0]!r} is no text: a job takes it when it is added")
    return tuple(map(str, words))


def given_by(task: Task | Partial[Any], plugins: Sequence[Any] = ()) -> str:
    """Return the text that a task gives to its program; empty for none.

    Args:
        task: The task.
        plugins: What wraps a function in its process, as data.

    Raises:
        TaskInvalid: It is no text.
    """
    task = check_task(task)
    if plugins and isinstance(task, Function):
        task = replace(task, plugins=(*task.plugins, *plugins))
    given: Any = getattr(task, "given", "")
    if not isinstance(given, str):
        raise TaskInvalid(
            repr(task), f"what it gives to its program is {given!r} instead of a text"
        )
    return given


def _options(values: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in values.items())
