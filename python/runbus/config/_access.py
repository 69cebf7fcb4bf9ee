"""Reading and setting what is at a path of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from runbus.config._node import MISSING, Mistake, Node
from runbus.config._schema import is_structured
from runbus.config._shape import making
from runbus.config._shown import shown
from runbus.config._tree import copied, drawn
from runbus.errors import near_matches

if TYPE_CHECKING:
    from runbus.config._node import Mistakes, Path

__all__ = ["NothingThere", "assign", "begun_at", "get_at", "structured_options"]


_Made = tuple[Node, str, Any]
"""Whose field was made on the way, which one, and what was there before."""


class NothingThere(LookupError):
    """A path leads nowhere.

    Attributes:
        mistake: Where it ends, and why.
    """

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.reason)
        self.mistake = mistake


def get_at(root: Any, path: Path) -> Any:
    """Return the value at a path; `MISSING` if a field there has neither a value nor a default.

    Raises:
        NothingThere: It leads nowhere.
    """
    value = root
    for at, step in enumerate(path):
        value = _part(value, step, path[: at + 1])
    return value


def _part(value: Any, step: str | int, path: Path) -> Any:
    if isinstance(value, Node):
        if isinstance(step, int) or value._shape.field(step) is None:
            mistake = value._shape.unknown(str(step))
            mistake.path = path
            raise NothingThere(mistake)
        return drawn(value, step)
    if isinstance(value, dict):
        key = _key(value, step)
        if key is MISSING:
            near = near_matches(str(step), [one for one in value if isinstance(one, str)])
            raise NothingThere(Mistake(f"there is no key {str(step)!r}", path, near=near))
        return value[key]
    if isinstance(value, (list, tuple)):
        if isinstance(step, int) and -len(value) <= step < len(value):
            return value[step]
        raise NothingThere(Mistake(f"there is no item {step!r} in a list of {len(value)}", path))
    found = "nothing" if value is MISSING else shown(value)
    raise NothingThere(Mistake(f"{found} has no parts", path))


def _key(value: dict[Any, Any], step: str | int) -> Any:
    """Return the key that a step means: paths write numbers and other keys as texts."""
    if step in value:
        return step
    return next((key for key in value if str(key) == str(step)), MISSING)


def assign(root: Node, path: Path, value: Any, mistakes: Mistakes) -> None:
    """Set what is at a path. If it does not fit, that is reported and nothing changes.

    A configuration that may be there, but is not yet, is made on the way, and so is a mapping.
    """
    made: list[_Made] = []
    node, at = _owner(root, path, made)
    wrong: Mistakes = []
    name = path[at]
    if isinstance(name, int) or node._shape.field(name) is None:
        mistake = node._shape.unknown(str(name))
        mistake.path = path[: at + 1]
        wrong.append(mistake)
    else:
        _assign_in(node, name, path, at, value, wrong)
    if wrong:
        _undo(made)
    mistakes += wrong


def begun_at(root: Node, path: Path) -> Any:
    """Return the value at a path that a change begins from: what may be there is as if it were.

    Raises:
        NothingThere: It leads nowhere.
    """
    made: list[_Made] = []
    node, at = _owner(root, path, made)
    try:
        return get_at(node, path[at:])
    except NothingThere as error:
        error.mistake.path = (*path[:at], *error.mistake.path)
        raise
    finally:
        _undo(made)


def _undo(made: list[_Made]) -> None:
    for node, name, before in reversed(made):
        if before is MISSING:
            del node._values[name]
        else:
            node._values[name] = before


def _assign_in(node: Node, name: str, path: Path, at: int, value: Any, wrong: Mistakes) -> None:
    """Set a field, or what is at the rest of a path in the containers that it holds."""
    rest = path[at + 1 :]
    if rest:
        try:
            value = _with(copied(drawn(node, name)), rest, value, path[: at + 1])
        except NothingThere as error:
            wrong.append(error.mistake)
            return
    found = node._shape.convert(node._shape.field(name), name, value, wrong)
    if wrong:
        for one in wrong:
            one.path = (*path[:at], *one.path)
    else:
        node._drawn.pop(name, None)
        node._values[name] = found


def _owner(root: Node, path: Path, made: list[_Made]) -> tuple[Node, int]:
    """Return the innermost configuration on the way to a path, and which step is its field's.

    What is made on the way is added to `made`.
    """
    node, at = root, 0
    value: Any = root
    for index, step in enumerate(path[:-1]):
        if isinstance(value, Node) and isinstance(step, str):
            part = _made_part(value, step, made)
            if part is MISSING:
                break
            value = part
        else:
            try:
                value = _part(value, step, path[: index + 1])
            except NothingThere:
                break
        if isinstance(value, Node):
            node, at = value, index + 1
    return node, at


def _made_part(node: Node, name: str, made: list[_Made]) -> Any:
    """Return the value of a field; a new configuration if it has none and that is what it wants."""
    field = node._shape.field(name)
    if field is None:
        return MISSING
    value = drawn(node, name)
    if value is None or value is MISSING:
        kinds = structured_options(field.type)
        if len(kinds) == 1:
            wrong: Mistakes = []
            new = making.from_mapping(kinds[0], {}, wrong)
            if isinstance(new, Node) and not wrong:
                made.append((node, name, node._values.get(name, MISSING)))
                node._values[name] = new
                return new
    return value


def structured_options(hint: Any) -> list[Any]:
    """Return which classes with fields a type allows."""
    import types
    from typing import Annotated

    origin = get_origin(hint)
    if origin is Annotated:
        return structured_options(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return [kind for one in get_args(hint) for kind in structured_options(one)]
    return [hint] if is_structured(origin or hint) else []


def _with(value: Any, path: Path, new: Any, before: Path) -> Any:
    """Return a container with what is at a path in it replaced; it may be changed itself."""
    step, rest = path[0], path[1:]
    here = (*before, step)
    if value is MISSING or value is None:
        if isinstance(step, int):
            raise NothingThere(Mistake("there is no list yet", before))
        value = {}
    if isinstance(value, dict):
        key = _key(value, step)
        if key is MISSING:
            key, old = str(step) if isinstance(step, str) else step, MISSING
        else:
            old = value[key]
        value[key] = _with(old, rest, new, here) if rest else new
        return value
    if isinstance(value, (list, tuple)):
        items = list(value)
        if not isinstance(step, int) or not -len(items) <= step < len(items):
            told = f"there is no item {step!r} in a list of {len(items)}"
            raise NothingThere(Mistake(told, here))
        items[step] = _with(items[step], rest, new, here) if rest else new
        return items
    if isinstance(value, Node):
        wrong: Mistakes = []
        assign(value, path, new, wrong)
        if wrong:
            wrong[0].path = (*before, *wrong[0].path)
            raise NothingThere(wrong[0])
        return value
    raise NothingThere(Mistake(f"{shown(value)} has no parts", here))
