"""Configurations as Python code that rebuilds them."""

from __future__ import annotations

import datetime
import enum
import keyword
import math
import pathlib
from typing import TYPE_CHECKING, Any, get_args, get_origin

from runbus._secrets import Secret
from runbus.config._node import Node, Ref
from runbus.config._output import Output
from runbus.config._targets import module_of, path_of
from runbus.config._tree import given

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["CodeWriter", "to_python"]

_WIDTH = 88


def to_python(node: Node, name: str = "config") -> str:
    """Return code that makes an equal configuration and gives it a name.

    Raises:
        TargetUnusable: A class or function has no import path.
        ConfigInvalid: A value has no code.
    """
    writer = CodeWriter()
    body = writer.expression(node, 0)
    imports = [f"import {one}" for one in sorted(writer.modules)]
    ours = [f"from runbus import {', '.join(sorted(writer.ours))}"] if writer.ours else []
    more = ["from runbus.config import Ref"] if writer.has_refs else []
    return (
        "\n".join([*imports, *([""] if imports else []), *ours, *more, "", f"{name} = {body}"])
        + "\n"
    )


class CodeWriter:
    """Writes values as code, and notes what must be imported for it.

    Attributes:
        modules: Modules that the code names.
        ours: Names of runbus in it.
        has_refs: Whether it refers to other values of the configuration.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.ours: set[str] = set()
        self.has_refs = False

    def expression(self, value: Any, indent: int) -> str:
        """Return the code of a value; lines after its first are indented by so many levels."""
        kind = type(value)
        if isinstance(value, Node):
            return self._node(value, indent)
        if kind is float and not math.isfinite(value):
            return f'float("{value}")'
        if kind is complex:
            return f'complex("{value!s}")'
        if value is None or kind in (str, bool, int, float, bytes):
            return repr(value)
        if kind in (list, tuple, set, frozenset, dict):
            return self._container(value, indent)
        return self._leaf(value)

    def _leaf(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, Output):
            self.ours.add("Output")
            return repr(value)
        if isinstance(value, Ref):
            self.has_refs = True
            return repr(value)
        if isinstance(value, Secret):
            self.ours.add("Secret")
            return f"Secret({value.reference!r})"
        if isinstance(value, enum.Enum):
            return self._enum(value)
        if isinstance(value, pathlib.PurePath):
            self.modules.add("pathlib")
            return f"pathlib.Path({str(value)!r})"
        if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
            self.modules.add("datetime")
            return f"datetime.{kind.__name__}.fromisoformat({value.isoformat()!r})"
        if isinstance(value, datetime.timedelta):
            self.modules.add("datetime")
            return repr(value)
        if kind.__module__ in ("decimal", "uuid"):
            self.modules.add(kind.__module__)
            return f"{kind.__module__}.{value!r}"
        if isinstance(value, type) or callable(value):
            return self._target(value)
        from runbus.errors import ConfigInvalid, ConfigProblem

        problem = ConfigProblem("", f"a {kind.__name__} has no code")
        raise ConfigInvalid(kind.__name__, (problem,))

    def _enum(self, value: enum.Enum) -> str:
        name = self._target(type(value))
        members = [one.name for one in value] if isinstance(value, enum.Flag) else [value.name]
        return " | ".join(f"{name}.{one}" for one in members) or f"{name}(0)"

    def _target(self, target: Any) -> str:
        """Return the name of a class or function, and note what must be imported for it."""
        origin = get_origin(target)
        if origin is not None:
            args = ", ".join(self._target(one) for one in get_args(target))
            return f"{self._target(origin)}[{args}]"
        path_of(target)  # refuses what has none
        owner = getattr(target, "__self__", None)
        if isinstance(owner, type) and not isinstance(target, type):
            return f"{self._target(owner)}.{target.__name__}"
        module, name = module_of(target), target.__qualname__
        if module == "builtins":
            return str(name)
        if module == "__main__":
            return str(name)
        self.modules.add(module)
        return f"{module}.{name}"

    def _node(self, node: Node, indent: int) -> str:
        kind = type(node).__name__
        self.ours.add(kind)
        values = given(node)
        plain = {key: one for key, one in values.items() if _is_name(key)}
        odd = {key: one for key, one in values.items() if key not in plain}
        parts = [self._target(node._shape.target)]
        # Also what a call can only give by its place: a configuration takes it by its name.
        parts += [f"{key}={self.expression(one, indent + 1)}" for key, one in plain.items()]
        if odd:
            parts.append(f"**{self._container(odd, indent + 1)}")
        return self.wrapped(f"{kind}(", parts, ")", indent)

    def _container(self, value: Any, indent: int) -> str:
        kind = type(value)
        if kind is dict:
            parts = [
                f"{self.expression(key, indent + 1)}: {self.expression(one, indent + 1)}"
                for key, one in value.items()
            ]
            return self.wrapped("{", parts, "}", indent)
        items: Iterable[Any] = value if kind in (list, tuple) else sorted(value, key=repr)
        parts = [self.expression(one, indent + 1) for one in items]
        if kind is list:
            return self.wrapped("[", parts, "]", indent)
        if kind is tuple:
            return f"({parts[0]},)" if len(parts) == 1 else self.wrapped("(", parts, ")", indent)
        if kind is set:
            return self.wrapped("{", parts, "}", indent) if parts else "set()"
        return f"frozenset({self.wrapped('[', parts, ']', indent)})"

    @staticmethod
    def wrapped(begin: str, parts: Sequence[str], end: str, indent: int) -> str:
        """Return parts between two brackets: on one line, or on a line each if that is too long."""
        line = f"{begin}{', '.join(parts)}{end}"
        if len(line) + indent * 4 <= _WIDTH and "\n" not in line:
            return line
        space = "    " * (indent + 1)
        lines = "".join(f"{space}{part},\n" for part in parts)
        return f"{begin}\n{lines}{'    ' * indent}{end}"


def _is_name(key: str) -> bool:
    return key.isidentifier() and not keyword.iskeyword(key)
