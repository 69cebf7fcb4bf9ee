"""Scripts as tasks: files, modules and lines, checked before anything is submitted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus import Command, Job, Script
from runbus.config import plain_words_of, script_or_program
from runbus.errors import ScriptUnusable, TaskInvalid


def printed(script: Script) -> str:
    words = plain_words_of(script)
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout


def test_each_kind_of_script_gets_its_arguments(tmp_path: Path) -> None:
    python = tmp_path / "a.py"
    python.write_text("import sys; print(*sys.argv[1:])\n")
    shell = tmp_path / "a.sh"
    shell.write_text('echo "$@"\n')
    lines = "import sys; print(*sys.argv[1:])"
    args = ("--lr=1", "a b")
    scripts = [
        Script(str(python), args),
        Script(str(shell), args, entrypoint="bash"),
        Script(inline='echo "$@"', args=args),
        Script(inline=lines, args=args, entrypoint="python"),
    ]
    assert [printed(one) for one in scripts] == ["--lr=1 a b\n"] * 4
    module = Script("json.tool", ("--help",), module=True)
    assert module.command_line() == (sys.executable, "-m", "json.tool", "--help")
    assert "usage" in printed(module)
    assert printed(scripts[2].with_values({"x": "1"})) == "--x=1 --lr=1 a b\n"


def test_a_mistake_of_syntax_is_told_before_anything_is_submitted(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\ndef f(:\n")
    with pytest.raises(ScriptUnusable, match="invalid syntax in line 2"):
        Script(str(path)).command_line()
    with pytest.raises(ScriptUnusable, match="invalid syntax in line 1"):
        Script(inline="1 +", entrypoint="python").command_line()
    path.write_text("x = 1\n" * 2)
    assert Script(str(path)).command_line()[1] == str(path)
    path.write_text("def f(:\n")
    assert Script(str(path), python="/another/python").command_line()[0] == "/another/python"
    path.write_bytes(b"x = '\xff'\n")
    with pytest.raises(ScriptUnusable):
        Script(str(path)).command_line()


@pytest.mark.parametrize(
    ("name", "begin", "reason"),
    [
        ("tool", b"\x7fELF\2\1\1\0", "it is a program, not a Python script"),
        ("train", b"#!/usr/bin/env bash\nset -e\n", "it is a script for bash, not for Python"),
        ("train.sh", b"python train.py\n", "it is a shell script, not a Python script"),
    ],
)
def test_what_is_no_python_is_refused_with_the_way_that_runs_it(
    tmp_path: Path, name: str, begin: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(begin)

    with pytest.raises(ScriptUnusable, match=reason) as caught:
        Script(str(path)).command_line()
    assert caught.value.hint is not None
    assert "command:" in caught.value.hint
    assert Script(str(path), entrypoint="bash").command_line()[:2] == ("bash", str(path))


@pytest.mark.parametrize(
    ("begin", "mode", "path"),
    [
        (b"#!/bin/sh\n", 0o700, "./tool"),
        (b"\x7fELF\2\1\1\0", 0o700, "./tool"),
        (b"#!/bin/sh\n", 0o600, None),
        (b"#!/usr/bin/env python3\n", 0o700, None),
        (b"print(1)\n", 0o700, None),
    ],
)
def test_a_file_that_may_be_executed_is_a_program_unless_it_is_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes, mode: int, path: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tool").write_bytes(begin)
    Path("tool").chmod(mode)

    task = script_or_program("tool", ("-v",))

    assert task == (Command((path, "-v")) if path else Script("tool", ("-v",)))


def test_a_word_is_a_program_if_there_is_no_such_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert script_or_program("sh", ("-c", "true")) == Command(("sh", "-c", "true"))
    for missing in ("no-such-program", "./sh", "sub/sh"):
        assert script_or_program(missing, ()) == Script(missing)
    Path("sh").mkdir()
    assert script_or_program("sh", ()) == Command(("sh",))
    Path("sh").rmdir()
    Path("sh").write_text("print(1)")
    assert script_or_program("sh", ()) == Script("sh")


def test_a_program_of_another_machine_need_not_be_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert script_or_program("of-the-cluster", (), is_elsewhere=True) == Command(
        ("of-the-cluster",)
    )
    for missing in ("trian.py", "./of-the-cluster"):
        assert script_or_program(missing, (), is_elsewhere=True) == Script(missing)


@pytest.mark.parametrize("begin", [b"#!/usr/bin/env -S uv run --script\n", b"print(1)\n", b""])
def test_a_script_of_python_needs_no_suffix(tmp_path: Path, begin: bytes) -> None:
    path = tmp_path / "train"
    path.write_bytes(begin)

    assert Script(str(path)).command_line() == (sys.executable, str(path))


BAD: list[dict[str, Any]] = [
    {},
    {"path": "a.py", "inline": "echo"},
    {"path": "a", "module": True, "entrypoint": "bash"},
    {"inline": "x", "module": True},
    {"path": "a.py", "cwd": "x", "workdir": "y"},
]


@pytest.mark.parametrize("fields", BAD)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TaskInvalid):
        Script(**fields)


def test_the_surroundings_of_a_script_are_those_of_its_job_unless_that_says_more() -> None:
    script = Script("a.py", env={"A": "1", "B": "2"}, workdir="/x")
    assert (script.cwd, script.workdir) == ("/x", None)
    job = Job(name="a", task=script, env={"B": "3"})
    assert (job.env, job.cwd) == ({"A": "1", "B": "3"}, "/x")
    assert Job(name="a", task=script, cwd="/y").cwd == "/y"


def test_a_script_is_called_by_what_it_is() -> None:
    assert Script("src/train.py").title == "train"
    assert Script("pkg.train", module=True).title == "train"
    assert Script(inline="echo hello world").title == "echo_hello"
    assert Script("a.py", cwd="b").relative_to("/c") == Script("/c/a.py", cwd="/c/b")
