"""The table of metrics: what people look for first stays when there is little room."""

from __future__ import annotations

import math
import sys

import pytest

from runbus.cli._summaries import print_summaries
from runbus.metrics import SeriesSummary

LOSS = SeriesSummary(100, 99, 0.01, 0.01, 1.0, 1.0, 0.05, 0.1, 0.02, 0.17, 0.5, 99, 0)
NAN = math.nan
EMPTY = SeriesSummary(1, 7, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, 0)
LONG = "validation/accuracy/of the best so far/averaged"


def test_everything_is_printed_where_nobody_counts_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_summaries({"loss": LOSS, "größe": EMPTY})

    header, loss, empty = capsys.readouterr().out.splitlines()
    assert header.split()[-6:] == ["mean", "std", "p50", "p95", "p99", "first"]
    assert "0.01 @ 99" in loss
    assert "1 @ 0" in loss
    assert "@" not in empty
    assert [line.rindex(text) + len(text) for line, text in [(header, "mean"), (loss, "0.05")]] == [
        header.index("mean") + 4
    ] * 2


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
def test_a_table_is_no_wider_than_the_terminal_and_whole_names_stay(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    print_summaries({LONG: LOSS, "loss": LOSS})

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    begins = lines[0].index("last step" if width > 60 else "last")
    named = "".join(line[:begins] for line in lines[1:-1])
    assert "".join(named.split()).startswith("".join(LONG.split())[:10])
    assert "0.01" in lines[1]
    assert ("min @ step" in lines[0]) == (width >= 40)
    assert ("mean" in lines[0]) == (width >= 80)
