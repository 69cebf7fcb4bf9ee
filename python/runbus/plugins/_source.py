"""What the source of plugins says: their names and arguments, read and not run."""

from __future__ import annotations

import ast
import re
import warnings
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Argument", "Declared", "SourceUnreadable", "declared_in", "described", "parsed"]

_BASES = frozenset(
    (
        "Extension", "TaskPlugin", "Plugin", "PluginBase", "BackendPlugin", "CollectorPlugin",
        "ProcessorPlugin", "MetricSink", "Collector", "MLOpsPlugin", "DataStreamPlugin",
        "TaskQueuePlugin",
    )
)  # fmt: skip
"""The classes whose subclasses are plugins; which one it is said when it is imported."""

_FIELDS = frozenset(("dataclass", "define", "frozen", "attrs", "s"))
"""What makes arguments of the fields of a class, as `@dataclass` does."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class SourceUnreadable(ValueError):
    """The source of a plugin is not Python, or nested too deeply."""


class Argument(NamedTuple):
    """One argument of a plugin, as its source has it.

    Attributes:
        name: Its name.
        type: Its annotation; empty if it has none.
        default: Its default as Python; empty if it has to be given.
    """

    name: str
    type: str
    default: str

    def __str__(self) -> str:
        text = f"{self.name}: {self.type}" if self.type else self.name
        equals = " = " if self.type else "="
        return f"{text}{equals}{self.default}" if self.default else text


class Declared(NamedTuple):
    """A plugin, as its source declares it.

    Attributes:
        name: Its name.
        target: The class, function or value.
        summary: The first line of its docstring.
        arguments: What it takes; None if that is decided elsewhere.
    """

    name: str
    target: str
    summary: str = ""
    arguments: tuple[Argument, ...] | None = None


def parsed(source: bytes) -> ast.Module:
    """Return the syntax tree of a source.

    Raises:
        SourceUnreadable: It is not Python, or too deep.
    """
    try:
        with warnings.catch_warnings():  # a plugin's odd escapes are its author's to see
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise SourceUnreadable(f"{where}{error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        told = str(error) or type(error).__name__
        raise SourceUnreadable(f"it cannot be parsed: {told}") from None


def declared_in(source: bytes) -> list[Declared]:
    """Return the plugins of a file, in its order.

    They stand at the top of it, and their names begin with no underscore: classes with `async def
    setup`, classes made from a base class of plugins, and values such as `Plugin("name")`.

    Raises:
        SourceUnreadable: It is not Python, or too deep.
    """
    tree = parsed(source)
    try:
        return [*_declared(tree)]
    except RecursionError:
        raise SourceUnreadable("it is nested too deeply") from None


def _declared(tree: ast.Module) -> Iterator[Declared]:
    classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    built_on = {base for one in classes.values() for base in _bases(one)}
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            if statement.name.startswith("_") or not _is_plugin(statement, classes):
                continue
            if name := _name_of(statement):
                yield described(tree, statement.name, name)
            elif statement.name not in built_on:
                # As an `Extension` is called that does not say otherwise.
                yield described(tree, statement.name, _snake(statement.name))
        elif (target := _assigned(statement))[:1] not in ("", "_") and (
            name := _value_name(statement)
        ):
            yield Declared(name, target, arguments=())


def described(tree: ast.Module, target: str, name: str = "") -> Declared:
    """Return what a syntax tree says of a class or function at its top.

    Args:
        tree: The tree.
        target: The class or function.
        name: The plugin's name; what the source gives it if empty.
    """
    classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    found = next((one for one in tree.body if getattr(one, "name", None) == target), None)
    if isinstance(found, ast.ClassDef):
        name = name or _name_of(found) or target
        return Declared(name, target, _summary(found), _arguments_of_class(found, classes))
    if isinstance(found, _Function):
        return Declared(name or target, target, _summary(found), (*_arguments(found),))
    return Declared(name or target, target)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _summary(node: ast.ClassDef | _Function) -> str:
    lines = (ast.get_docstring(node) or "").splitlines()
    return lines[0].strip() if lines else ""


def _bases(node: ast.ClassDef) -> list[str]:
    """Return the last names of what a class is made from: `Plugin` of `plugins.Plugin[int]`."""
    return [name for one in node.bases if (name := _last_name(one))]


def _last_name(node: ast.expr) -> str:
    while isinstance(node, (ast.Subscript, ast.Call)):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _lineage(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """Yield a class and those of the file that it is made from."""
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop(0)
        if one.name not in seen:
            seen.add(one.name)
            yield one
            waiting += [classes[base] for base in _bases(one) if base in classes]


def _is_plugin(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    for one in _lineage(node, classes):
        if any(
            isinstance(part, ast.AsyncFunctionDef) and part.name == "setup" for part in one.body
        ):
            return True
        if not _BASES.isdisjoint(base for base in _bases(one) if base not in classes):
            return True
    return False


def _name_of(node: ast.ClassDef) -> str:
    """Return the name that a class gives its plugin as a literal; empty if it gives none."""
    for statement in node.body:
        if _assigned(statement) == "name" and (text := _literal(_assigned_value(statement))):
            return text
    for inner in ast.walk(node):
        is_call = isinstance(inner, ast.Call) and _last_name(inner.func) == "PluginMetadata"
        if isinstance(inner, ast.Call) and is_call and (text := _given_name(inner)):
            return text
        if isinstance(inner, ast.Assign) and len(inner.targets) == 1:
            target = inner.targets[0]
            is_own = isinstance(target, ast.Attribute) and target.attr == "name"
            if is_own and (text := _literal(inner.value)):
                return text
    return ""


def _assigned(statement: ast.stmt) -> str:
    """Return the name that a statement assigns; empty if it assigns none, or several."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target: ast.expr = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return ""
    return target.id if isinstance(target, ast.Name) else ""


def _assigned_value(statement: ast.stmt) -> ast.expr | None:
    return statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None


def _literal(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _value_name(statement: ast.stmt) -> str:
    """Return the name in the `Plugin("name").on(…)` that a statement assigns; empty if in none."""
    node = _assigned_value(statement)
    while isinstance(node, ast.Call):
        function = node.func
        is_made = isinstance(function, ast.Attribute) and function.attr == "create"
        made = function.value if isinstance(function, ast.Attribute) and is_made else function
        if isinstance(made, (ast.Name, ast.Attribute)) and _last_name(made) == "Plugin":
            return _given_name(node)
        node = function.value if isinstance(function, ast.Attribute) else None
    return ""


def _given_name(call: ast.Call) -> str:
    for keyword in call.keywords:
        if keyword.arg == "name":
            return _literal(keyword.value)
    return _literal(call.args[0]) if call.args else ""


def _arguments_of_class(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> tuple[Argument, ...] | None:
    for one in _lineage(node, classes):
        for part in one.body:
            if isinstance(part, _Function) and part.name == "__init__":
                return tuple(_arguments(part))[1:]
        if any(_last_name(decorator) in _FIELDS for decorator in one.decorator_list):
            return tuple(_fields(one))
        if any(base not in classes and base != "object" for base in _bases(one)):
            return None
    return ()


def _fields(node: ast.ClassDef) -> Iterator[Argument]:
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            kind = ast.unparse(part.annotation)
            if not kind.startswith(("ClassVar", "typing.ClassVar", "t.ClassVar")):
                yield Argument(part.target.id, kind, _text(part.value))


def _arguments(function: _Function) -> Iterator[Argument]:
    given = function.args
    plain = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults))
    yield from _paired(plain, [*defaults, *given.defaults])
    if given.vararg:
        yield Argument(f"*{given.vararg.arg}", _text(given.vararg.annotation), "")
    yield from _paired(given.kwonlyargs, given.kw_defaults)
    if given.kwarg:
        yield Argument(f"**{given.kwarg.arg}", _text(given.kwarg.annotation), "")


def _paired(names: list[ast.arg], defaults: Iterable[ast.expr | None]) -> Iterator[Argument]:
    for one, default in zip(names, defaults, strict=True):
        yield Argument(one.arg, _text(one.annotation), _text(default))


def _text(node: ast.expr | None) -> str:
    return ast.unparse(node) if node is not None else ""
