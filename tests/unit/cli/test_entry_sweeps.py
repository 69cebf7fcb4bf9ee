"""Sweeps of an entrypoint: those of files, those of words, and both."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbus.cli import entrypoint, run_entrypoint

ran: list[tuple[int, float]] = []


@entrypoint(name="train")
def train(epochs: int = 0, lr: float = 0.5) -> None:
    ran.append((epochs, lr))


@pytest.fixture
def source(tmp_path: Path) -> str:
    ran.clear()
    (tmp_path / "s.yaml").write_text("_sweep_: {epochs: [1, 2]}\nlr: 0.25\n")
    return str(tmp_path / "s.yaml")


def test_a_swept_word_replaces_the_axis_of_a_file_for_the_same_path(source: str) -> None:
    assert run_entrypoint(train, ["--yaml", source, "--sweep", "epochs=5,6"]) == 0
    assert ran == [(5, 0.25), (6, 0.25)]


def test_axes_of_a_file_and_of_words_span_a_grid(source: str) -> None:
    assert run_entrypoint(train, ["--yaml", source, "--sweep", "lr=1,2"]) == 0
    assert ran == [(1, 1.0), (1, 2.0), (2, 1.0), (2, 2.0)]


def test_a_sweep_in_a_file_that_is_not_asked_for_is_reported(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert run_entrypoint(train, ["--yaml", source]) == 0
    assert ran == [(0, 0.25)]
    assert "without --sweep the _sweep_ of epochs in its file is ignored" in caplog.text


def test_a_value_that_is_swept_twice_is_refused(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_entrypoint(train, ["--sweep", "epochs=1,1"]) == 2
    assert "epochs=1,1: 1 is there twice" in capsys.readouterr().err
    Path(source).write_text("_sweep_: {epochs: [1, 1]}\n")
    assert run_entrypoint(train, ["--yaml", source, "--sweep"]) == 2
    assert "_sweep_: epochs: 1 is there twice" in capsys.readouterr().err
    assert not ran
