"""The page of `runbus.attempt`, from the first lines of its docstrings."""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
from pathlib import Path

from runbus import attempt

__all__ = ["attempt_page"]


_HEAD = """\
# runbus.attempt

Made by `make docs`. All that authors of executors may import from it: see
[writing an executor](../concepts/executors.md).

| name | is |
|---|---|"""


def attempt_page() -> str:
    """Return a row for each name that authors of executors may import."""
    # This loads the modules that describe them.
    values = {name: getattr(attempt, name) for name in attempt.__all__}
    described = _described_values()
    rows = []
    for name, value in values.items():
        text = described.get(name) or (inspect.getdoc(value) if callable(value) else "") or ""
        first = " ".join(text.partition("\n\n")[0].split())
        assert first, f"runbus.attempt.{name} has no docstring"
        shown = f"{name}()" if inspect.isroutine(value) else name
        rows.append(f"| `{shown}` | {first} |")
    return "\n".join((_HEAD, *rows, ""))


def _described_values() -> dict[str, str]:
    """Return the texts below assignments in the modules of the package, and those of the core."""
    # What the core brings is described in its stub.
    stub = ast.parse(Path(str(attempt.__file__)).parents[1].joinpath("_core.pyi").read_text())
    functions = [node for node in stub.body if isinstance(node, ast.FunctionDef)]
    found = {node.name: ast.get_docstring(node) or "" for node in functions}
    modules = [module for name, module in sys.modules.items() if name.startswith(attempt.__name__)]
    for module in modules:
        body = ast.parse(Path(str(module.__file__)).read_text()).body
        for before, after in itertools.pairwise(body):
            if (
                isinstance(before, ast.Assign)
                and isinstance(before.targets[0], ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[before.targets[0].id] = str(after.value.value)
    return found
