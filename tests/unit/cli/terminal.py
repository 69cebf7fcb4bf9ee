"""A terminal that knows what runbus may send to one, and nothing else."""

from __future__ import annotations

import difflib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_GOLDEN = Path(__file__).parents[2] / "golden" / "screens"
_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


class Terminal:
    """What a person sees: a screen, and what has scrolled out of it.

    Anything but text, line ends, colors, "up", "home" and "erase" is a mistake.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[str] = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if found := _SEQUENCE.match(text, at):
                self._obey(found[1], found[2])
                at = found.end()
                continue
            self._show(text[at])
            at += 1

    def _obey(self, number: str, letter: str) -> None:
        if letter == "A":
            top = max(0, len(self.lines) - self.rows)
            self._row = max(top, self._row - int(number or 1))
        elif letter == "H":
            assert not number
            self._row = self._column = 0
        elif (number, letter) == ("2", "J"):
            self.lines = [""]
        elif letter == "J":
            assert number in {"", "0"}
            del self.lines[self._row + 1 :]
            self.lines[self._row] = self.lines[self._row][: self._column]
        else:
            assert letter == "m", f"ESC [ {number} {letter}"

    def _show(self, character: str) -> None:
        if character == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")
        elif character == "\r":
            self._column = 0
        else:
            assert character.isprintable() or character == "\t", repr(character)
            if self._column == self.columns:
                self._show("\n")
                self._column = 0
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n") + "\n"


def watch(
    command: Sequence[str], columns: int, rows: int, env: Mapping[str, str] | None = None
) -> tuple[int, str, bytes]:
    """Run a command in a terminal; return its status, all lines that were left, and all bytes."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = os.environ | {"TERM": "xterm"} | dict(env or {})
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        variables.pop(name, None)
    with subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, env=variables, start_new_session=True
    ) as process:
        os.close(there)
        killer = threading.Timer(120, process.kill)
        killer.start()
        data = b""
        try:
            while piece := os.read(here, 1 << 16):
                data += piece
        except OSError:
            pass  # nobody has it open any more
        status = process.wait()
        killer.cancel()
    os.close(here)
    terminal = Terminal(columns, rows)
    terminal.feed(data.decode("utf-8", "replace"))
    return status, str(terminal), data


def check_golden(name: str, screen: str) -> None:
    """Compare a screen with the one that was looked at; `RUNBUS_GOLDEN=write` keeps a new one."""
    path = _GOLDEN / f"{name}.txt"
    if os.environ.get("RUNBUS_GOLDEN") == "write":
        path.write_text(screen)
    expected = path.read_text()
    assert screen == expected, "\n".join(difflib.ndiff(expected.split("\n"), screen.split("\n")))
