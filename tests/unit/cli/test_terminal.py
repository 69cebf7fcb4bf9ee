"""What a terminal shows: everything that it shows is whole."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

import runbus
from runbus._ids import short_id
from runbus.cli._app import run_command

if TYPE_CHECKING:
    from pathlib import Path

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "train.py"
    file.write_text(
        "import runbus\n"
        "with runbus.init() as run:\n"
        "    run.log({'loss': 1 / 12, 'a/metric/of/a/long/name/that/goes/on': 2, 'last': 3})\n"
        "print('1:100:3 :key: [red]')\n"
    )
    return file


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_the_result_of_a_run_is_never_cut(
    width: int, script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)

    assert run_command(["run", str(script)]) == 0

    captured = capsys.readouterr()
    result = ESCAPE.sub("", captured.out)
    (run,) = runbus.runs()
    header, row = (line.split() for line in result.splitlines())
    assert row[:3] == [short_id(run.id), "train", "SUCCEEDED"]
    metrics = [name for name in header[3:] if name not in {"last", "step", "time"}]
    assert (
        metrics
        == {
            30: [],
            40: ["loss"],
            80: ["loss", "a/metric/of/a/long/name/that/goes/on"],
            200: ["loss", "a/metric/of/a/long/name/that/goes/on"],
        }[width]
    )
    assert ("0.0833333" in row) == (width > 30)
    assert "1:100:3 :key: [red]" in ESCAPE.sub("", captured.err)
