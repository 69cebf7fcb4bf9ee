"""What `runbus doctor` says of a container engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbus.testing.dockerd import IMAGE, Dockerd

pytestmark = pytest.mark.services


def test_an_engine_is_asked_for_what_its_executors_need(engine: Dockerd, tmp_path: Path) -> None:
    there = {"type": "docker", "socket": engine.socket}
    executors = {
        "here": there | {"container_image": IMAGE},
        "gpu": there | {"container_image": "not/there:1", "num_gpus": -1},
        "gone": there | {"socket": f"{tmp_path}/no.sock"},
    }
    (tmp_path / "runbus.yaml").write_text(json.dumps({"executors": executors}))

    done = subprocess.run(
        [sys.executable, "-m", "runbus.cli", "doctor", "--json"],
        cwd=tmp_path,
        env=os.environ | {"RUNBUS_HOME": str(tmp_path / "home")},
        capture_output=True,
        check=False,
        timeout=120,
    )

    checks = {one["title"]: one for one in json.loads(done.stdout)}
    title = f"engine {engine.socket}"
    assert done.returncode == 1
    assert checks[title]["is_well"]
    assert "docker pull not/there:1" in checks[f"{title}: image not/there:1"]["advice"]
    assert f"{title}: image {IMAGE}" not in checks
    assert not checks[f"{title}: GPUs"]["is_well"]
    assert "no such socket" in checks[f"engine {tmp_path}/no.sock"]["found"]
