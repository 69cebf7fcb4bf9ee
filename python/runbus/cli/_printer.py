"""How results and errors look. Results go to standard output, everything else to standard error.

Whatever the command line writes passes `escaping`: names, errors, warnings and tables come from
files and machines that may hold anything, and none of it may move the cursor, color the terminal
or turn the direction of a line. Only colors of ours and the bytes of logs go past it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from runbus._revealed import unrevealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

__all__ = [
    "colored",
    "escaping",
    "format_lines",
    "format_number",
    "format_time",
    "format_value",
    "print_error",
    "print_json",
    "printable",
    "redirect_stderr",
    "refusal",
    "state_style",
    "unescaped",
    "unmoving",
]

_QUARTER_S = 900
_LONG_LINE = 2_000
"""Of a line of a log that has more characters, only the beginning is shown."""

# What moves the cursor, colors the terminal, breaks a line or turns its direction: names may hold
# any of it.
_BEYOND_ASCII = "\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"[\x00-\x1f\x7f{_BEYOND_ASCII}]")
_CONTROL_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f{_BEYOND_ASCII}]")

_STATE_STYLES = {
    "PROVISIONING": "cyan",
    "RUNNING": "cyan",
    "SUSPENDED": "yellow",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "LOST": "red",
    "TIMEOUT": "red",
    "CANCELLED": "yellow",
    "PREEMPTED": "yellow",
    "HEALTHY": "green",
    "UNHEALTHY": "red",
    "SKIPPED": "yellow",
}

_CODES = {
    "bold": 1, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36
}  # fmt: skip

# Colors pass; what else a program sends to a terminal would draw over the picture.
_OTHER_ESCAPES = re.compile(r"\x1b(?!\[[0-9;]*m)(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*\x07?|.?)")
_CONTROL_IN_LOGS = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\x80-\x9f]")


class _Escaped:
    """A stream that shows control characters instead of sending them; ends of lines and tabs pass.

    All else of it is the stream's own. (A subclass of the classes in `io` would close it.)

    Attributes:
        raw: The stream behind it.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        self.raw.write(_CONTROL_IN_LINES.sub(_escape, text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def escaping() -> Iterator[None]:
    """Let what is written to the standard streams do nothing to a terminal."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast("TextIO", _Escaped(out)), cast("TextIO", _Escaped(err))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


@contextmanager
def redirect_stderr(raw: TextIO) -> Iterator[None]:
    """Send what goes to standard error somewhere else, escaped as before."""
    err = sys.stderr
    sys.stderr = cast("TextIO", _Escaped(raw)) if isinstance(err, _Escaped) else raw
    try:
        yield
    finally:
        sys.stderr = err


def unescaped(stream: object) -> TextIO:
    """Return a standard stream for what is to be sent as it is."""
    return cast("TextIO", stream.raw if isinstance(stream, _Escaped) else stream)


def print_error(message: str, hint: str | None = None) -> None:
    """Print what went wrong and what to try next."""
    lines = [f"error: {message}"] + ([f"hint: {hint}"] if hint else [])
    text = unrevealed("\n".join(lines))
    # Where nobody can be told, the exit status still tells.
    with suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def print_json(value: object, out: TextIO | None = None) -> None:
    """Print a value as one JSON document, to standard output or to another stream.

    NaN and the infinities become null, what is not valid Unicode (as names of files may be) a "?".
    Control characters and marks of direction are written as JSON's escapes.
    """
    from runbus.codec import encode_json

    try:
        text = encode_json(value).decode()
    except UnicodeEncodeError:
        text = encode_json(_readable(value)).decode()
    text = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    (sys.stdout if out is None else out).write(text + "\n")


def _readable(value: object) -> object:
    from msgspec import to_builtins

    text = json.dumps(to_builtins(value), ensure_ascii=False)
    plain: object = json.loads(text.encode("utf-8", "replace"))
    return plain


def printable(text: str) -> str:
    r"""Return a text as one line that does nothing to a terminal: an ESC in it becomes `\x1b`."""
    return text if text.isprintable() else _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def state_style(state: str) -> str:
    """Return the color of a state."""
    return _STATE_STYLES.get(state, "")


def colored(text: str, style: str) -> str:
    """Return a text for a terminal in a style of rich's names; as it is if NO_COLOR is set."""
    code = _CODES.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code and "NO_COLOR" not in os.environ else text


def format_number(value: float) -> str:
    """Return a number with six significant digits; an int, which no double represents, with all."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def format_value(value: object) -> str:
    """Return a value as data has it: `0.1`, `true`, `null`, `[a, b]`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        named = (f"{name}: {format_value(part)}" for name, part in value.items())
        return f"{{{', '.join(named)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(format_value, value))}]"
    return format_number(value) if isinstance(value, int | float) else str(value)


def format_time(time_ns: int, *, is_short: bool = False) -> str:
    """Return a Unix time in nanoseconds as local date and time; empty for 0.

    Args:
        time_ns: The time.
        is_short: Whether to leave out what is known or does not matter: `11-29 17:05` within this
            year, else `2030-11-29`.
    """
    import time

    if not time_ns:
        return ""
    if not is_short:
        quarter, seconds = divmod(time_ns // 10**9, _QUARTER_S)
        begun, minute = _quarter_of_an_hour(quarter)
        return f"{begun}{minute + seconds // 60:02d}:{seconds % 60:02d}"
    then = time.localtime(time_ns / 1e9)
    is_recent = then.tm_year == time.localtime().tm_year
    return time.strftime("%m-%d %H:%M" if is_recent else "%Y-%m-%d", then)


@lru_cache(maxsize=4_096)
def _quarter_of_an_hour(number: int) -> tuple[str, int]:
    """Return the local date and hour of a quarter since 1970, and the minute at which it begins.

    No clock is set within one: a list of thousands of times asks the system for few.
    """
    import time

    then = time.localtime(number * _QUARTER_S)
    return time.strftime("%Y-%m-%d %H:", then), then.tm_min


def format_lines(lines: Sequence[bytes], label: str) -> str:
    """Return lines of a log for the eye, each after a label; of long ones only the beginning."""
    if max(map(len, lines), default=0) > _LONG_LINE:
        return "".join(f"{label}{_beginning(line)}\n" for line in lines)
    # All at once: ten times as fast.
    text = b"\n".join(lines).decode("utf-8", "replace")
    return f"{label}{text.replace(chr(10), chr(10) + label)}\n"


def _beginning(line: bytes) -> str:
    """Return a line, or its beginning and how long it is."""
    text = line[: 4 * _LONG_LINE].decode("utf-8", "replace")
    if len(line) <= 4 * _LONG_LINE and len(text) <= _LONG_LINE:
        return text
    return f"{text[:_LONG_LINE]}… ({len(line):,} bytes)"


def unmoving(text: str) -> str:
    """Return lines of logs that may color themselves, but move nothing."""
    if text.replace("\n", "").isprintable():
        return text
    if "\x1b" in text:
        text = _OTHER_ESCAPES.sub("", text).replace("\n", "\x1b[0m\n")
    return _CONTROL_IN_LOGS.sub("", text)


def refusal(error: OSError) -> str:
    """Return what the operating system refused, and where as far as it says so."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if isinstance(error.filename, (str, bytes)):
        return f"{os.fsdecode(error.filename)}: {reason}"
    return reason
