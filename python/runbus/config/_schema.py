"""What a target takes: the fields of anything that can be called, read from its own definition."""

from __future__ import annotations

import functools
import sys
import typing
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from runbus.config._hints import hints_of
from runbus.config._node import MISSING
from runbus.errors import TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Field", "Schema", "is_structured", "name_of_target", "schema_of", "values_of"]

_KEPT = 4096
"""How many targets are remembered."""


class Field:
    """One thing that a target takes.

    Attributes:
        name: Its name.
        type: Its type, resolved; `Any` where nothing says so.
        default: Its default; `MISSING` if there is none, or if `factory` makes it.
        factory: What makes its default, anew for each; None if nothing does.
        kind: `plain`, `positional` (cannot be named in the call), `rest` (`*args`), or `keywords`
            (`**kwargs`).
        doc: What the definition itself says of it; see `Schema.docs` for docstrings.
    """

    __slots__ = ("default", "doc", "factory", "kind", "name", "type")

    def __init__(
        self,
        name: str,
        type: Any = Any,
        default: Any = MISSING,
        factory: Callable[[], Any] | None = None,
        kind: Literal["plain", "positional", "rest", "keywords"] = "plain",
        doc: str = "",
    ) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.factory = factory
        self.kind = kind
        self.doc = doc

    @property
    def is_required(self) -> bool:
        """Whether the target cannot be called without it."""
        return self.default is MISSING and self.factory is None and self.kind in _NEEDED

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.type!r})"


_NEEDED = ("plain", "positional")


class Schema:
    """What a target takes.

    Attributes:
        target: The target.
        fields: Its fields by name, `*args` among them and `**kwargs` not.
        keywords: What further names mean; None where there may be none.
        is_open: Whether nothing is known of what it takes.
    """

    __slots__ = ("_docs", "fields", "is_open", "keywords", "needed", "target")

    def __init__(
        self,
        target: Any,
        fields: dict[str, Field],
        keywords: Field | None = None,
        *,
        is_open: bool = False,
    ) -> None:
        self.target = target
        self.fields = fields
        self.keywords = keywords
        self.is_open = is_open
        self.needed = tuple(name for name, field in fields.items() if field.is_required)
        self._docs: dict[str, str] | None = None

    @property
    def name(self) -> str:
        """What the target is called."""
        return name_of_target(self.target)

    @property
    def docs(self) -> Mapping[str, str]:
        """What is said of each field that something is said of."""
        if self._docs is None:
            from runbus.config._docs import docs_of

            told = docs_of(self.target)
            own = {name: field.doc for name, field in self.fields.items() if field.doc}
            self._docs = told | own
        return self._docs


def name_of_target(target: Any) -> str:
    """Return what a target is called, as people know it."""
    if get_origin(target) is not None:
        return str(target).replace("typing.", "")
    if isinstance(target, functools.partial):
        return name_of_target(target.func)
    return getattr(target, "__qualname__", None) or type(target).__qualname__


def schema_of(target: Any) -> Schema:
    """Return what a target takes.

    Args:
        target: A class, a function, or anything else that can be called; also a generic class with
            its arguments, such as `Box[int]`.

    Raises:
        TargetUnusable: It cannot be called.
    """
    # `Box[int | str]` equals `Box[str | int]`, but the order of a union means something.
    if get_origin(target) is not None:
        return _generic(target)
    try:
        hash(target)
    except TypeError:
        return _read(target)
    return _remembered(target)


@functools.lru_cache(_KEPT)
def _remembered(target: Any) -> Schema:
    return _read(target)


def is_structured(kind: Any) -> bool:
    """Whether a class says itself what its instances hold, so that they can be taken apart."""
    return isinstance(kind, type) and (
        hasattr(kind, "__dataclass_fields__")
        or hasattr(kind, "__struct_fields__")
        or hasattr(kind, "__attrs_attrs__")
        or _is_pydantic(kind)
    )


def values_of(instance: Any) -> dict[str, Any]:
    """Return the values that an instance of a structured class would be made from again."""
    attributes = {one.name: one for one in getattr(type(instance), "__attrs_attrs__", ())}
    found = {}
    for name, field in schema_of(type(instance)).fields.items():
        attribute = name
        if attributes:
            attribute = next(k for k, v in attributes.items() if v.alias == name)
        value = getattr(instance, attribute, MISSING)
        if value is not MISSING and field.kind == "plain":
            found[name] = value
    return found


def _is_pydantic(kind: Any) -> bool:
    return "pydantic" in sys.modules and isinstance(getattr(kind, "model_fields", None), dict)


def _read(target: Any) -> Schema:
    if target is dict:
        return Schema(target, {}, Field("values", kind="keywords"))
    if not callable(target):
        reason = f"a {type(target).__name__} cannot be called"
        raise TargetUnusable(repr(target)[:100], reason, "give a class or a function")
    if isinstance(target, type):
        if typing.is_typeddict(target):
            return Schema(target, _of_typed_dict(target))
        if hasattr(target, "__struct_fields__"):
            return Schema(target, _of_struct(target))
        if hasattr(target, "__attrs_attrs__"):
            return Schema(target, _of_attrs(target))
        if _is_pydantic(target):
            return Schema(target, _of_pydantic(target))
        parameters = getattr(target, "__dataclass_params__", None)
        # Of a subclass with an `__init__` of its own, that one says what it takes.
        if parameters is not None and parameters.init and _made_by_dataclass(target):
            return Schema(target, _of_dataclass(target))
    return _of_signature(target)


def _made_by_dataclass(target: type) -> bool:
    owner = next(one for one in target.__mro__ if "__init__" in vars(one))
    return "__dataclass_fields__" in vars(owner) and vars(owner)["__dataclass_params__"].init


def _of_dataclass(target: Any) -> dict[str, Field]:
    import dataclasses  # its user has loaded it already

    hints = hints_of(target)
    found = {}
    for field in target.__dataclass_fields__.values():
        kind = field._field_type
        if not field.init or kind is dataclasses._FIELD_CLASSVAR:  # type: ignore[attr-defined]
            continue
        hint = hints.get(field.name, Any)
        if isinstance(hint, dataclasses.InitVar):
            hint = hint.type
        given = field.default is not dataclasses.MISSING
        made = field.default_factory is not dataclasses.MISSING
        found[field.name] = Field(
            field.name,
            hint,
            field.default if given else MISSING,
            field.default_factory if made else None,
            doc=str(field.metadata.get("help") or field.metadata.get("doc") or ""),
        )
    return found


def _of_struct(target: Any) -> dict[str, Field]:
    from msgspec import NODEFAULT
    from msgspec.structs import fields

    try:
        described = fields(target)
    except NameError:  # an annotation that only type checkers can resolve
        hints = hints_of(target)
        by_signature = _of_signature(target).fields
        return {
            name: Field(name, hints.get(name, Any), one.default, one.factory)
            for name, one in by_signature.items()
        }
    found = {}
    for one in described:
        default = MISSING if one.default is NODEFAULT else one.default
        factory = None if one.default_factory is NODEFAULT else one.default_factory
        found[one.name] = Field(one.name, one.type, default, factory)
    return found


def _of_attrs(target: Any) -> dict[str, Field]:
    import attr

    hints = hints_of(target)
    found = {}
    for one in target.__attrs_attrs__:
        if not one.init:
            continue
        name = one.alias or one.name.lstrip("_")
        default: Any = one.default
        factory = None
        if type(default).__name__ == "Factory":
            # One that takes the instance can only be run by the class itself.
            factory = default.factory if not default.takes_self else (lambda: MISSING)
            default = MISSING
        elif default is attr.NOTHING:
            default = MISSING
        found[name] = Field(
            name, hints.get(one.name, one.type or Any), default, factory,
            doc=str(one.metadata.get("help") or ""),
        )  # fmt: skip
    return found


def _of_pydantic(target: Any) -> dict[str, Field]:
    found = {}
    for name, one in target.model_fields.items():
        hint = one.annotation
        if one.metadata:
            hint = typing.Annotated[(hint, *one.metadata)]
        key = one.alias or name
        if one.is_required():
            found[key] = Field(key, hint, doc=one.description or "")
        else:
            factory = one.default_factory
            default = MISSING if factory is not None else one.default
            found[key] = Field(key, hint, default, factory, doc=one.description or "")
    return found


def _of_typed_dict(target: Any) -> dict[str, Field]:
    hints = hints_of(target)
    found = {}
    for name, hint in hints.items():
        needed = name in target.__required_keys__
        # What is not there is left out: such a field has no default.
        found[name] = Field(name, hint, factory=None if needed else (lambda: MISSING))
    return found


def _of_signature(target: Any) -> Schema:
    import inspect

    try:
        signature = inspect.signature(target)
    except ValueError:  # of C, which says nothing of its parameters
        return Schema(target, {}, Field("values", kind="keywords"), is_open=True)
    hints = hints_of(target)
    kinds: dict[Any, Literal["plain", "positional", "rest"]] = {
        inspect.Parameter.POSITIONAL_ONLY: "positional",
        inspect.Parameter.VAR_POSITIONAL: "rest",
    }
    fields: dict[str, Field] = {}
    keywords = None
    for name, one in signature.parameters.items():
        default = MISSING if one.default is one.empty else one.default
        hint = hints.get(name, MISSING)
        if hint is MISSING:
            hint = type(default) if type(default) in (str, bool, int, float) else Any
        if one.kind is one.VAR_KEYWORD:
            keywords = Field(name, hint, kind="keywords")
        elif one.kind is one.VAR_POSITIONAL:
            fields[name] = Field(name, list[hint], kind="rest")  # type: ignore[valid-type]
        else:
            fields[name] = Field(name, hint, default, kind=kinds.get(one.kind, "plain"))
    return Schema(target, fields, keywords)


def _generic(target: Any) -> Schema:
    """Return what a generic class takes, with its type variables replaced by its arguments."""
    origin = get_origin(target)
    if not isinstance(origin, type):
        raise TargetUnusable(name_of_target(target), "it is not a class")
    base = schema_of(origin)
    names = getattr(origin, "__parameters__", ())
    known = dict(zip(names, get_args(target), strict=False))
    fields = {
        name: Field(name, _replaced(one.type, known), one.default, one.factory, one.kind, one.doc)
        for name, one in base.fields.items()
    }
    rest = base.keywords
    if rest is not None:
        rest = Field(rest.name, _replaced(rest.type, known), kind="keywords")
    return Schema(target, fields, rest, is_open=base.is_open)


def _replaced(hint: Any, known: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return known.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if parameters and get_origin(hint) is not None:
        return hint[tuple(known.get(one, one) for one in parameters)]
    return hint
