"""What `--array` says: read as another reader does, and what is written is read as it was."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.executors._slurm.numbers import read_array, spans

INDEX = st.integers(0, 300)
SPANS = st.one_of(
    INDEX.map(str),
    st.tuples(INDEX, INDEX).map(lambda two: f"{min(two)}-{max(two)}"),
    st.tuples(INDEX, INDEX, st.integers(1, 40)).map(lambda n: f"{min(n[:2])}-{max(n[:2])}:{n[2]}"),
)
TEXTS = st.lists(SPANS, min_size=1, max_size=6).map(",".join)


def independent(text: str) -> list[int]:
    """Return the indices in the way of one who counts them off."""
    found = []
    for index in range(302):
        for span in text.split(","):
            low, high, step = [*re.split("[-:]", span), "", ""][:3]
            is_within = int(low) <= index <= int(high or low)
            if is_within and (index - int(low)) % int(step or 1) == 0:
                found.append(index)
                break
    return found


@given(TEXTS, st.none() | st.integers(1, 2000))
def test_indices_are_those_that_another_counts_off(text: str, limit: int | None) -> None:
    read = read_array(text if limit is None else f"{text}%{limit}")

    assert [*read.indices] == independent(text)
    assert read.at_a_time == limit


@given(st.sets(st.integers(0, 4_194_303), min_size=1, max_size=50))
def test_indices_that_are_written_are_read_as_they_were(indices: set[int]) -> None:
    assert {*read_array(spans(indices)).indices} == indices


@given(st.text(alphabet="0123456789-,:%[] +x٣\n", max_size=12))
def test_a_text_is_read_as_slurm_would_or_refused(text: str) -> None:
    form = re.compile(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%\d+)?", re.ASCII)
    try:
        read = read_array(text)
    except ValueError:
        return
    assert form.fullmatch(text)
    assert read.indices
    assert read.at_a_time is None or read.at_a_time > 0


@pytest.mark.parametrize(
    "text",
    ["0-4194303", ",".join(["0-9999"] * 1000), "1" * 5000, "0-" + "9" * 9, "0-9%" + "9" * 5000],
    ids=["all", "again", "digits", "high", "limit"],
)
def test_what_would_take_long_is_refused_before_it_is_counted(text: str) -> None:
    with pytest.raises(ValueError, match=r"at most|highest|not an index|how many"):
        read_array(text)
