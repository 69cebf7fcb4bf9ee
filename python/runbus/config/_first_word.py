"""What a command line asks for: a script of Python, or another program."""

from __future__ import annotations

import os
import shutil

from runbus.config._script import Script, is_of_python
from runbus.config._task import Command

__all__ = ["script_or_program"]


def script_or_program(word: str, args: tuple[str, ...]) -> Script | Command:
    """Return the task that a first word and its arguments name, as a person means it.

    A file of Python is a script, whatever its modes; another file that may be executed is a
    program, and so is a word without `/` that is no file here and is found in `PATH`. All else is
    taken for a script, which says what is wrong with it.

    Args:
        word: A path, or the name of a program.
        args: What it gets.
    """
    if os.path.exists(word):
        if os.path.isfile(word) and os.access(word, os.X_OK) and not is_of_python(word):
            # Without a `/` a program would be looked for in `PATH`.
            return Command((os.path.join(os.curdir, word), *args))
    elif "/" not in word and shutil.which(word):
        return Command((word, *args))
    return Script(word, args)
