"""CI passes only if every test was tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CASES = """
import pytest

def test_passes():
    pass

@pytest.mark.xfail
def test_is_expected_to_fail():
    raise AssertionError

@pytest.mark.skipif(True, reason="not here")
def test_skips():
    pass

def test_finds_out_that_it_cannot():
    pytest.skip("not now")
"""


@pytest.mark.parametrize(
    ("is_ci", "told"),
    [(True, "1 failed, 1 passed, 1 xfailed, 1 error"), (False, "1 passed, 2 skipped, 1 xfailed")],
)
def test_a_skip_fails_in_ci_and_nowhere_else(tmp_path: Path, is_ci: bool, told: str) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"} | ({"CI": "true"} if is_ci else {})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip

    assert told in done.stdout, done.stdout
    assert done.returncode == (1 if is_ci else 0)
