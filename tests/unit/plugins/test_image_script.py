"""The script of an image and the operations of plugins: as text, and run by every shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runbus import Image, PipIndex
from runbus.errors import FieldInvalid
from runbus.plugins import image_script, phase, render_ops

GOLDEN = Path(__file__).parents[2] / "golden" / "scripts" / "image.sh"
SHELLS = [
    pytest.param(["dash"], id="dash"),
    pytest.param(["bash"], id="bash"),
    pytest.param(["busybox", "sh"], id="busybox", marks=pytest.mark.services),
]

IMAGE = Image(
    python="3.12",
    pip=("torch==2.4", "numpy>=1; python_version > '3'"),
    pip_indexes=(PipIndex("https://host/it's", ("torch", "torch-data")),),
    apt=("git", "ffmpeg=7:1.0"),
    env={"QUOTED": "it's $HOME `id`\n2", "A": "1"},
    secrets={"HF_TOKEN": "file:/canary"},
)


def run(
    shell: list[str], script: str, folder: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    path = folder / "script.sh"
    path.write_text(script)
    return subprocess.run(
        [*shell, str(path), str(folder / "image")],
        env={"PATH": os.environ["PATH"], "RUNBUS_PHASES": str(folder / "phases"), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def phases(folder: Path) -> list[tuple[str, str, int]]:
    rows = [json.loads(line) for line in (folder / "phases").read_text().splitlines()]
    assert all(row["type"] == "phase" and row["at"] > 0 for row in rows)
    return [(row["phase"], row["event"], row["code"]) for row in rows]


def test_a_script_looks_as_it_should_and_the_order_of_packages_makes_no_other() -> None:
    ops = ("echo plain", lambda: "echo called", (("echo nested",), phase("log in", "echo 'x y'")))
    other = Image(
        python="3.12", pip=IMAGE.pip[::-1], pip_indexes=IMAGE.pip_indexes, apt=IMAGE.apt[::-1],
        env=dict(reversed([*IMAGE.env.items()])), secrets=IMAGE.secrets,
    )  # fmt: skip

    script = image_script(IMAGE, ops)

    assert script == GOLDEN.read_text()
    assert image_script(other, ops) == script
    assert "canary" not in script


@pytest.mark.parametrize("shell", SHELLS)
def test_variables_reach_the_operations_as_they_are_and_phases_are_told(
    shell: list[str], tmp_path: Path
) -> None:
    image = Image(env=dict(IMAGE.env))
    ops = (
        "here=1",
        'printf %s "$QUOTED"',
        phase("log in", 'test -z "${here-}"', 'printf "|%s" "$A"'),
        lambda: 'printf "|%s" "$here"',
    )

    done = run(shell, image_script(image, ops), tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{image.env['QUOTED']}|1|1"
    assert phases(tmp_path) == [
        ("env", "started", 0), ("env", "completed", 0),
        ("plugins", "started", 0), ("log in", "started", 0), ("log in", "completed", 0),
        ("plugins", "completed", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("op", "told"),
    [
        ("exit 3", [("plugins", "failed", 3)]),
        ("(exit 3)", [("plugins", "failed", 3)]),
        (phase("p", "true", "(exit 3)", "echo no"), [("p", "failed", 3), ("plugins", "failed", 3)]),
        (phase("p", "(exit 3)\necho no"), [("p", "failed", 3), ("plugins", "failed", 3)]),
    ],
    ids=["exit", "status", "phase", "lines"],
)
def test_what_fails_ends_the_script_and_says_in_which_phase(
    shell: list[str], op: Any, told: list[Any], tmp_path: Path
) -> None:
    done = run(shell, image_script(Image(), (op, "echo never")), tmp_path)

    assert (done.returncode, done.stdout) == (3, "")
    assert [one for one in phases(tmp_path) if one[1] == "failed"] == told


def test_without_a_file_for_them_phases_are_told_on_stderr(tmp_path: Path) -> None:
    script = image_script(Image(env={"A": "1"}), phase("p", "exit 4"))

    done = run(["sh"], script, tmp_path, {"RUNBUS_PHASES": ""})

    assert done.stderr.splitlines()[-2:] == [
        "phase p failed with exit code 4",
        "phase plugins failed with exit code 4",
    ]


def test_an_image_that_asks_for_nothing_needs_no_python_and_no_root(tmp_path: Path) -> None:
    done = run(["sh"], image_script(Image(secrets={"A": "B"})), tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_packages_of_the_system_that_are_there_need_no_root_and_no_network(
    tmp_path: Path,
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("apt-get", "sudo"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho called >&2; exit 9\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    there = run(["dash"], image_script(Image(apt=("dash", "bash"))), tmp_path, env)
    lacks = run(["dash"], image_script(Image(apt=("no-such-package",))), tmp_path, env)

    assert (there.returncode, there.stderr) == (0, "")
    assert lacks.returncode == 9
    assert phases(tmp_path)[-1] == ("apt", "failed", 9)


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("mkdir", "date", "rm"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))

    done = run(
        ["/bin/dash"], image_script(Image(python="3.99")), tmp_path,
        {"PATH": str(tmp_path / "bin")},
    )  # fmt: skip

    assert done.returncode == 127
    assert done.stderr == (
        "error: there is neither python3.99 here, nor uv, which could bring it\n"
    )
    assert phases(tmp_path)[-1] == ("python", "failed", 127)


@pytest.mark.parametrize("op", [3, None, b"x", {"a": 1}, ("a", (3,)), "\0"], ids=repr)
def test_what_is_no_operation_is_refused(op: Any) -> None:
    with pytest.raises(FieldInvalid):
        render_ops(op)


def test_operations_that_hold_themselves_are_refused() -> None:
    ops: list[Any] = []
    ops.append(ops)

    with pytest.raises(FieldInvalid, match="nested too deeply"):
        render_ops(ops)


@pytest.mark.parametrize("name", ["", "a\nb", 'a"b', "$(id)", 3], ids=repr)
def test_a_phase_whose_name_no_report_can_show_is_refused(name: Any) -> None:
    with pytest.raises(FieldInvalid):
        phase(name, "true")
