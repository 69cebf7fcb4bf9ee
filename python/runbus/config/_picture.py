"""Pictures of configurations: trees of text, drawings, graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from runbus._secrets import Secret
from runbus.config._node import Node, Ref
from runbus.config._schema import name_of_target
from runbus.config._tree import children
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["leaf_text", "picture"]

_LINE, _CHARACTER, _MARGIN = 18, 7.8, 10


def leaf_text(value: Any) -> str:
    """Return a value as one word or so."""
    if isinstance(value, Node):
        return f"{type(value).__name__}({value._shape.schema.name})"
    if isinstance(value, Ref):
        return f"→ {value.path}"
    if isinstance(value, Secret):
        return f"secret {value.reference}"
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return name_of_target(value)
    try:
        text = repr(value)
    except Exception:  # of a value, which is not ours
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else text[:200] + "…"


def picture(root: Node, form: str) -> str:
    """Return a picture; see `Config.visualize`."""
    lines = list(_lines(leaf_text(root), root, ""))
    if form == "text":
        return "\n".join(lines) + "\n"
    if form == "svg":
        return _svg(lines)
    if form == "dot":
        return _dot(root)
    raise UsageError(f"there is no picture in the form {form!r}: text, svg or dot")


def _lines(title: str, value: Any, indent: str) -> Iterator[str]:
    yield title
    parts = list(children(value))
    for at, (step, part) in enumerate(parts):
        last = at == len(parts) - 1
        key = f"[{step}]" if isinstance(step, int) else step
        has_parts = isinstance(part, (Node, dict, list, tuple)) and any(
            True for _ in children(part)
        )
        nested = has_parts and (isinstance(part, Node) or _holds_nodes(part))
        shown = leaf_text(part) if not nested or isinstance(part, Node) else type(part).__name__
        head = f"{indent}{'└─ ' if last else '├─ '}{key}: {shown}"
        if nested:
            yield from _lines(head, part, indent + ("   " if last else "│  "))
        else:
            yield head


def _holds_nodes(value: Any) -> bool:
    return any(
        isinstance(part, Node) or (isinstance(part, (dict, list, tuple)) and _holds_nodes(part))
        for _, part in children(value)
    )


def _svg(lines: list[str]) -> str:
    width = _MARGIN * 2 + int(_CHARACTER * max(map(len, lines)))
    height = _MARGIN * 2 + _LINE * len(lines)
    rows = "\n".join(
        f'<text x="{_MARGIN}" y="{_LINE * (at + 1) + 5}">{escape(_printable(line))}</text>'
        for at, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="monospace" font-size="13" xml:space="preserve">\n{rows}\n</svg>\n'
    )


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "�" for one in text)


def _dot(root: Node) -> str:
    lines = ["digraph {", "  node [shape=box, fontname=monospace];"]
    numbers: dict[int, int] = {}

    def add(value: Any, label: str) -> int:
        number = len(lines)
        lines.append(f"  n{number} [label={_quoted(label)}];")
        for step, part in children(value):
            key = f"[{step}]" if isinstance(step, int) else step
            if isinstance(part, Node):
                if id(part) not in numbers:
                    numbers[id(part)] = add(part, leaf_text(part))
                below = numbers[id(part)]
            else:
                below = add(part if _holds_nodes(part) else None, leaf_text(part))
            lines.append(f"  n{number} -> n{below} [label={_quoted(key)}];")
        return number

    add(root, leaf_text(root))
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
