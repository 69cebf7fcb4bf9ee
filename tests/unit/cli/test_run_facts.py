"""`runbus show`, `ls --tag` and `artifacts`: what a run keeps beside its metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import runbus
from runbus.cli._app import run_command
from runbus.metrics import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    source = tmp_path / "model.bin"
    with runbus.init(name="kept", config={"lr": 0.1}) as run:
        run.params(lr=0.2, hf_token="hidden")
        run.tag("baseline", "v1")
        run.note("looks good")
        run.log_text("generated", "é", step=1)
        run.log_histogram("weights", ([1], [0, 1]), step=2)
        for step in range(3):
            source.write_text(f"weights {step}")
            run.log_artifact(source, step=step)
        run.log_image("noise", np.zeros((2, 2)))
    with runbus.init(name="other") as other:
        other.tag("v1")
    return run


def test_show_prints_all_that_a_run_keeps(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["show", "kept"]) == 0

    (image,) = runbus.open_run(run.id).images()
    printed = capsys.readouterr().out
    assert "hidden" not in printed
    lines = [line.split() for line in printed.splitlines()]
    for expected in (
        "tags baseline, v1",
        "param lr = 0.2 (was 0.1)",
        "param hf_token = ***",
        "note looks good",
        "file model.bin 3 2 9 B",
        f"image noise 1 {image.size} B",
        "text generated 1 1",
        "histogram weights 1 2",
    ):
        assert expected.split() in lines, expected


def test_show_gives_all_that_a_run_keeps_as_json(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["show", "kept", "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["params"] == {"lr": 0.2, "hf_token": "***"}
    assert shown["tags"] == ["baseline", "v1"]
    assert [note["text"] for note in shown["notes"]] == ["looks good"]
    assert [(one["name"], one["step"]) for one in shown["artifacts"]] == [
        ("model.bin", 0),
        ("model.bin", 1),
        ("model.bin", 2),
        ("noise", None),
    ]


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ([], ["kept", "other"]),
        (["v1"], ["kept", "other"]),
        (["baseline"], ["kept"]),
        (["baseline", "v1"], ["kept"]),
        (["missing"], []),
    ],
)
def test_ls_lists_the_runs_with_all_the_tags(
    run: Run, tags: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for tag in tags for word in ("--tag", tag)]

    assert run_command(["ls", "--json", *options]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == names
    assert run_command(["ls", *options]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == (len(names) + 1 if names else 0)
    assert printed.err == ("" if names else "no run with the tag missing\n")


def test_artifacts_are_listed_each_time_they_were_logged(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["artifacts", "kept", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == ["model.bin"] * 3 + ["noise"]
    assert run_command(["artifacts", "kept", "--kind", "image"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "kind", "step", "time", "size", "path"]
    assert row.split()[:2] == ["noise", "image"]


def test_the_newest_of_each_name_is_copied_and_nothing_overwritten(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    assert run_command(["artifacts", "kept", "-o", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out / "model.bin"), str(out / "noise.png")]
    assert (out / "model.bin").read_text() == "weights 2"
    (out / "model.bin").write_text("changed")
    assert run_command(["artifacts", "kept", "model.bin", "-o", str(out)]) == 0
    assert (out / "model.bin").read_text() == "changed"
    assert (out / "model.bin-model.bin").read_text() == "weights 2"
    assert run_command(["artifacts", "kept", "model.bin", "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_an_unknown_artifact_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["artifacts", "kept", "model"]) == 1
    assert "did you mean 'model.bin'" in capsys.readouterr().err
