"""The docs name every behavior of the wrappers, and each has a test that runs against both."""

from __future__ import annotations

import ast
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "wrapper.md"
OF_THE_WRAPPER = {"wrapper", "start", "run", "run_limited", "cancel", "in_a_world"}
"""The fixtures through which a test runs against both."""


def sentences() -> list[str]:
    """Return the names of the tests that run against both, as sentences."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_wrapper*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            asks = {argument.arg for argument in node.args.args}
            marks = " ".join(map(ast.unparse, node.decorator_list))
            if asks & OF_THE_WRAPPER and "mark.script" not in marks:
                name = node.name.removeprefix("test_").replace("_s_", "'s ")
                found.append(name.replace("_", " "))
    return found


def named() -> list[str]:
    """Return the lines of the page's list."""
    section = PAGE.read_text().partition("## What both keep\n")[2].partition("\n## ")[0]
    return [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]


def test_each_behavior_in_the_docs_is_a_test_against_both_wrappers() -> None:
    assert named() == sentences()
    assert len(set(named())) >= 60
