from __future__ import annotations

import ast
import json
import os
import resource
from array import array
from pathlib import Path
from typing import Any

import pytest

import runbus_jsonl
from runbus import Kernel
from runbus.abc import PluginState
from runbus.errors import HookError
from runbus.events import MetricBatch, PluginFailed
from runbus.plugins import read_lines
from runbus_jsonl import JsonLines


def batch(*points: tuple[str, int, int, float], run_id: str = "r") -> MetricBatch:
    names = tuple(dict.fromkeys(name for name, *_ in points))
    return MetricBatch(
        run_id=run_id,
        writer="w0",
        names=names,
        series=array("I", [names.index(name) for name, *_ in points]).tobytes(),
        steps=array("q", [step for _, step, _, _ in points]).tobytes(),
        times=array("q", [time_ns for *_, time_ns, _ in points]).tobytes(),
        values=array("d", [value for *_, value in points]).tobytes(),
    )


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_batch_becomes_a_line_before_the_kernel_has_stopped(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "out.jsonl"
    async with Kernel(plugins=[JsonLines(path)]) as kernel:
        for step in range(1000):
            await kernel.bus.emit(batch(("loss", step, step * 10, 0.5), ("acc", step, step, 1.0)))

    lines = read(path)
    assert len(lines) == 1000
    assert lines[7].pop("crc32")
    assert lines[7] == {
        "run_id": "r",
        "writer": "w0",
        "points": [
            {"name": "loss", "step": 7, "time_ns": 70, "value": 0.5},
            {"name": "acc", "step": 7, "time_ns": 7, "value": 1.0},
        ],
    }


async def test_an_existing_file_is_extended(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for run_id in ("one", "two"):
        async with Kernel(plugins=[JsonLines(path)]) as kernel:
            await kernel.bus.emit(batch(("loss", 1, 1, 0.5), run_id=run_id))

    assert [line["run_id"] for line in read(path)] == ["one", "two"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
async def test_what_json_has_no_number_for_is_a_text(tmp_path: Path, value: float) -> None:
    path = tmp_path / "out.jsonl"
    async with Kernel(plugins=[JsonLines(path)]) as kernel:
        await kernel.bus.emit(batch(("löss", 1, 1, value)))

    ((point,),) = (line["points"] for line in read(path))
    assert point == {"name": "löss", "step": 1, "time_ns": 1, "value": str(value)}


async def test_a_file_that_cannot_be_opened_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(HookError, match="plugin 'jsonl': setup raised FileUnreadable"):
        async with Kernel(plugins=[JsonLines(tmp_path)]):
            pytest.fail("the block must not run")


async def test_a_full_disk_fails_the_plugin_and_nothing_else(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with Kernel(plugins=[JsonLines(tmp_path / "out.jsonl")]) as kernel:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        try:
            failed = kernel.bus.wait_for(PluginFailed, timeout=120)
            await kernel.bus.emit(batch(("loss", 1, 1, 0.5)))
            assert "File too large" in (await failed).error
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await kernel.bus.emit(batch(("loss", 2, 2, 0.5)))
        assert kernel.health().plugins["jsonl"].state is PluginState.FAILED
    # Nothing is there by half.
    assert (tmp_path / "out.jsonl").read_bytes() == b""


async def test_a_line_that_a_crash_cut_short_is_cut_off_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "out.jsonl"
    for run_id in ("one", "two", "three"):
        async with Kernel(plugins=[JsonLines(path)]) as kernel:
            await kernel.bus.emit(batch(("loss", 1, 1, 0.5), run_id=run_id))
            torn = (await kernel.check_health()).plugins["jsonl"].details["torn"]
            assert (torn > 0) == (run_id == "three")
        if run_id == "two":
            os.truncate(path, path.stat().st_size - 9)

    assert [line["run_id"] for line in read(path)] == ["one", "three"]
    assert "half a line, and are cut off" in caplog.text
    damage: list[tuple[int, int]] = []
    assert len(list(read_lines(path, damage))) == 2
    assert damage == []


async def test_it_is_found_by_its_name_and_writes_into_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Kernel(plugins=["jsonl"]) as kernel:
        await kernel.bus.emit(batch(("loss", 1, 1, 0.5)))
        assert (await kernel.check_health()).plugins["jsonl"].details["path"]

    assert len(read(tmp_path / "runbus-metrics.jsonl")) == 1


def test_it_imports_only_what_a_third_party_may() -> None:
    allowed = {"runbus", "runbus.abc", "runbus.events", "runbus.errors", "runbus.plugins"}
    for path in Path(runbus_jsonl.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                if name.partition(".")[0] == "runbus":
                    assert name in allowed, f"{path.name} imports {name}"
