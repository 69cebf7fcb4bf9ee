"""What a run may be called, and what its name does."""

from __future__ import annotations

import pytest

import runbus
from runbus.catalog import open_run
from runbus.cli._app import run_command


def logged(*names: str) -> list[str]:
    """Log a run for each name; return their ids."""
    ids = []
    for name in names:
        with runbus.init(project="p", name=name) as run:
            ids.append(run.id)
    return ids


def test_a_run_is_not_called_what_means_another_run(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = logged("a", "b")

    for name, means in (("latest", "the newest run"), (second, "the run of that id")):
        assert run_command(["rename", "a", name]) == 2
        assert f"a run cannot be called '{name}': that means {means}" in capsys.readouterr().err
    assert open_run("a").id == first


def test_a_name_that_other_runs_have_is_given_and_what_it_means_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, second, _ = logged("a", "b", "c")

    assert run_command(["rename", "a", "b"]) == 0
    assert capsys.readouterr().err == f"another run has the name 'b', too: it means {second}\n"
    assert run_command(["rename", "c", "d"]) == 0
    assert capsys.readouterr().err == ""
