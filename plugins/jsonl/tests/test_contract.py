"""The sink does what every sink must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runbus.testing.conformance.sink import SinkContract, SinkFactory, Taken
from runbus_jsonl import JsonLines


class TestJsonLines(SinkContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> SinkFactory:
        return lambda: JsonLines(tmp_path / "metrics.jsonl")

    @pytest.fixture
    def taken(self, tmp_path: Path) -> Taken:
        return lambda: [
            (point["name"], point["step"], float(point["value"]))
            for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
            for point in json.loads(line)["points"]
        ]
