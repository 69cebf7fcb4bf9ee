"""`Config` and `Partial`: what something is made of, before it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runbus.config._access import NothingThere, assign, get_at
from runbus.config._build import build, mistakes_of
from runbus.config._node import MISSING, Node
from runbus.config._paths import parse_path
from runbus.config._schema import is_structured, values_of
from runbus.config._shape import fill, making, node_classes, raise_mistakes, shape_of
from runbus.config._tree import copied, drawn, given, same
from runbus.errors import FieldUnknown, FieldUnset, UsageError, near_matches

if TYPE_CHECKING:
    import functools
    from collections.abc import Callable, Iterator, Mapping
    from typing import Self

    from runbus.config._diff import Diff
    from runbus.config._schema import Field

__all__ = ["Config", "Partial", "as_config", "fields_of", "make", "target_of"]

T = TypeVar("T")


class _Described(Node, Generic[T]):
    __slots__ = ()

    def __init__(self, target: Callable[..., T], /, *args: Any, **values: Any) -> None:
        set_ = object.__setattr__
        set_(self, "_shape", shape_of(target))
        set_(self, "_values", {})
        set_(self, "_drawn", {})
        named = self._named(args) if args else {}
        if twice := sorted(named.keys() & values.keys()):
            raise UsageError(f"{self._shape.schema.name} is given {twice[0]!r} twice")
        mistakes: Any = []
        fill(self, {**named, **values}, mistakes)
        raise_mistakes(self, mistakes)

    def _named(self, args: tuple[Any, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        rest = list(args)
        for name, field in self._shape.schema.fields.items():
            if not rest:
                break
            found[name] = rest if field.kind == "rest" else rest.pop(0)
            if field.kind == "rest":
                rest = []
        if rest:
            raise UsageError(
                f"{self._shape.schema.name} takes {len(found)} values, {len(args)} are given"
            )
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in Node.__slots__:
            raise AttributeError(name)
        shape = self._shape
        if name not in self._values and shape.schema.fields.get(name) is None:
            raise self._no_field(name)
        value = drawn(self, name)
        if value is MISSING:
            raise FieldUnset(shape.schema.name, name)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if self._shape.field(name) is None or name.startswith("__"):
            raise self._no_field(name)
        mistakes: Any = []
        assign(self, (name,), value, mistakes)
        raise_mistakes(self, mistakes)

    def __delattr__(self, name: str) -> None:
        if name not in self._values and name not in self._drawn:
            if self._shape.field(name) is None:
                raise self._no_field(name)
            raise FieldUnset(self._shape.schema.name, name)
        self._values.pop(name, None)
        self._drawn.pop(name, None)

    def _no_field(self, name: str) -> FieldUnknown:
        known = tuple(self._shape.schema.fields)
        return FieldUnknown(self._shape.schema.name, name, near_matches(name, known), known)

    def __getitem__(self, path: str) -> Any:
        try:
            value = get_at(self, parse_path(path))
        except ValueError as error:
            raise UsageError(str(error)) from None
        except NothingThere as error:
            raise_mistakes(self, [error.mistake])
            raise
        if value is MISSING:
            raise FieldUnset(self._shape.schema.name, path)
        return value

    def __setitem__(self, path: str, value: Any) -> None:
        try:
            steps = parse_path(path)
        except ValueError as error:
            raise UsageError(str(error)) from None
        mistakes: Any = []
        assign(self, steps, value, mistakes)
        raise_mistakes(self, mistakes)

    def __contains__(self, name: object) -> bool:
        """Whether a field has been set, or changed since it was read as its default."""
        return name in given(self)

    def __dir__(self) -> Iterator[str]:
        yield from object.__dir__(self)
        yield from self._shape.schema.fields
        yield from self._values

    def __eq__(self, other: object) -> bool:
        return same(self, other) if isinstance(other, Node) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [self._shape.schema.name, *(f"{k}={v!r}" for k, v in given(self).items())]
        return f"{type(self).__name__}({', '.join(parts)})"

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self._shape.target, given(self))

    def copy(self) -> Self:
        """Return a copy that shares nothing that can be changed."""
        twin: Self = copied(self)
        return twin

    def complete(self) -> Self:
        """Return it, once nothing that its target needs is missing; of a Partial, too.

        Raises:
            ConfigInvalid: A value is missing or does not fit; every mistake is reported.
        """
        raise_mistakes(self, mistakes_of(self, is_called=True))
        return self

    def walk(
        self, change: Callable[[Any], Any] | None = None, /, **fields: Callable[[Any], Any]
    ) -> Self:
        """Return a new configuration in which functions have changed something.

        It goes into lists, tuples and mappings, outermost first; `self` stays as it is.

        Args:
            change: Is called with each configuration, which it may change; what it returns, if not
                None, stands in its place.
            fields: By the name of a field: what is called with each configuration that has such a
                field, and returns its value there.

        Raises:
            FieldUnknown: No configuration in it has a field of one of these names.
            ConfigInvalid: A value does not fit.
        """
        from runbus.config._walk import walked

        return walked(self, change, fields)  # type: ignore[no-any-return]

    def broadcast(self, **values: Any) -> Self:
        """Return a new configuration with values set wherever there are fields of these names.

        It goes into lists, tuples and mappings; `self` stays as it is.

        Raises:
            FieldUnknown: No configuration in it has a field of one of these names.
            ConfigInvalid: A value does not fit somewhere.
        """
        from runbus.config._walk import walked

        setting = {name: (lambda _, value=value: value) for name, value in values.items()}
        return walked(self, None, setting)  # type: ignore[no-any-return]

    def diff(self, other: _Described[Any]) -> Diff:
        """Return what is different in another configuration: data, with a text and a graph of it.

        Args:
            other: The configuration that this one is compared with, as the newer of the two.
        """
        from runbus.config._diff import difference

        return difference(self, other)

    def visualize(self, form: str = "text") -> str:
        """Return a picture of it.

        Args:
            form: `text` for a tree of lines, `svg` for a drawing, `dot` for Graphviz.

        Raises:
            UsageError: There is no such form.
        """
        from runbus.config._picture import picture

        return picture(self, form)

    def _repr_svg_(self) -> str:
        return self.visualize("svg")

    def _check(self) -> None:
        raise_mistakes(self, mistakes_of(self))


class Config(_Described[T]):
    """What an object is made of: a class or function, and the values of its arguments.

    Nothing is made before `build`. Fields are attributes: a value is checked and converted when it
    is set, one that was not set reads as its default, and a default that is itself an object with
    fields reads as a `Config`, so that parts of it can be set. Objects of data classes, Structs of
    msgspec, pydantic models and attrs classes become Configs where they are given as values.

    Where a field has the name of a method (`copy`, `diff`, …), read it as `config["copy"]`; in
    brackets also a path may stand: `config["layers[0].width"]`.

    Args:
        target: The class or function.
        args: Its positional arguments; they are kept by their names.
        values: Its arguments by name.

    Raises:
        TargetUnusable: The target cannot be called.
        ConfigInvalid: It takes no argument of a name, or a value does not fit its type; every
            mistake is reported.
    """

    __slots__ = ()

    def build(self) -> T:
        """Make the object, and all within it; a Config that stands in two places makes one object.

        Raises:
            ConfigInvalid: A value is missing or does not fit; every mistake is reported, with its
                path. Nothing was made.
            Exception: What a target raises, with a note that says which part was being made.
        """
        self._check()
        found: T = build(self)
        return found


class Partial(_Described[T]):
    """A function with values for some of its arguments, to be called later.

    As a `Config`, but it builds what can be called, like `functools.partial`; what is missing is
    only missed when it is called.
    """

    __slots__ = ()
    _is_partial = True

    def build(self) -> functools.partial[T]:
        """Return the function with its arguments, the Configs among them made.

        Raises:
            ConfigInvalid: A value does not fit; every mistake is reported. Nothing was made.
        """
        self._check()
        found: functools.partial[T] = build(self)
        return found


node_classes.update(Config=Config, Partial=Partial)


def _unpickled(kind: type[Node], target: Any, values: dict[str, Any]) -> Any:
    return kind(target, **values)  # type: ignore[call-arg]


def target_of(config: Node) -> Any:
    """Return the class or function that a configuration is of."""
    return config._shape.target


def fields_of(target: Any) -> Mapping[str, Field]:
    """Return what a class or function takes, by name: type, default and description.

    Args:
        target: Anything that can be called; also a `Config` of it.

    Raises:
        TargetUnusable: It cannot be called.
    """
    shape = target._shape if isinstance(target, Node) else shape_of(target)
    for name, text in shape.schema.docs.items():
        if name in shape.schema.fields:
            shape.schema.fields[name].doc = text
    return dict(shape.schema.fields)


def as_config(value: Any) -> Any:
    """Return the Config of an object with fields, or of fiddle's; a Config as it is.

    Raises:
        UsageError: It is an object of another kind.
    """
    value = making.adopted(value)
    if isinstance(value, Node):
        return value
    if not is_structured(type(value)):
        raise UsageError(f"a {type(value).__name__} does not say what it was made from")
    return Config(type(value), **values_of(value))


def make(target: Callable[..., T], data: Mapping[str, Any]) -> T:
    """Return an object made from data: every value checked and converted, nothing imported.

    Args:
        target: The class or function.
        data: Values by the names of its fields; nested objects as mappings.

    Raises:
        ConfigInvalid: Something does not fit or is missing; every mistake is reported, with its
            path.
    """
    node = Config.__new__(Config)
    set_ = object.__setattr__
    set_(node, "_shape", shape_of(target))
    set_(node, "_values", {})
    set_(node, "_drawn", {})
    mistakes: Any = []
    fill(node, data, mistakes)
    wrong = {one.path for one in mistakes}
    mistakes += [one for one in mistakes_of(node) if not _is_within(one.path, wrong)]
    raise_mistakes(node, mistakes)
    made: T = build(node)
    return made


def _is_within(path: Any, others: set[Any]) -> bool:
    """Whether a path leads into one of others, or is one."""
    return any(path[:end] in others for end in range(1, len(path) + 1))
