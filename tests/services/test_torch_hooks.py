"""Torch's own process group, made and left by the plugin, in the interpreter that has torch."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

import runbus
from runbus.testing._ports import free_ports

pytestmark = pytest.mark.services

PYTHON = os.environ.get("RUNBUS_TORCH_PYTHON", "/usr/bin/python3")
PATHS = (str(Path(runbus.__file__).parent.parent), sysconfig.get_path("purelib"))

SCRIPT = """
import json
from runbus.plugins import WorkerHooks, frameworks
from runbus.testing._ports import free_ports

hooks = WorkerHooks([frameworks.torch()])

def task(add):
    import torch
    from torch import distributed
    if not distributed.is_initialized():
        return None
    total = torch.tensor([distributed.get_rank() + add])
    distributed.all_reduce(total)
    return total.item()

told = [hooks.wrapped(task)(1), hooks.wrapped(task)(10)]
failures = [str(one) for one in hooks.close()]
from torch import distributed
print(json.dumps([told, failures, distributed.is_initialized()]))
"""


def started(**info: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PYTHON, "-c", SCRIPT],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(PATHS),
            "RUNBUS_INSTANCE": json.dumps(info),
            "GLOO_SOCKET_IFNAME": "lo",
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> list[object]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    found: list[object] = json.loads(out.splitlines()[-1])
    return found


def test_two_processes_are_one_group_for_all_tasks_and_leave_it() -> None:
    (port,) = free_ports(1)
    processes = [
        started(node=node, total_nodes=2, head_addr="127.0.0.1", head_port=port) for node in (0, 1)
    ]

    assert [told(one) for one in processes] == [[[3, 21], [], False]] * 2


def test_a_process_that_is_alone_makes_no_group() -> None:
    assert told(started()) == [[None, None], [], False]
