"""What is different between two configurations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from runbus.config._node import MISSING, Node, path_text
from runbus.config._picture import leaf_text
from runbus.config._schema import name_of_target
from runbus.config._tree import children, same

if TYPE_CHECKING:
    from runbus.config._node import Path

__all__ = ["Change", "Diff", "difference", "difference_of_data"]


class Change(NamedTuple):
    """One thing that is different.

    Attributes:
        path: Where, such as `model.layers[0].width`; empty for the root.
        old: What the older one has there; `MISSING` for nothing.
        new: What the newer one has there; `MISSING` for nothing.
    """

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        where = self.path or "(the target)"
        if self.old is MISSING:
            return f"+ {where}: {leaf_text(self.new)}"
        if self.new is MISSING:
            return f"- {where}: {leaf_text(self.old)}"
        return f"~ {where}: {leaf_text(self.old)} → {leaf_text(self.new)}"


class Diff(Sequence[Change]):
    """What is different between two configurations: a sequence of changes, empty if nothing is.

    `str` gives a line each: `~ model.width: 512 → 1024`, `+ …` for what is new, `- …` for what is
    gone.
    """

    def __init__(self, changes: Sequence[Change], name: str) -> None:
        self._changes = tuple(changes)
        self._name = name

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self._changes[index]

    def __len__(self) -> int:
        return len(self._changes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Diff) and self._changes == other._changes

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return "\n".join(map(str, self._changes)) or "no differences"

    def __repr__(self) -> str:
        return f"Diff({list(self._changes)!r})"

    def dot(self) -> str:
        """Return a graph for Graphviz: the paths that lead to changes, the changes colored."""
        lines = ["digraph {", "  rankdir=LR; node [shape=box, fontname=monospace];"]
        lines.append(f"  n0 [label={_quoted(self._name)}];")
        numbers: dict[tuple[str, ...], int] = {(): 0}
        for one in self._changes:
            steps: tuple[str, ...] = ()
            for step in one.path.replace("[", ".[").strip(".").split(".") if one.path else ():
                above, steps = steps, (*steps, step)
                if steps not in numbers:
                    numbers[steps] = len(numbers)
                    lines.append(f"  n{numbers[steps]} [label={_quoted(step)}];")
                    lines.append(f"  n{numbers[above]} -> n{numbers[steps]};")
            color = "green" if one.old is MISSING else "red" if one.new is MISSING else "orange"
            label = str(one).partition(": ")[2]
            lines.append(f"  c{len(lines)} [label={_quoted(label)}, color={color}];")
            lines.append(f"  n{numbers[steps]} -> c{len(lines) - 1};")
        return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def difference(old: Node, new: Node) -> Diff:
    """Return what is different; see `Config.diff`."""
    name = old._shape.schema.name
    return Diff(list(_changes(old, new, ())), name)


def difference_of_data(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Diff:
    """Return what is different between the plain data of two configurations."""
    return Diff(list(_changes(dict(old), dict(new), ())), "the configuration")


def _changes(old: Any, new: Any, path: Path) -> Iterator[Change]:
    if same(old, new):
        return
    kinds = (Node, dict, list, tuple)
    alike = isinstance(old, kinds) and isinstance(new, kinds) and type(old) is type(new)
    if not alike:
        yield Change(path_text(path), old, new)
        return
    if isinstance(old, Node):
        one, other = old._shape.target, new._shape.target
        if one is not other and one != other:
            yield Change(path_text(path), name_of_target(one), name_of_target(other))
    before, after = (one if type(one) is dict else dict(children(one)) for one in (old, new))
    for step in {**before, **after}:
        here = (*path, str(step) if type(old) is dict else step)
        yield from _changes(before.get(step, MISSING), after.get(step, MISSING), here)
