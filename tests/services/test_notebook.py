"""A real IPython kernel: what a notebook shows of runs, series and jobs that run.

The interpreter is one with ipykernel and jupyter_client, which `install.sh` makes, or
`RUNBUS_NOTEBOOK_PYTHON`; it finds runbus, and what that needs, where this process does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
PYTHON = os.environ.get("RUNBUS_NOTEBOOK_PYTHON", f"{CACHE}/runbus/notebook/bin/python")

# Prints, for each cell of a notebook, what it was answered with, in order.
NOTEBOOK = """
import json, sys
from jupyter_client.manager import KernelManager

manager = KernelManager(kernel_name="python3")
manager.start_kernel()
client = manager.client()
client.start_channels()
answers = []
try:
    client.wait_for_ready(timeout=120)
    for cell in json.load(sys.stdin):
        asked = client.execute(cell)
        shown = []
        while True:
            message = client.get_iopub_msg(timeout=120)
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                # Of what was asked before, such as whether it is ready, it may be told only now.
                if message["parent_header"].get("msg_id") == asked:
                    break
            if kind == "error":
                shown.append([kind, content["evalue"]])
            elif "data" in content:
                data = content["data"]
                shown.append([kind, data.get("text/html", data.get("text/plain", ""))])
        answers.append(shown)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print(json.dumps(answers))
"""


def shown(cells: list[str], home: Path) -> list[list[tuple[str, str]]]:
    """Run cells in a notebook and return what each is shown to the user with."""
    where = {"PYTHONPATH": os.pathsep.join(sys.path), "RUNBUS_HOME": str(home)}
    done = subprocess.run(
        [PYTHON, "-c", NOTEBOOK],
        env=os.environ | where,
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [[(kind, text) for kind, text in one] for one in json.loads(done.stdout)]


def test_a_notebook_shows_tables_and_how_far_jobs_are(tmp_path: Path) -> None:
    first = (
        "import runbus\n"
        "from runbus import Command, api\n"
        "with runbus.init(project='nb', name='first', config={'lr': 0.1}) as run:\n"
        "    for step in range(3): run.log('loss', 1 / (step + 1), step=step)\n"
        "runbus.runs()"
    )
    cells = [
        first,
        "runbus.open_run('first')",
        "runbus.open_run('first').metrics('loss')",
        "api.run_sweep(Command(('false',)), sweeps=['a=1,2'], project='nb', max_parallel=1)",
        "(await api.explain('latest')).state",
        "api.run_sweep(Command(('true',)), sweeps='a=1')",
    ]

    runs, run, series, jobs, explained, refused = shown(cells, tmp_path)

    for answer in (runs, run, series, jobs[-1:]):
        (told,) = answer
        assert told[0] == "execute_result"
        assert told[1].startswith("<table>")
    assert "<td>0.5</td>" in series[0][1]
    assert "<td>lr = 0.1</td>" in run[0][1]
    progress = [text for kind, text in jobs if kind.endswith("display_data")]
    assert progress[0] == "<p>0 of 2 done</p>"
    assert "<p>1 of 2 done, 1 failed · 1 running</p>" in progress
    assert progress[-1] == "<p>2 of 2 done, 2 failed</p>"
    assert jobs[-1][1].count("FAILED") == 2
    assert explained == [("execute_result", "'FAILED: exit code 1'")]
    assert refused == [("error", "sweeps is 'a=1': expected a list of texts")]


def test_a_notebook_counts_each_job_of_a_group(tmp_path: Path) -> None:
    cell = (
        "from runbus import AsyncExperiment, Command\n"
        "pair = AsyncExperiment('nb', max_parallel=2)\n"
        "pair.add([Command(('true',)), Command(('true',))], name='pair')\n"
        "await pair.run()"
    )

    (jobs,) = shown([cell], tmp_path)

    progress = [text for kind, text in jobs if kind.endswith("display_data")]
    assert progress[-1] == "<p>2 of 2 done</p>"
