"""What to run."""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from runbus._files import absolute_path, open_file
from runbus.errors import FileUnreadable, ScriptUnusable, TaskInvalid

__all__ = ["Command", "Script", "Task", "check_task"]


class Command(msgspec.Struct, frozen=True):
    """A program and its arguments, as the operating system gets them: no shell reads them.

    Attributes:
        argv: The program first.

    Raises:
        TaskInvalid: It is not a sequence of strings, or it is empty.
    """

    argv: tuple[str, ...]

    def __post_init__(self) -> None:
        argv: Any = self.argv
        # A text is a sequence of texts, too: its first letter would be the program.
        if isinstance(argv, str) or not all(isinstance(word, str) for word in argv):
            raise TaskInvalid(f"Command({argv!r})", "it must be a sequence of texts")
        if not argv:
            raise TaskInvalid("Command(())", "there is no program")

    @property
    def title(self) -> str:
        """What a job of it is called if nothing says otherwise."""
        return os.path.basename(self.argv[0])

    def command_line(self) -> tuple[str, ...]:
        """Return the program and its arguments."""
        return self.argv

    def with_values(self, values: dict[str, str]) -> Command:
        """Return the same with `--name=value` for each of `values` at the end."""
        return Command((*self.argv, *_options(values)))


class Script(msgspec.Struct, frozen=True):
    """A Python script and its arguments.

    Attributes:
        path: The script.
        args: What it gets in `sys.argv[1:]`.
        python: The interpreter; the one that runs this, if empty.
    """

    path: str
    args: tuple[str, ...] = ()
    python: str = ""

    @property
    def title(self) -> str:
        """What a job of it is called if nothing says otherwise."""
        return os.path.splitext(os.path.basename(self.path))[0]

    def command_line(self) -> tuple[str, ...]:
        """Return the interpreter, the script's absolute path and the arguments.

        Raises:
            ScriptUnusable: The script is missing, or is not a file that can be read.
        """
        path = absolute_path(self.path)
        if os.path.isdir(path):
            raise ScriptUnusable(self.path, "it is a folder")
        try:
            os.close(open_file(os.path.realpath(path)))
        except FileUnreadable as error:
            raise ScriptUnusable(self.path, error.reason) from error
        except OSError as error:
            raise ScriptUnusable(self.path, (error.strerror or str(error)).lower()) from error
        return (self.python or sys.executable, path, *self.args)

    def with_values(self, values: dict[str, str]) -> Script:
        """Return the same with `--name=value` for each of `values` before the other arguments."""
        return Script(self.path, (*_options(values), *self.args), self.python)


Task = Script | Command


def check_task(given: object) -> None:
    """Refuse what is not a task.

    Raises:
        TaskInvalid: It is not a task.
    """
    if not isinstance(given, Task):
        raise TaskInvalid(repr(given), "it is neither a Script nor a Command")


def _options(values: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in values.items())
