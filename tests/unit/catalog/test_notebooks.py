"""What a notebook shows of runs, series and jobs that run."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

import runbus
from runbus import api
from runbus.config import Command

HOSTILE = "<script>alert(1)</script>"


def test_a_run_a_list_of_runs_and_a_series_are_tables_of_mere_text() -> None:
    with runbus.init(name=HOSTILE, config={HOSTILE: HOSTILE}) as run:
        for step in range(100):
            run.log({HOSTILE: step / 2}, step=step)
        run.tag(HOSTILE)
    found = runbus.runs()
    series = found[0].metrics(HOSTILE)

    shown: list[Any] = [found, found[0], series]
    for one in shown:
        table = one._repr_html_()
        assert table.startswith("<table>")
        assert "<script" not in table
        assert "&lt;script&gt;" in table
    assert "<td>100</td>" in found[0]._repr_html_()
    assert "100 points" in series._repr_html_()
    assert series._repr_html_().count("<tr>") == 12


def test_a_long_list_says_what_is_left_out() -> None:
    for _ in range(3):
        runbus.init().finish()
    three = runbus.runs()
    long: Any = type(three)(three * 50)

    assert "and 50 before them" in long._repr_html_()


def test_a_notebook_is_shown_how_far_the_jobs_of_run_are(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Display:
        def update(self, value: str) -> None:
            shown.append(value)

    def display(value: str, *, display_id: bool) -> Display:
        shown.append(value)
        return Display()

    ipython = ModuleType("IPython.display")
    ipython.display = display  # type: ignore[attr-defined]
    ipython.HTML = str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)

    api.run(Command(("false",)), name="x", check=False)

    assert shown[0] == "<p>0 of 1 done</p>"
    assert "<p>0 of 1 done · 1 running</p>" in shown
    assert shown[-1] == "<p>1 of 1 done, 1 failed</p>"
