"""Tasks and actors of Ray that are handed a run, in workers that outlive it and get many."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import runbus
from runbus.metrics import StoredRun

pytestmark = pytest.mark.services

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
PYTHON = os.environ.get("RUNBUS_RAY_PYTHON", str(CACHE / "runbus" / "ray" / "bin" / "python"))
PACKAGE = Path(runbus.__file__).parent.parent

SCRIPT = """
import json, os, sys
import ray, runbus

ray.init(
    num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False,
    _node_ip_address="127.0.0.1",
)

HOME = sys.argv[1]

def log(run, name, step):
    run.log(name, float(step), step=step)
    # Ray opens and closes files of its own meanwhile.
    held = 0
    for one in os.listdir("/proc/self/fd"):
        try:
            held += HOME in os.readlink(f"/proc/self/fd/{one}")
        except OSError:
            pass  # that of the list itself
    return held

@ray.remote
class Actor:
    def __init__(self, run):
        self.run = run

    def work(self, step):
        return log(self.run, "actor", step)

task = ray.remote(log)
run = runbus.init(home=sys.argv[1])
actor = Actor.remote(run)
work = [task.remote(run, "task", step) for step in range(10)]
ray.get(work + [actor.work.remote(step) for step in range(10)])
run.finish()
print(json.dumps(run.folder), flush=True)
input()

held = []
for _ in range(60):
    with runbus.init(home=sys.argv[1]) as other:
        ray.get(actor.work.remote(99))
        held.append(ray.get(task.remote(other, "task", 0)))
print(json.dumps([min(held), max(held[40:])]), flush=True)
ray.shutdown()
"""


def test_workers_of_ray_log_to_the_run_they_got_and_let_go_of_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [PYTHON, "-c", SCRIPT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as ray:
        assert ray.stdin
        assert ray.stdout
        run = StoredRun(json.loads(ray.stdout.readline()))
        # The workers live on, and have the run.
        assert (run.is_being_written(), run.end().state) == (False, 0)
        for name in ("task", "actor"):
            assert sorted(run.metrics(name).steps.tolist()) == list(range(10))
        assert run.seal()
        ray.stdin.write("\n")
        ray.stdin.flush()
        least, most = json.loads(ray.stdout.readline())
    assert ray.returncode == 0
    # That of the run at hand, and those of a run or two that it has yet to let go: not of all.
    assert 1 <= least <= most <= 5
    assert run.metric_names() == ["task", "actor"] or run.metric_names() == ["actor", "task"]
    assert len(runbus.runs(home=tmp_path)) == 61
