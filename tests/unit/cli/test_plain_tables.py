"""Tables for programs and files: each column as wide as its widest cell, whatever is in it."""

from __future__ import annotations

import pytest

from runbus.cli._table import print_table


def test_columns_are_as_wide_as_their_widest_cells(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["a", "1", "x"], ["größe", "10", "long"], ["\u65e5\u672c", "100", "\x1b[2J"]]
    print_table(["name", "n", "text"], rows, right=["n"])

    assert capsys.readouterr().out.splitlines() == [
        "name     n  text",
        "a        1  x",
        "größe   10  long",
        "\u65e5\u672c   100  \\x1b[2J",
    ]
