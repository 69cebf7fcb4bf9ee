"""What a command line asks for: a script of Python, or another program."""

from __future__ import annotations

import os
import shutil

from runbus.config._script import Script, is_of_python
from runbus.config._task import Command

__all__ = ["script_or_program"]


def script_or_program(
    word: str, args: tuple[str, ...], *, is_elsewhere: bool = False
) -> Script | Command:
    """Return the task that a first word and its arguments name, as a person means it.

    A file of Python is a script, whatever its modes; another file that may be executed is a
    program, and so is a word without `/` and `.py` that is no file here and is found in `PATH`. All
    else is taken for a script, which says what is wrong with it.

    Args:
        word: A path, or the name of a program.
        args: What it gets.
        is_elsewhere: Whether it runs where other programs are than here: `PATH` is not asked.
    """
    if os.path.isfile(word):
        if os.access(word, os.X_OK) and not is_of_python(word):
            # Without a `/` a program would be looked for in `PATH`.
            return Command((os.path.join(os.curdir, word), *args))
        return Script(word, args)
    is_name = bool(word) and "/" not in word and not word.endswith(".py")
    if is_name and (is_elsewhere or shutil.which(word)):
        return Command((word, *args))
    return Script(word, args)
