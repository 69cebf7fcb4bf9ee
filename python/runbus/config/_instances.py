"""Converters of classes with fields, of functions and classes as values, and of secrets."""

from __future__ import annotations

import collections.abc
import typing
from typing import TYPE_CHECKING, Any, get_origin

from runbus._secrets import Secret, redacted_text
from runbus.config._containers import parts_of_word
from runbus.config._making import refuse
from runbus.config._node import Mistake, Node, Word
from runbus.config._schema import is_structured, values_of

if TYPE_CHECKING:
    from runbus.config._making import Converter, Making
    from runbus.config._node import Mistakes

__all__ = ["of_callable", "of_instance"]


def of_callable(hint: Any, making: Making) -> Converter:
    wants_class = (get_origin(hint) or hint) is type

    def convert(value: Any, mistakes: Mistakes) -> Any:
        fits = isinstance(value, type) or (callable(value) and not wants_class)
        if fits and not isinstance(value, Node):
            return value
        reason = "write {_import_: module.name}" if isinstance(value, str) else ""
        return refuse(value, hint, making, mistakes, reason)

    return convert


def of_instance(hint: Any, making: Making) -> Converter:
    """Return the converter of a class that has fields of its own, or of one that has instances."""
    kind = get_origin(hint) or hint
    if kind is Secret:
        return _secret(making)
    is_dict = typing.is_typeddict(kind)
    named = making.is_named(kind)

    def convert(value: Any, mistakes: Mistakes) -> Any:
        if isinstance(value, Node):
            if value._shape.target is kind and not value._is_partial:
                return value
            return refuse(value, hint, making, mistakes)
        if isinstance(value, Word):
            value = parts_of_word(value)
        if not is_dict and _is_instance(value, kind):
            if is_structured(type(value)):
                return making.from_mapping(type(value), values_of(value), mistakes)
            return value
        if isinstance(value, collections.abc.Mapping):
            return making.from_mapping(hint, value, mistakes)
        if named and isinstance(value, (str, list, tuple)):
            return _of_part(value, hint, making, mistakes)
        return refuse(value, hint, making, mistakes)

    return convert


def _of_part(value: Any, hint: Any, making: Making, mistakes: Mistakes) -> Any:
    """Return a part that is given by its name, or the one that a list of parts makes together."""
    if isinstance(value, str):
        return making.from_mapping(hint, {"type": str(value)}, mistakes)
    if making.can_be_several(hint):
        return making.from_list(hint, value, mistakes)
    return refuse(value, hint, making, mistakes)


def _is_instance(value: Any, kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol that cannot be looked for
        return not isinstance(value, (str, int, float, bytes, list, dict, type(None)))


def _secret(making: Making) -> Converter:
    def convert(value: Any, mistakes: Mistakes) -> Any:
        if isinstance(value, Secret):
            return value
        is_place = isinstance(value, dict) and len(value) == 1 and "secret" in value
        place = value["secret"] if is_place else value
        if not isinstance(place, str):
            return refuse(value, Secret, making, mistakes)
        from runbus.errors import UsageError

        # It may be the secret itself, by mistake: it is not repeated.
        reason = "a secret is env:NAME or file:PATH, where it is: write {secret: env:NAME}"
        if (is_place or place.startswith(("env:", "file:"))) and redacted_text(place) == place:
            try:
                return Secret(str(place))
            except UsageError as error:
                reason = str(error)
        mistakes.append(Mistake(reason, expected="a secret", found="***"))
        return None

    return convert
