"""Functions whose last call is kept as a configuration instead of being made."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

from runbus.config import Config, Partial, as_config, fields_of, target_of
from runbus.errors import TargetUnusable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["as_partial", "with_kept_calls"]

_KEEP = "_runbus_keep"


def with_kept_calls(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of which each `return made(…)` returns a `Partial` of `made`.

    The rest of its code, loops and conditions and the arguments of that call among it, runs as it
    is.

    Raises:
        TargetUnusable: Its source cannot be read.
    """
    name = getattr(function, "__qualname__", repr(function))
    try:
        lines, start = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError) as error:
        advice = "define it with def in a file"
        raise TargetUnusable(name, "its source cannot be read", advice) from error
    (definition,) = tree.body
    if not isinstance(definition, ast.FunctionDef) or not isinstance(function, FunctionType):
        raise TargetUnusable(name, "it is no function", "define it with def in a file")
    definition.decorator_list = []
    definition.body = [_Keeping().visit(one) for one in definition.body]
    code = function.__code__
    # What it takes from the functions around it must be free in the new code, too.
    free = [*code.co_freevars, _KEEP]
    around = ast.parse(f"def around({', '.join(free)}): pass")
    (outer,) = around.body
    assert isinstance(outer, ast.FunctionDef)
    outer.body = [definition]
    ast.increment_lineno(ast.fix_missing_locations(definition), start - 1)
    found = _code_of(compile(around, code.co_filename, "exec"), "around", definition.name)
    cells = dict(zip(free, [*(function.__closure__ or ()), CellType(_kept)], strict=True))
    closure = tuple(cells[one] for one in found.co_freevars)
    made = FunctionType(
        found, function.__globals__, function.__name__, function.__defaults__, closure
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _code_of(code: Any, *names: str) -> Any:
    for name in names:
        code = next(one for one in code.co_consts if getattr(one, "co_name", None) == name)
    return code


class _Keeping(ast.NodeTransformer):
    def visit_Return(self, node: ast.Return) -> ast.Return:
        if isinstance(node.value, ast.Call):
            call = node.value
            keep = ast.Name(_KEEP, ast.Load())
            node.value = ast.Call(keep, [call.func, *call.args], call.keywords)
            ast.copy_location(node.value, call)
            ast.copy_location(keep, call)
        return node

    def _left(self, node: Any) -> Any:
        return node  # what a function within returns is not what this one does

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _left


def _kept(target: Any, *args: Any, **values: Any) -> Any:
    if target in (Config, Partial):
        return target(*args, **values)
    return Partial(target, *args, **values)


def as_partial(value: Any) -> Any:
    """Return what such a function returned as a `Partial`.

    Raises:
        UsageError: It does not say what it was made from.
    """
    if isinstance(value, Partial):
        return value
    config = as_config(value)
    values = {name: config[name] for name in fields_of(config) if name in config}
    return Partial(target_of(config), **values)
