"""The page of the architecture: its picture is drawn from the import contracts."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH = 58

HEAD = """# Architecture

Made by `make docs` from the import contracts in `pyproject.toml`, which `make check` enforces:
what stands higher may import what stands lower, never back; what stands beside each other does not
import each other.
"""

TAIL = """## What flows where

**A launch.** The command line parses words into values (`config`). `api` makes an experiment of
them, and `jobs` writes the intent of each job to the journal before anything is sent. An executor
plans a printable request (that is the dry run) and submits it; the wrapper script (`attempt`) runs
the task there and writes its own exit record. The `supervisor` observes all jobs of a backend in
one call, writes each fact to the journal and then publishes it on the bus. Every view is a fold of
that journal.

**A metric.** `run.log()` writes a record into a memory-mapped journal in the folder of the run, in
Rust, without a lock or a system call. A tailer reads it from there, on this machine or through a
transport, and publishes it as `MetricBatch`. When the run ends, or when a journal is full, it is
sealed into a Parquet file. Readers see journals and Parquet files as one table.

**A plugin.** Entry points are found without importing anything (`plugins`), ordered by `after`,
`before` and `requires`, and set up with a `scope` each (`kernel`). What a plugin makes through its
scope is closed in reverse order, with a deadline.

## Rules

- `experiment` never imports an executor: it asks for one by name, on the bus.
- Only `metrics` and `attempt` import the Rust core.
- A plugin imports only what [is public](public.md), ours included.
- `rust/runbus-core` is the journal, without Python; `rust/runbus-py` is its binding, without logic.
"""


def architecture_page() -> str:
    """Return the page of the architecture."""
    layers = _layers()
    table = [f"| `{name}` | {_purpose(name)} |" for layer in layers for name in layer]
    picture = "\n".join(_picture(layers))
    rows = "\n".join(["| package | is |", "|---|---|", *table])
    return "\n".join([HEAD, f"```text\n{picture}\n```\n", f"{rows}\n", TAIL])


def _layers() -> list[list[str]]:
    """Return the layers of the contract, from the top, without those that are still to come."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["type"] == "layers")
    named = [[name.strip(" ()") for name in layer.split("|")] for layer in layers]
    there = [[name for name in layer if _source(name)] for layer in named]
    return [layer for layer in there if layer]


def _picture(layers: list[list[str]]) -> list[str]:
    rule = "─" * WIDTH
    lines = [f"┌{rule}┐"]
    for layer in layers:
        text = "  │  ".join(layer)
        lines += [f"│{text:^{WIDTH}}│", f"├{rule}┤"]
    lines[-1] = f"└{rule}┘"
    return lines


def _source(name: str) -> Path | None:
    package = ROOT / "python" / "runbus"
    found = [package / name / "__init__.py", package / f"{name}.py"]
    return next((path for path in found if path.exists()), None)


def _purpose(name: str) -> str:
    """Return the first line of the docstring of a package."""
    source = _source(name)
    assert source is not None
    doc = ast.get_docstring(ast.parse(source.read_text())) or ""
    return doc.partition("\n")[0].rstrip(".")
