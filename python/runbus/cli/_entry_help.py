"""The help of an entrypoint: its parameters with their types, defaults and descriptions."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from runbus.cli._arguments import FLAGS, SHORT, VALUED
from runbus.cli._factories import factories_for
from runbus.config import MISSING, fields_of, is_structured, summary_of, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["entry_help"]

_WIDTH, _INDENT, _COLUMN = 80, 2, 26
_DEEPEST = 3


def entry_help(function: Any, program: str, summary: str | None) -> str:
    """Return the help of a function as a command, 80 columns wide."""
    lines = [f"Usage: {program} [OPTIONS] [NAME=VALUE]...", ""]
    told = summary or summary_of(function)
    lines += (
        [*textwrap.wrap(told, _WIDTH - _INDENT, initial_indent="  ", subsequent_indent="  "), ""]
        if told
        else []
    )
    lines.append("Parameters:")
    lines += _parameters(function, "", 0)
    lines += ["", "Options:"]
    short = {name: f"{letter}, {name}" for letter, name in SHORT.items()}
    for name, (value, text) in VALUED.items():
        lines += _row(f"{short.get(name, name)} {value}", text)
    for name, text in FLAGS.items():
        lines += _row(short.get(name, name), text)
    changes = "a=1, a.b[0]=1, a+=1 (-= *= /= |= &=), a=@file.yaml[:section], a=factory(b=1)."
    lines += ["", *textwrap.wrap(f"Changes are applied from left to right: {changes}", _WIDTH)]
    words = "executor=NAME, executor.gpus=[0], run.plugins=[NAME], run.name=NAME, run.project=NAME."
    lines += textwrap.wrap(f"It runs as a job with any of {words}", _WIDTH)
    return "\n".join(lines) + "\n"


def _parameters(target: Any, prefix: str, depth: int) -> Iterator[str]:
    owner = target
    for name, field in fields_of(target).items():
        about = [field.doc] if field.doc else []
        nested = _nested(field.type)
        if known := factories_for(field.type, owner, name):
            about.append(f"Factories: {', '.join(known)}.")
        if field.is_required:
            about.append("[required]")
        elif field.default is not MISSING and nested is None:
            about.append(f"[default: {_shown(field.default)}]")
        yield from _row(f"{prefix}{name} {type_name(field.type)}", " ".join(about))
        if nested is not None and depth < _DEEPEST:
            yield from _parameters(nested, f"{prefix}{name}.", depth + 1)


def _nested(hint: Any) -> Any:
    return hint if is_structured(hint) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _row(name: str, text: str) -> list[str]:
    head = " " * _INDENT + name
    if not text:
        return [head]
    lines = textwrap.wrap(text, _WIDTH - _COLUMN - _INDENT)
    space = " " * (_COLUMN + _INDENT)
    if len(head) + 2 <= _COLUMN + _INDENT:
        return [head.ljust(_COLUMN + _INDENT) + lines[0], *(space + one for one in lines[1:])]
    return [head, *(space + one for one in lines)]
