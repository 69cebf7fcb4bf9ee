"""Configurations as plain data, and back: what `_target_`, `_ref_` and the like mean."""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import math
import pathlib
import uuid
from typing import TYPE_CHECKING, Any

from runbus._secrets import Secret
from runbus.config._node import MISSING, Mistake, Node, Ref, Word
from runbus.config._output import Output, output_data, output_of
from runbus.config._schema import is_structured, values_of
from runbus.config._shape import fill, making, new_node
from runbus.config._shown import shown
from runbus.config._targets import import_target, path_of
from runbus.config._tree import given, same
from runbus.config._units import duration_text
from runbus.errors import ConfigInvalid, RunbusError, TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbus.config._making import Converter
    from runbus.config._node import Mistakes

__all__ = ["finite", "from_data", "literal", "order", "plain", "to_data", "typed"]

_TYPES: dict[str, Any] = {
    "none": type(None), "float": float, "tuple": tuple, "set": set, "frozenset": frozenset,
    "bytes": bytes, "complex": complex, "path": pathlib.Path, "datetime": datetime.datetime,
    "date": datetime.date, "time": datetime.time, "duration": datetime.timedelta,
    "decimal": decimal.Decimal, "uuid": uuid.UUID, "secret": Secret, "str": str, "dict": dict,
}  # fmt: skip
"""What `_type_` calls the types whose values look like those of another one in data."""

_NAMES = {kind: name for name, kind in _TYPES.items()} | {pathlib.PosixPath: "path"}

_NAMING = ("_target_", "_factory_", "_ref_", "_from_", "_import_", "_type_")

_KEYS = {*_NAMING, "_partial_", "_value_"}


class Reading:
    """Turns data into configurations; imports what they name, and nothing else.

    Args:
        allowed: The modules that may be imported from; any if None.
    """

    def __init__(self, allowed: Sequence[str] | None) -> None:
        self._allowed = allowed
        self.mistakes: Mistakes = []

    def value(self, data: Any) -> Any:
        """Return data with a configuration in the place of each mapping that names one."""
        if isinstance(data, dict):
            return self._mapping(data)
        if isinstance(data, (list, tuple)):
            return [self._at(at, one) for at, one in enumerate(data)]
        return data

    def _at(self, step: str | int, data: Any) -> Any:
        known = len(self.mistakes)
        found = self.value(data)
        for one in self.mistakes[known:]:
            one.path = (step, *one.path)
        return found

    def _mapping(self, data: dict[Any, Any]) -> Any:
        named = [key for key in _NAMING if key in data]
        if not named:
            return {key: self._at(str(key), one) for key, one in data.items()}
        if len(named) > 1 or (named[0] == "_factory_" and "_partial_" in data):
            reason = f"{' and '.join(named)} cannot be in one mapping"
            return self._wrong(Mistake(reason, (named[1] if len(named) > 1 else "_partial_",)))
        key = named[0]
        name = data[key]
        if not isinstance(name, str):
            return self._wrong(Mistake(f"expected a text, found {shown(name)}", (key,)))
        rest = {one: value for one, value in data.items() if one != key}
        try:
            return _READ[key](self, name, rest)
        except (TargetUnusable, RunbusError) as error:
            told = f"{error}; {error.hint}" if error.hint else str(error)
            return self._wrong(Mistake(told, (key,), found=shown(name)))

    def _wrong(self, mistake: Mistake) -> Any:
        self.mistakes.append(mistake)
        return MISSING

    def _target(self, name: str, rest: dict[str, Any]) -> Any:
        partial = rest.pop("_partial_", False)
        if not isinstance(partial, bool):
            return self._wrong(Mistake("expected true or false", ("_partial_",)))
        node = new_node(import_target(name, self._allowed), partial=partial)
        self.fill(node, rest)
        return node

    def fill(self, node: Node, data: dict[str, Any]) -> None:
        """Give a configuration the values that data has for it."""
        values = {}
        known = len(self.mistakes)
        for key, one in data.items():
            found = self._at(str(key), one)
            if found is not MISSING:
                values[key] = found
        wrong = {one.path[:1] for one in self.mistakes[known:]}
        told: Mistakes = []
        fill(node, values, told)
        # What is wrong with a part of it is reported already.
        self.mistakes += [one for one in told if one.path[:1] not in wrong]

    def _factory(self, name: str, rest: dict[str, Any]) -> Any:
        node = new_node(import_target(name, self._allowed))
        known = len(self.mistakes)
        self.fill(node, rest)
        if len(self.mistakes) > known:
            return MISSING
        found = node.build()
        if isinstance(found, Node):
            return found
        if is_structured(type(found)):
            wrong: Mistakes = []
            made = making.from_mapping(type(found), values_of(found), wrong)
            self.mistakes += wrong
            return made
        return found

    def _ref(self, name: str, rest: dict[str, Any]) -> Any:
        return self._alone("_ref_", rest) or Ref(name)

    def _from(self, name: str, rest: dict[str, Any]) -> Any:
        return output_of({"_from_": name, **rest})

    def _import(self, name: str, rest: dict[str, Any]) -> Any:
        return self._alone("_import_", rest) or import_target(name, self._allowed)

    def _alone(self, key: str, rest: dict[str, Any]) -> Any:
        if rest:
            other = next(iter(rest))
            self._wrong(Mistake(f"nothing may be beside {key}", (str(other),)))
        return None

    def _typed(self, name: str, rest: dict[str, Any]) -> Any:
        value = rest.pop("_value_", None)
        self._alone("_type_", rest)
        if name == "dict" and isinstance(value, list):
            pairs = [self._at(at, one) for at, one in enumerate(value)]
            return dict(pairs)
        kind = _TYPES[name] if name in _TYPES else import_target(name, self._allowed)
        if name not in _TYPES and not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
            raise TargetUnusable(name, "a _type_ is an enumeration", f"or {', '.join(_TYPES)}")
        if name == "float" and isinstance(value, str):
            value = Word(value)
        wrong: Mistakes = []
        found = making.converter(kind)(self.value(value), wrong)
        for one in wrong:
            one.path = ("_value_", *one.path)
        self.mistakes += wrong
        return found


_READ: dict[str, Callable[[Reading, str, dict[str, Any]], Any]] = {
    "_target_": Reading._target,
    "_factory_": Reading._factory,
    "_ref_": Reading._ref,
    "_from_": Reading._from,
    "_import_": Reading._import,
    "_type_": Reading._typed,
}


def from_data(data: Any, allowed: Sequence[str] | None = None) -> tuple[Any, Mistakes]:
    """Return data with configurations in the place of mappings that name targets, and mistakes.

    Args:
        data: Mappings, lists and scalars.
        allowed: The modules that may be imported from; any if None.
    """
    reading = Reading(allowed)
    return reading.value(data), reading.mistakes


def to_data(node: Node) -> dict[str, Any]:
    """Return a configuration as mappings, lists and scalars that `from_data` reads.

    A value that its field's type would not read back is written with its `_type_`.

    Raises:
        TargetUnusable: A class or function has no import path.
        ConfigInvalid: A value cannot be written.
    """
    try:
        return _node(node)
    except _Unwritable as error:
        path = tuple(reversed(error.steps))
        problem = Mistake(error.reason, path).told()
        raise ConfigInvalid(node._shape.schema.name, (problem,)) from None
    except RecursionError:
        problem = Mistake("it holds itself").told()
        raise ConfigInvalid(node._shape.schema.name, (problem,)) from None


class _Unwritable(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[Any] = []


def _node(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"_target_": path_of(node._shape.target)}
    if node._is_partial:
        found["_partial_"] = True
    for name, value in given(node).items():
        if name in _KEYS:
            raise _Unwritable(f"a field named {name!r} cannot be written")
        found[name] = _within(name, value, node)
    return found


def _within(step: Any, value: Any, node: Node) -> Any:
    try:
        data = plain(value)
        field = node._shape.field(step)
        convert = node._shape.converter(field)
        return data if _reads_back(data, value, convert, field.default) else typed(value)
    except _Unwritable as error:
        error.steps.append(step)
        raise


def _reads_back(plain: Any, value: Any, convert: Converter, default: Any) -> bool:
    if type(value) in (str, bool, int, float) or isinstance(value, (Node, Ref)):
        return True
    if value is None:
        return True
    data, wrong = from_data(plain)
    if not wrong:
        if data is default:
            return value is default
        found = convert(data, wrong)
        return not wrong and same(found, value)
    return False


def plain(value: Any) -> Any:
    """Return a value as data, if its type is known where it is read."""
    kind = type(value)
    if kind in (str, bool, int, float) or value is None:
        return value
    if isinstance(value, Node):
        return _node(value)
    if kind in (list, tuple):
        return [_item(at, one) for at, one in enumerate(value)]
    if kind in (set, frozenset):
        return [plain(one) for one in sorted(value, key=order)]
    if kind is dict:
        return _plain_dict(value)
    for known, write in _WRITE:
        if isinstance(value, known):
            return write(value)
    if isinstance(value, type) or callable(value):
        return {"_import_": path_of(value)}
    raise _Unwritable(f"a {kind.__name__} cannot be written")


def _plain_dict(value: dict[Any, Any]) -> dict[str, Any]:
    if _KEYS & {one for one in value if isinstance(one, str)}:
        raise _Unwritable("a mapping with a key such as _target_ cannot be written")
    keys = {one: one if type(one) is str else _key(one) for one in value}
    if len(set(keys.values())) < len(keys):
        raise _Unwritable("two of its keys are written alike")
    return {keys[key]: _item(key, one) for key, one in value.items()}


def order(value: Any) -> tuple[bool, Any, str]:
    """Return what sorts values of any types: numbers by size, the rest by how they read."""
    is_number = isinstance(value, (int, float)) and value == value
    return not is_number, value if is_number else 0, repr(value)


def _item(step: Any, value: Any) -> Any:
    try:
        return plain(value)
    except _Unwritable as error:
        error.steps.append(step)
        raise


def _key(key: Any) -> str:
    data = plain(key)
    if isinstance(data, (dict, list)):
        raise _Unwritable(f"a key that is a {type(key).__name__} cannot be written")
    return "none" if data is None else str(data).lower() if isinstance(data, bool) else str(data)


_WRITE: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Output, output_data),
    (Ref, lambda value: {"_ref_": value.path}),
    (Secret, lambda value: {"secret": value.reference}),
    (enum.Flag, lambda value: "|".join(one.name or "" for one in value)),
    (enum.Enum, lambda value: value.name),
    (str, str),
    (bool, bool),
    (int, int),
    (float, float),
    (pathlib.PurePath, str),
    (bytes, lambda value: base64.b64encode(value).decode()),
    (complex, str),
    (datetime.datetime, lambda value: value.isoformat()),
    (datetime.date, lambda value: value.isoformat()),
    (datetime.time, lambda value: value.isoformat()),
    (
        datetime.timedelta,
        lambda value: duration_text(value.days * 86_400 + value.seconds, value.microseconds),
    ),
    (decimal.Decimal, str),
    (uuid.UUID, str),
)


def typed(value: Any) -> Any:
    """Return a value with the type that it is read back as, at any depth."""
    kind = type(value)
    if kind in (str, bool, int, float) or value is None or isinstance(value, (Node, Ref)):
        return plain(value)
    if kind is list:
        return [typed(one) for one in value]
    if kind is dict:
        if all(type(one) is str for one in value) and not _KEYS & set(value):
            return {key: typed(one) for key, one in value.items()}
        return {"_type_": "dict", "_value_": [[typed(k), typed(v)] for k, v in value.items()]}
    if kind in (tuple, set, frozenset):
        items = value if kind is tuple else sorted(value, key=order)
        return {"_type_": _NAMES[kind], "_value_": [typed(one) for one in items]}
    if isinstance(value, enum.Enum):
        return {"_type_": path_of(kind), "_value_": plain(value)}
    if kind in _NAMES:
        return {"_type_": _NAMES[kind], "_value_": plain(value)}
    return plain(value)


def literal(value: Any) -> Any:
    """Return data that is read back as a value of JSON, whatever keys its mappings have."""
    return finite(typed(value))


def finite(data: Any) -> Any:
    """Return data without numbers that JSON has no form for."""
    if isinstance(data, dict):
        return {key: finite(one) for key, one in data.items()}
    if isinstance(data, list):
        return [finite(one) for one in data]
    if isinstance(data, float) and not math.isfinite(data):
        return {"_type_": "float", "_value_": str(data)}
    return data
