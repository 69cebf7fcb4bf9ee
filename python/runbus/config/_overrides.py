"""`model.width*=2`: changes of a configuration, as people write them on a command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.config._access import NothingThere, assign, begun_at, get_at, structured_options
from runbus.config._asking import part_type
from runbus.config._node import MISSING, Mistake, Node, Word
from runbus.config._paths import parse_path
from runbus.config._scalars import READERS, guess, is_a
from runbus.config._schema import schema_of
from runbus.config._shown import shown, type_text
from runbus.config._variables import variables
from runbus.config._words import read_words
from runbus.errors import ConfigInvalid, ConfigProblem, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from runbus.config._node import Mistakes, Path
    from runbus.config._schema import Field

__all__ = [
    "Override",
    "apply_override",
    "apply_overrides",
    "environment_overrides",
    "is_override",
    "parse_override",
    "type_at",
]

_FORM = re.compile(r"\s*([A-Za-z_][^=\s]*?)\s*(\+=|-=|\*=|/=|\|=|&=|=)(.*)", re.DOTALL)


class Override(NamedTuple):
    """One change.

    Attributes:
        path: What it changes.
        operator: `=`, `+=`, `-=`, `*=`, `/=`, `|=` or `&=`.
        value: What with; a `Word` of a command line is read as the type there.
        origin: What said so: an argument, or a variable of the environment.
        in_any_case: Whether the names of fields may be in another case than they are.
    """

    path: Path
    operator: str
    value: Any
    origin: str = ""
    in_any_case: bool = False


def is_override(text: str) -> bool:
    """Whether an argument has the form of a change."""
    return _FORM.fullmatch(text) is not None


def parse_override(text: str) -> Override:
    """Return the change that an argument writes down.

    Raises:
        UsageError: It has no such form.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"{shown(text)} is no change: write path=value, for example model.width=8")
    try:
        path = parse_path(found[1])
    except ValueError as error:
        raise UsageError(str(error)) from None
    return Override(path, found[2], Word(found[3].strip()), text)


def environment_overrides(prefix: str, environment: Mapping[str, str]) -> Iterator[Override]:
    """Yield the changes that variables make, in the order of their names.

    `RUNBUS__MODEL__WIDTH` is `model.width`; names of fields are found in any case.

    Raises:
        UsageError: The name of a variable is not a path, or two of them set the same value.
    """
    for name, text, value in variables(prefix, environment):
        try:
            path = parse_path(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
        steps = tuple(int(one) if isinstance(one, str) and one.isdecimal() else one for one in path)
        yield Override(steps, "=", Word(value), name, in_any_case=True)


def apply_override(root: Node, override: Override, mistakes: Mistakes) -> Path:
    """Change a configuration, and return the path that was meant.

    What does not fit is reported, and nothing changes.
    """
    path = override.path
    if override.in_any_case:
        path = _in_any_case(root, path)
    value = override.value
    if override.operator != "=":
        try:
            value = _changed(root, path, override)
        except NothingThere as error:
            mistakes.append(error.mistake)
            return path
        except _Refused as error:
            mistakes.append(Mistake(error.reason, path, found=shown(override.value)))
            return path
    assign(root, path, value, mistakes)
    return path


def _in_any_case(root: Node, path: Path) -> Path:
    """Return a path with its steps as the fields are written: variables are in upper case."""
    found: list[str | int] = []
    value: Any = root
    for step in path:
        name = step
        if isinstance(step, str):
            known: list[str] = []
            if isinstance(value, Node):
                known = list(value._shape.schema.fields)
            elif isinstance(value, dict):
                known = [one for one in value if isinstance(one, str)]
            alike = [one for one in known if one.lower() == step.lower()]
            name = step if step in known else alike[0] if len(alike) == 1 else step.lower()
        found.append(name)
        try:
            value = get_at(value, (name,)) if value is not None else None
        except NothingThere:
            value = None
    return tuple(found)


class _Refused(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _changed(root: Node, path: Path, override: Override) -> Any:
    """Return what a value becomes by `+=` and the like.

    Raises:
        NothingThere: The path leads nowhere.
        _Refused: The value has none yet, or its type has no such operation.
    """
    old = begun_at(root, path)
    operator = override.operator
    if old is MISSING:
        raise _Refused(f"{operator} needs a value to start from, and there is none")
    word = override.value
    operand: Any = word
    if type(old) is str:
        operand = str(word)
    elif isinstance(word, Word):
        operand = _operand(old, word)
    apply = _OPERATORS[operator]
    try:
        return apply(old, operand)
    except ZeroDivisionError:
        raise _Refused("/= by zero") from None
    except (TypeError, ValueError, OverflowError):
        told = f"{operator} does not go with {type_text(type(old))} and {shown(word)}"
        raise _Refused(told) from None


def _operand(old: Any, word: Word) -> Any:
    """Return the word as what goes with a value: a number with numbers, a list with lists."""
    if isinstance(old, (list, tuple, set, frozenset, dict)):
        found = read_words(word)
        if type(found) is Word:
            return [found] if not isinstance(old, dict) else found
        return found
    if _is_number(old) and type(old) not in (int, float):
        try:
            return READERS[type(old)](str(word))
        except (TypeError, ValueError, ArithmeticError):
            pass
    return guess(word)


def _add(old: Any, new: Any) -> Any:
    if isinstance(old, (list, tuple)):
        return [*old, *(new if isinstance(new, (list, tuple)) else [new])]
    if isinstance(old, (set, frozenset)):
        return [*old, *new]
    if isinstance(old, bool) or isinstance(new, bool):
        raise TypeError
    return old + new


def _subtract(old: Any, new: Any) -> Any:
    if isinstance(old, (set, frozenset, list)):
        gone = {str(one) for one in new}
        return [one for one in old if str(one) not in gone]
    if isinstance(old, bool) or isinstance(new, bool):
        raise TypeError
    return old - new


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float, complex))
        or is_a(value, "decimal", "Decimal")
        or is_a(value, "datetime", "timedelta")
    )


def _multiply(old: Any, new: Any) -> Any:
    # A text or a list times a number is no arithmetic, and may be of any size.
    if isinstance(old, bool) or not all(map(_is_number, (old, new))):
        raise TypeError
    return old * new


def _divide(old: Any, new: Any) -> Any:
    if isinstance(old, bool):
        raise TypeError
    result = old / new
    # A field of integers takes the quotient only if it is one.
    if isinstance(old, int) and isinstance(result, float) and result.is_integer():
        return int(result)
    return result


def _unite(old: Any, new: Any) -> Any:
    if isinstance(old, dict):
        return {**old, **new}
    if isinstance(old, (set, frozenset)):
        return [*old, *new]
    if isinstance(old, bool) and isinstance(new, bool):
        return old or new
    return old | new


def _intersect(old: Any, new: Any) -> Any:
    if isinstance(old, dict):
        if not isinstance(new, (dict, list, tuple)):
            raise TypeError
        kept = {str(one) for one in new}
        return {key: one for key, one in old.items() if str(key) in kept}
    if isinstance(old, (set, frozenset)):
        kept = {str(one) for one in new}
        return [one for one in old if str(one) in kept]
    if isinstance(old, bool) and isinstance(new, bool):
        return old and new
    return old & new


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+=": _add,
    "-=": _subtract,
    "*=": _multiply,
    "/=": _divide,
    "|=": _unite,
    "&=": _intersect,
}


def apply_overrides(root: Node, overrides: Iterable[Override]) -> None:
    """Change a configuration, strictly in order.

    Raises:
        ConfigInvalid: Some do not fit; every one is reported, with what said it.
    """
    problems: list[ConfigProblem] = []
    for override in overrides:
        mistakes: Mistakes = []
        apply_override(root, override, mistakes)
        problems += [one.told(override.origin) for one in mistakes]
    if problems:
        raise ConfigInvalid(root._shape.schema.name, tuple(problems))


def type_at(root: Node, path: Path) -> Any:
    """Return the type of what a path leads to; `Any` where no type says so, None if nowhere."""
    *before, step = path
    try:
        owner = get_at(root, tuple(before))
    except NothingThere:
        return None
    if isinstance(owner, Node):
        field: Field | None = None if isinstance(step, int) else owner._shape.field(step)
        return None if field is None else field.type
    if not before:
        return None
    hint = type_at(root, tuple(before))
    kinds = structured_options(hint)
    if len(kinds) == 1 and not isinstance(step, int) and not isinstance(owner, dict):
        named = schema_of(kinds[0]).fields.get(step)  # of what will be made there
        return None if named is None else named.type
    return part_type(hint, step)
