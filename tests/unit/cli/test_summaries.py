"""The table of metrics: what people look for first stays when there is little room."""

from __future__ import annotations

import math

import pytest

from runbus.cli._summaries import _columns, _fitting, print_summaries
from runbus.metrics import SeriesSummary

LOSS = SeriesSummary(100, 99, 0.01, 0.01, 1.0, 1.0, 0.05, 0.1, 0.02, 0.17, 0.5, 99, 0)
NAN = math.nan
EMPTY = SeriesSummary(1, 7, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, 0)


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


@pytest.mark.parametrize("width", [1, 40, 60, 80, 100, 120, 200])
def test_a_table_is_no_wider_than_the_terminal_if_it_can_be(width: int) -> None:
    columns = _columns({"loss": LOSS})

    shown = _fitting(columns, width)

    assert shown == columns[: len(shown)]
    taken = sum(max(map(len, column)) + 2 for column in shown) - 2
    assert taken <= width or [column[0] for column in shown] == [
        "metric",
        "points",
        "last step",
        "last",
    ]
