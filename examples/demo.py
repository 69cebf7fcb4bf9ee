"""Three learning rates in parallel on real data: what `make demo` runs."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import runbus

SCRIPT = os.path.relpath(Path(__file__).with_name("digits.py"))
RUNBUS = os.path.relpath(Path(sys.executable).with_name("runbus"))
COMMAND = [RUNBUS, "run", SCRIPT, "--sweep", "lr=0.01,0.1,1.0", "--max-parallel", "3"]


def main() -> int:
    print("$", shlex.join(COMMAND), flush=True)
    done = subprocess.run([*COMMAND, "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return done.returncode
    results = json.loads(done.stdout)
    header = ("run", "lr", "state", "steps", "final loss", "test accuracy", "seconds")
    print(f"\n{header[0]:<26}" + "".join(f"{name:>14}" for name in header[1:]))
    for result in results:
        metrics = result["metrics"]
        print(
            f"{result['id']:<26}{result['config']['lr']:>14g}{result['state']:>14}"
            f"{metrics['loss']['points']:>14}{metrics['loss']['last']:>14.4f}"
            f"{metrics['test/accuracy']['last']:>14.1%}{result['duration_s']:>14.2f}"
        )
    print(flush=True)
    ids = [result["id"] for result in results]
    subprocess.run([RUNBUS, "plot", *ids, "loss"], check=True)
    run = runbus.open_run(ids[-1])
    steps, values, _ = run.metrics("loss").to_numpy()
    assert len(steps) == 300
    assert math.isfinite(values[-1])
    print(f"\neverything is in {run.experiment_folder}")
    print(f"next: {RUNBUS} show {run.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
