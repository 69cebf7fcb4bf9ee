"""A machine that stalls for seconds, and often, reaches no limit of a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbus.testing._waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
FILES = [
    *ROOT.glob("tests/**/*.py"),
    *ROOT.glob("plugins/*/tests/**/*.py"),
    *ROOT.glob("python/runbus/testing/**/*.py"),
]
PROCESSES = {"run", "check_output", "check_call", "communicate", "wait"}
"""What waits for processes, with a `timeout`. Some waits are to end by their limits: tests give
those a name, or less than a second."""


def limits(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the numbers of seconds that something must be done in, or else fails."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given: list[ast.expr] = []
        match call.func:
            case (
                ast.Attribute(attr="fail_after")
                | ast.Name(id="fail_after")
                | ast.Attribute(value=ast.Name(id="asyncio"), attr="timeout")
            ):
                given = call.args[:1]
            case ast.Attribute(attr=name) if name in PROCESSES:
                given = [one.value for one in call.keywords if one.arg == "timeout"]
        yield from (one for one in given if isinstance(one, ast.Constant))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("anyio.fail_after(50)", [50]),
        ("asyncio.timeout(30)", [30]),
        ("subprocess.run(words, timeout=20)", [20]),
        ("process.communicate(timeout=40)", [40]),
        ("anyio.fail_after(PATIENCE_S)", []),
        ("kernel.bus.on(Fact, waits, timeout=20)", []),
    ],
)
def test_limits_are_found(code: str, found: list[int]) -> None:
    assert [one.value for one in limits(ast.parse(code))] == found


def test_only_what_hangs_reaches_a_limit() -> None:
    short = [
        f"{path.relative_to(ROOT)}:{one.lineno}: {one.value} s"
        for path in FILES
        if any(word in (text := path.read_text()) for word in ("timeout", "fail_after"))
        for one in limits(ast.parse(text))
        if isinstance(one.value, int | float) and 1 <= one.value < PATIENCE_S
    ]
    assert short == []
