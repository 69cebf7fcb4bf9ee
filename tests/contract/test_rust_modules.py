"""The check that no Rust modules use each other in a circle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def circles(*sources: Path) -> str:
    command = [sys.executable, ".ci/rust_cycles.py", *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == (1 if done.stderr else 0)
    return done.stderr


def test_no_rust_modules_use_each_other_in_a_circle() -> None:
    assert circles(*sorted(ROOT.glob("rust/*/src"))) == ""


def test_a_circle_is_found_through_grouped_imports_and_inline_paths(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "lib.rs").write_text("mod one;\nmod two;\n")
    (tmp_path / "one" / "mod.rs").write_text("mod inner;\n")
    (tmp_path / "one" / "inner.rs").write_text("use crate::{\n    two::{A, B as C},\n};\n")
    (tmp_path / "two.rs").write_text("fn f() { crate::one::g() }\n")
    found = circles(tmp_path)
    assert "in crate: one <- two <- one" in found or "in crate: two <- one <- two" in found


def test_a_parent_and_its_child_and_code_for_tests_are_no_circle(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mod.rs").write_text("mod inner;\nuse self::inner::A;\n")
    (tmp_path / "one" / "inner.rs").write_text("use super::B;\nuse crate::two::C;\n")
    (tmp_path / "two.rs").write_text(
        "struct C;\n#[cfg(test)]\nmod tests {\n    use crate::one::B;\n}\n"
    )
    assert circles(tmp_path) == ""
