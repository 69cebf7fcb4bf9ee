"""Fails when Rust modules use each other in a circle; a parent and its children may.

Two modules are compared below the parent that they share: what `journal::names` uses of
`segment::open` is an edge from `journal` to `segment`. Code for tests alone does not count.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

TESTS = re.compile(r"#\[cfg\(test\)\]\s*mod \w+ \{")
COMMENT = re.compile(r"//[^\n]*")
USE = re.compile(r"\buse ((?:crate|self|super)\b[^;]*);")
PATH = re.compile(r"\b((?:crate|self|super)(?:::\w+)+)")

Module = tuple[str, ...]


def modules(source: Path) -> dict[Module, str]:
    """Return the text of each module of a crate, without comments and tests."""
    found = {}
    for file in sorted(source.rglob("*.rs")):
        parts = file.relative_to(source).with_suffix("").parts
        name = parts[:-1] if parts[-1] in {"mod", "lib", "main"} else parts
        text = COMMENT.sub("", file.read_text())
        found[name] = TESTS.split(text)[0]
    return found


def expanded(tree: str) -> list[str]:
    """Return the paths of a use tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`."""
    head, brace, rest = tree.partition("{")
    if not brace:
        return [re.sub(r"\s+as\s+\w+$", "", tree.strip())]
    inner, depth, start, parts = rest[: rest.rindex("}")], 0, 0, []
    for place, char in enumerate(inner + ","):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and not depth:
            parts.append(inner[start:place].strip())
            start = place + 1
    return [path for part in parts if part for path in expanded(head.strip() + part)]


def used(module: Module, text: str, known: dict[Module, str]) -> set[Module]:
    """Return the modules whose items a module names."""
    trees = USE.findall(text)
    paths = [path for tree in trees for path in expanded(tree)] + PATH.findall(text)
    found = set()
    for path in paths:
        place: Module = module
        for part in path.split("::"):
            if part == "crate":
                place = ()
            elif part == "super":
                place = place[:-1]
            elif part != "self":
                if (*place, part) not in known:
                    break
                place = (*place, part)
        found.add(place)
    return found


def cycles(source: Path) -> list[str]:
    """Return a line for each circle of siblings."""
    known = modules(source)
    edges: dict[Module, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, text in known.items():
        for other in used(module, text, known):
            shared = 0
            while module[: shared + 1] == other[: shared + 1] and shared < len(module):
                shared += 1
            if shared < min(len(module), len(other)):
                edges[module[:shared]][module[shared]].add(other[shared])
    lines = []
    for parent, siblings in edges.items():
        try:
            TopologicalSorter(siblings).prepare()
        except CycleError as error:
            where = "::".join(("crate", *parent))
            lines.append(f"{source}: in {where}: " + " <- ".join(error.args[1]))
    return lines


if __name__ == "__main__":
    found = [line for source in sys.argv[1:] for line in cycles(Path(source))]
    sys.exit("\n".join(found) or 0)
