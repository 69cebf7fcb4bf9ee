"""Runs the benches and prints every figure beside its rival or limit: `make bench`.

`make bench ARGS="log jobs"` runs some of them. The rows are also written, as JSON, to
benches/results/<time>.json.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import benches.python
from runbus.metrics import BUILD_PROFILE

if TYPE_CHECKING:
    from benches.row import Row


def main(asked: list[str]) -> int:
    if BUILD_PROFILE != "release":
        print("error: this is a debug build; benches need a release build", file=sys.stderr)
        return 1
    names = [
        module.name.removeprefix("bench_")
        for module in pkgutil.iter_modules(benches.python.__path__)
        if module.name.startswith("bench_")
    ]
    if unknown := sorted(set(asked) - set(names)):
        print(
            f"error: no bench {unknown[0]!r}\nhint: there are {', '.join(names)}", file=sys.stderr
        )
        return 2
    rows: list[Row] = []
    for name in asked or names:
        print(f"\n{name}", flush=True)
        for row in importlib.import_module(f"benches.python.bench_{name}").main():
            print(row, flush=True)
            rows.append(row)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    file = results / time.strftime("%Y%m%d-%H%M%S.json")
    report = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.release()}",
        "rows": [row.as_dict() for row in rows],
    }
    file.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten to {file}")
    missed = [row.name for row in rows if row.is_over]
    print("every limit is held" if not missed else f"over the limit: {', '.join(missed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
