"""Torch's own tensors on every rung of the ladder, in the interpreter that has torch.

That is Debian's, or `RUNBUS_TORCH_PYTHON`: torch from PyPI would bring gigabytes of CUDA into ours.
There is no GPU: a tensor that says it is on one, and fails when asked for its value, stands in.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus.metrics import StoredRun

pytestmark = pytest.mark.services

PYTHON = os.environ.get("RUNBUS_TORCH_PYTHON", "/usr/bin/python3")
PACKAGE = Path(runbus.__file__).parent.parent

PRELUDE = """
import json, sys, threading, time
import torch
import runbus

run = runbus.init(home=sys.argv[1])

def rungs(value, step):
    run.log("x", value, step)
    run.log("x", value, step=step)
    run.log({"x": value}, step=step)
    run.log({"x": value, "y": {"z": value}}, step=step)
    run.log(step=step, x=value)
    run.series("x").append(value, step)
    run.group("x", "y").log(step, value, value)

"""


def logged(tmp_path: Path, script: str) -> tuple[StoredRun, Any]:
    """Run the script where torch is; return the run it made and what it told."""
    done = subprocess.run(
        [PYTHON, "-c", PRELUDE + script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    told = json.loads(done.stdout)
    return StoredRun(told["run"]), told


def test_a_tensor_of_one_element_of_every_type_and_shape(tmp_path: Path) -> None:
    run, told = logged(
        tmp_path,
        """
names = "uint8 int8 int16 int32 int64 bool float16 bfloat16 float32 float64"
expected = []
for step, name in enumerate(names.split()):
    for shape in [(), (1,), (1, 1)]:
        for is_learned in [False, True]:
            value = torch.tensor(1.0 if name == "bool" else 3.0).reshape(shape)
            value = value.to(getattr(torch, name))
            if is_learned and not value.is_floating_point():
                continue
            value.requires_grad_(is_learned)
            rungs(value, step)
            expected += [float(value)] * 7
run.finish()
print(json.dumps({"run": run.folder, "expected": expected}))
""",
    )
    assert list(run.metrics("x").values) == told["expected"]


def test_whole_tensors_extend_a_series(tmp_path: Path) -> None:
    run, told = logged(
        tmp_path,
        """
series, expected = run.series("x"), []
for name in "uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split():
    value = torch.arange(10).to(getattr(torch, name))
    for form in [value, value[::3], value[2:]]:
        series.extend(form, torch.arange(len(form)))
        expected += form.tolist()
learned = torch.linspace(0, 1, 5, requires_grad=True)
series.extend(learned)
series.extend(learned * 2)
expected += learned.tolist() + (learned * 2).tolist()
refused = []
for wrong in [torch.zeros(2, 2), torch.zeros(2).to(torch.complex64), torch.zeros(2, device="meta")]:
    try:
        series.extend(wrong)
    except TypeError as error:
        refused.append(str(error))
run.finish()
print(json.dumps({"run": run.folder, "expected": expected, "refused": refused}))
""",
    )
    assert list(run.metrics("x").values) == told["expected"]
    assert len(told["refused"]) == 3
    assert all("metric 'x'" in text for text in told["refused"])


def test_what_is_no_real_number_raises_and_names_the_metric(tmp_path: Path) -> None:
    run, told = logged(
        tmp_path,
        """
refused = []
for wrong in [torch.zeros(2), torch.tensor(1j), torch.zeros((), device="meta"), torch.zeros(0)]:
    try:
        run.log({"x": wrong})
    except (TypeError, OverflowError) as error:
        refused.append(str(error))
run.finish()
print(json.dumps({"run": run.folder, "refused": refused}))
""",
    )
    assert len(told["refused"]) == 4
    assert all("metric 'x'" in text for text in told["refused"])
    assert run.metric_names() == []


def test_tensors_on_a_device_are_never_waited_for_and_come_in_few_copies(tmp_path: Path) -> None:
    run, told = logged(
        tmp_path,
        """
calls = []

class OnGpu(torch.Tensor):
    is_cpu = False

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        calls.append((function.__name__, threading.current_thread() is threading.main_thread()))
        if function.__name__ in ("item", "__float__", "__int__", "__index__", "__bool__"):
            raise AssertionError("synchronised")
        return super().__torch_function__(function, types, args, kwargs or {})

def on_gpu(value, dtype=torch.float32):
    return torch.tensor(value, dtype=dtype).as_subclass(OnGpu)

total, began = on_gpu(0.0), time.monotonic()
for step in range(500):
    total += 1  # in place: what is logged is the value of the moment
    run.log({"total": total, "loss": on_gpu(0.5, torch.bfloat16), "lr": 0.1}, step=step)
while run.waiting:
    run.sync()
learned = torch.tensor(2.0, requires_grad=True).as_subclass(OnGpu)
rungs(learned * 3, 500)
run.finish()
print(json.dumps({
    "run": run.folder,
    "stacks": [is_main for name, is_main in calls if name == "stack"],
    "waited": sorted({name for name, is_main in calls if name in ("cpu", "tolist") and is_main}),
    "counts": [run.accepted, run.dropped, run.stalls],
    "took": time.monotonic() - began,
}))
""",
    )
    assert list(run.metrics("total").values) == [float(step) for step in range(1, 501)]
    assert run.metrics("total").steps.tolist() == list(range(500))
    assert set(run.metrics("loss").values) == {0.5}
    assert list(run.metrics("x").values) == [6.0] * 7
    assert told["counts"] == [1500 + 9, 0, 0]
    # Two types of number, ten times a second: far fewer copies than the thousand values.
    assert 2 <= len(told["stacks"]) < 30 + 2 * 10 * told["took"]


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_workers_of_a_data_loader_log_to_the_run_of_their_dataset(tmp_path: Path, way: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"""
import json, sys
import torch
import runbus

class Numbers(torch.utils.data.Dataset):
    def __init__(self, run):
        self.run = run

    def __len__(self):
        return 40

    def __getitem__(self, place):
        self.run.log("read", float(place), step=place)
        return torch.tensor(float(place))

if __name__ == "__main__":
    with runbus.init(home=sys.argv[1]) as run:
        loader = torch.utils.data.DataLoader(
            Numbers(run), batch_size=5, num_workers=2, multiprocessing_context="{way}"
        )
        for step, batch in enumerate(loader):
            run.log("loss", batch.sum(), step=step)
    print(json.dumps({{"run": run.folder, "dropped": run.dropped}}))
""")
    done = subprocess.run(
        [PYTHON, script, tmp_path / "home"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        check=True,
        timeout=170,
    )
    told = json.loads(done.stdout)
    run = StoredRun(told["run"])
    assert sorted(run.metrics("read").values) == [float(place) for place in range(40)]
    assert sum(run.metrics("loss").values) == sum(range(40))
    assert (told["dropped"], run.end().state, done.stderr) == (0, 0, b"")
