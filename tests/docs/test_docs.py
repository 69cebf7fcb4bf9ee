"""Every fence of the README and the docs is run, in order, as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN = {"python": [sys.executable], "bash": ["bash", "-euo", "pipefail"]}


def fences(page: Path) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in FENCE.finditer(page.read_text())]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(language in RUN for language, _ in fences(page))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_fences_of_a_page_run(page: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for number, (language, code) in enumerate(fences(page), start=1):
        if language not in RUN:
            continue
        file = tmp_path / f"fence-{number}"
        file.write_text(code)
        done = subprocess.run(
            [*RUN[language], str(file)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"fence {number} of {page.name}:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_says_what_it_is(page: Path) -> None:
    known = {*RUN, "console", "text", "toml", "json", "yaml"}
    assert [language for language, _ in fences(page) if language not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_targets_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text())
    }
    assert named <= targets


def test_the_examples_run(tmp_path: Path) -> None:
    for command in (["digits.py", "--steps", "20"], ["embed.py", "digits.py"]):
        subprocess.run(
            [sys.executable, *command],
            cwd=ROOT / "examples",
            check=True,
            timeout=120,
            capture_output=True,
        )


@pytest.mark.parametrize(("name", "makes"), [("python3.13", True), ("python2", False)])
def test_make_takes_whichever_python_is_new_enough(name: str, makes: bool, tmp_path: Path) -> None:
    for tool in ("make", "sh"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    (tmp_path / name).symlink_to(sys.executable)

    done = subprocess.run(
        ["make", "-n", "V=elsewhere", "elsewhere/bin/python", "RUST="],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    if makes:
        assert done.stdout.startswith(f"{name} -m venv elsewhere"), done.stderr
    else:
        assert "Python 3.11 or later is needed" in done.stderr
