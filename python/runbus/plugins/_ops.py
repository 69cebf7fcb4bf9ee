"""Shell operations of plugins: what they may be, and what POSIX shell they become."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any, Union

from runbus.errors import FieldInvalid

__all__ = ["Op", "Phase", "phase", "render_ops"]

_NAME = r"[A-Za-z0-9][A-Za-z0-9._ -]*"
_DEEPEST = 50

REPORT = """\
rb_phase() {
  if [ -n "${RUNBUS_PHASES-}" ]; then
    printf '{"type":"phase","event":"%s","phase":"%s","code":%s,"at":%s}\\n' \\
      "$1" "$2" "${3:-0}" "$(date +%s)" >>"$RUNBUS_PHASES"
  else
    echo "phase $2 $1${3:+ with exit code $3}" >&2
  fi
}"""
"""Defines what tells of a phase: by a line of JSON in the file that `RUNBUS_PHASES` names."""


@dataclasses.dataclass(frozen=True, slots=True)
class Phase:
    """Operations with a name, whose start and end are told.

    Attributes:
        name: What it is called: letters, digits, spaces and `._-`.
        ops: What it does.

    Raises:
        FieldInvalid: The name has other characters.
    """

    name: str
    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        name: Any = self.name
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            reason = "expected letters, digits, spaces and '._-'"
            raise FieldInvalid("name", repr(name), reason)


Op = Union[str, Callable[[], str], Phase, Sequence["Op"]]  # noqa: UP007 - it names itself
"""A line of POSIX shell, a function that returns one, a phase, or several of these."""


def phase(name: str, *ops: Op) -> Phase:
    """Return operations as a phase: they run in a shell of their own, which ends with an error.

    Raises:
        FieldInvalid: The name has characters that a report cannot show.
    """
    return Phase(name, ops)


def render_ops(ops: Op) -> list[str]:
    """Return operations as lines of POSIX shell: each runs by itself, and fails if it fails.

    What defines the reports of phases comes first, if there are any.

    Raises:
        FieldInvalid: Something is no operation, or they are nested too deeply.
    """
    lines: list[str] = []
    _render(ops, lines, 0)
    return [REPORT, *lines] if any(line.startswith("rb_phase ") for line in lines) else lines


def _render(op: Any, lines: list[str], depth: int) -> None:
    if depth > _DEEPEST:
        raise FieldInvalid("ops", "…", "they are nested too deeply")
    if callable(op):
        op = op()
    if isinstance(op, Phase):
        lines.append(_phase_text(op))
    elif isinstance(op, str):
        if "\0" in op:
            raise FieldInvalid("ops", repr(op), "there is a NUL in it")
        if op.strip():
            lines.append(op)
    elif isinstance(op, Sequence) and not isinstance(op, bytes):
        for one in op:
            _render(one, lines, depth + 1)
    else:
        reason = "expected shell text, a function that returns it, a phase, or a list of these"
        raise FieldInvalid("ops", repr(op), reason)


def _phase_text(one: Phase) -> str:
    # A shell of its own, so that what fails ends it, wherever the phase stands.
    body = "\n".join(render_ops(one.ops)) or ":"
    name = shlex.quote(one.name)
    return f"""\
rb_phase started {name}
if sh -ec {shlex.quote(body)}
then rb_phase completed {name}
else rb_code=$?; rb_phase failed {name} "$rb_code"; (exit "$rb_code")
fi"""
