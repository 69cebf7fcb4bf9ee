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
    for name, errors in (("stdout", "replace"), ("stderr", "backslashreplace")):
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors=errors)
            setattr(sys, name, _buffered(stream))
    status = run_command(sys.argv[1:], OwnProcess())
    _leave_unwritten()
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


def _buffered(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream that writes all that it is given, line by line where `stream` has no buffer.

    Without one, as PYTHONUNBUFFERED has it, what a pipe did not take before a signal, as that of
    Ctrl-Z, would be lost.
    """
    raw = stream.buffer
    if not isinstance(raw, io.RawIOBase):
        return stream
    whole = io.BufferedWriter(raw)
    return io.TextIOWrapper(whole, stream.encoding, stream.errors, line_buffering=True)


def _leave_unwritten() -> None:
    """Let go of what the standard streams do not take: the status of the command tells of that.

    Else the interpreter, which tries again as it ends, would end with one of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


if __name__ == "__main__":
    main()
