"""`runbus replay` of the trace of a program with event classes of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runbus.cli._app import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = "events_of_a_program"
PROGRAM = f"""
from runbus import Kernel
from runbus.events import Notify

class Asked(Notify, tag="plugin.{MODULE}.asked"):
    text: str

async def main():
    async with Kernel(trace="trace") as kernel:
        await kernel.bus.publish(Asked("what?"))
"""
RECORD = f"import asyncio, {MODULE}; asyncio.run({MODULE}.main())"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a program in it that nobody has imported."""
    monkeypatch.chdir(tmp_path)
    before = sys.path.copy()
    yield tmp_path
    sys.path[:] = before
    sys.modules.pop(MODULE, None)


def test_a_program_s_own_events_are_fed_once_its_module_is_imported(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / f"{MODULE}.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "-c", RECORD], check=True, timeout=120)

    assert run_command(["replay", "trace"]) == 1
    said = capsys.readouterr().err
    assert f"plugin.{MODULE}.asked was not fed: no event class with tag" in said
    assert "error: nothing of this trace could be fed\nhint: --import the modules" in said

    assert run_command(["replay", "--import", MODULE, "trace"]) == 0
    assert "1 events fed, 0 went another way" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise ValueError('no')", "ValueError: no"),
        ("this is no Python", "SyntaxError: "),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_as_a_mistake_of_use(
    here: Path, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    (here / f"{MODULE}.py").write_text(code)

    assert run_command(["replay", "--import", MODULE, "trace"]) == 2
    assert f"error: cannot import {MODULE}: {said}" in capsys.readouterr().err
