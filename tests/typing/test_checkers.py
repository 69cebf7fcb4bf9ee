"""What users see in mypy and Pylance: their own plugins, and the examples of the docs."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USERS = Path(__file__).parent / "users"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CACHE = ROOT / ".mypy_cache" / "users"
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
WRITTEN = re.compile(r'Path\("(\w+\.py)"\)\.write_text\(\s*"""\n(.*?)"""', re.DOTALL)


def run(tool: str, *options: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", tool, *options, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy(folder: Path) -> list[tuple[str, int, str]]:
    """Return the errors of mypy as a user runs it, without any settings."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test may be at it in another process
        told = run("mypy", "--config-file=", f"--cache-dir={CACHE}", folder=folder)
    found = re.findall(r"^(.*?):(\d+): error: (.*)$", told, re.MULTILINE)
    return [(Path(name).name, int(line), message) for name, line, message in found]


def pyright(folder: Path) -> list[tuple[str, int, str]]:
    """Return the errors of pyright as a user runs it, without any settings."""
    pytest.importorskip("pyright")
    told = run("pyright", "--outputjson", "--pythonpath", sys.executable, folder=folder)
    found = json.loads(told[told.index("{") :])["generalDiagnostics"]
    return [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"])
        for one in found
        # A kernel that was stopped swallows its own cancellation, so what the block binds may
        # not be there after it.
        if one["severity"] == "error" and one.get("rule") != "reportPossiblyUnboundVariable"
    ]


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_plugin_of_a_third_party_has_the_type_errors_that_it_should(check, tmp_path: Path):
    text = (USERS / "plugin.py").read_text()
    (tmp_path / "plugin.py").write_text(text)
    wrong = {n for n, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}

    errors = check(tmp_path)

    assert [error for error in errors if error[1] not in wrong] == []
    assert sorted(wrong - {line for _, line, _ in errors}) == [], "no error was seen there"


@pytest.mark.parametrize("check", [mypy, pyright])
def test_the_examples_of_the_docs_have_no_type_errors(check, tmp_path: Path):
    for page in PAGES:
        for number, code in enumerate(FENCE.findall(page.read_text()), 1):
            name = f"{page.parent.name}_{page.stem}_{number}".replace("-", "_")
            (tmp_path / f"{name}.py").write_text(code)
            for module, text in WRITTEN.findall(code):  # a later fence imports it
                (tmp_path / module).write_text(text)

    assert check(tmp_path) == []
