"""What is named as a question changes nothing: neither its object nor a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbus

PACKAGE = Path(runbus.__file__).parent
QUESTIONS = ("is_", "has_", "can_", "find_", "exceed")
CHANGES = {"add", "append", "clear", "discard", "pop", "popleft", "remove", "setdefault", "update"}
WRITES = {
    "unlink", "rename", "rmdir", "rmtree", "mkdir", "makedirs", "make_folder", "make_folders",
    "write_file", "write_bytes", "write_text", "ftruncate", "fchmod", "utime",
}  # fmt: skip


def questions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.lstrip("_").startswith(QUESTIONS):
            yield node


def changed_by(function: ast.AST) -> Iterator[str]:
    """Yield what a function changes beyond its own variables."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=targets):
                places = [place for one in targets for place in getattr(one, "elts", [one])]
                yield from (ast.unparse(one) for one in places if isinstance(one, ast.Attribute))
            case ast.AugAssign(target=ast.Attribute() as target):
                yield ast.unparse(target)
            case ast.Call(func=ast.Name(id=name)) if name in WRITES:
                yield name
            case ast.Call(func=ast.Attribute(attr=name) as called) if name in WRITES:
                yield ast.unparse(called)
            case ast.Call(func=ast.Attribute(attr=name, value=ast.Attribute() as what)) if (
                name in CHANGES
            ):
                yield f"{ast.unparse(what)}.{name}"


def test_what_is_named_as_a_question_changes_nothing() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}: {one.name}: {what}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for one in questions(path.read_text())
        for what in changed_by(one)
    ]

    assert found == []


@pytest.mark.parametrize(
    "line",
    ["self.at = 1", "self.looks += 1", "self.names.add(1)", "os.unlink(path)", "mkdir(path)"],
)
def test_a_question_that_changes_something_is_found(line: str) -> None:
    (one,) = questions(f"def _is_there(self, path):\n    {line}\n    return True\n")

    assert list(changed_by(one))
