"""Texts are written as docs/style.md says: the words that it bans appear nowhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "docs" / "style.md"


def test_no_text_uses_a_word_that_the_style_bans() -> None:
    (line,) = re.findall(r"^- Never (.*)\.$", STYLE.read_text(), re.MULTILINE)
    banned = re.findall(r"\*([^*]+)\*", line)
    assert len(banned) > 5
    places = ["*.md", "*.py", "*.pyi", "*.rs", "*.sh", "*.toml", ":!docs/style.md"]
    words = "|".join(banned)
    found = subprocess.run(
        # Also where the checkout is another user's, as in a container that root runs.
        ["git", "-c", "safe.directory=*", "grep", "-nwiE", words, "--", *places],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert found.returncode in (0, 1), found.stderr
    assert found.stdout == ""
