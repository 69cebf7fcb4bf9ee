"""`runbus`, and `python -m runbus.cli`."""

from __future__ import annotations

import io
import locale
import os
import sys

from runbus.cli._app import run_command
from runbus.cli._diverted import OwnProcess, divert_stdout

__all__ = ["main"]

_UTF8 = ("-X", "utf8")


def main() -> None:
    """Run the command line and exit with its status.

    Names and arguments are UTF-8 on disk and in jobs, whatever the locale's encoding is; what is
    printed is in that encoding.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode and sys.executable:
        # What names of files are encoded in is fixed when the interpreter starts.
        os.execv(sys.executable, [sys.executable, *_UTF8, *sys.orig_argv[1:]])
    _open_standard_streams()
    encoding = locale.getencoding() if tuple(sys.orig_argv[1:3]) == _UTF8 else None
    # A name that the terminal has no bytes for must not take the rest with it.
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors=errors)
    status = run_command(sys.argv[1:], OwnProcess())
    divert_stdout()  # what plugins print as the process ends is no part of the result
    sys.exit(status)


def _open_standard_streams() -> None:
    """Open nothing in the place of the standard streams that the launcher has closed.

    Else the next file that is opened would take their numbers, and what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            stream = open(number, "r" if number == 0 else "w", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


if __name__ == "__main__":
    main()
