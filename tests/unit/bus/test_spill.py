from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus import Kernel
from runbus.bus import SpillFile
from runbus.errors import TraceError
from runbus.events import Stream


class Reading(Stream, frozen=True, tag="test.spilled_reading"):
    number: int


@given(st.lists(st.integers(0, 2**31)), st.integers(1, 30))
def test_what_is_spilled_is_taken_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], cut: int
) -> None:
    path = tmp_path_factory.mktemp("spill") / "events"
    spill = SpillFile(path)
    for number in numbers:
        spill(Reading(number))
    spill.close()

    assert list(SpillFile(path).take()) == [Reading(number) for number in numbers]
    assert list(SpillFile(path).take()) == []

    for number in numbers:
        spill(Reading(number))
    if numbers:
        os.truncate(path, max(0, path.stat().st_size - cut))
        left = list(SpillFile(path).take())
        assert left == [Reading(number) for number in numbers[: len(left)]]
        assert len(left) < len(numbers)
    spill.close()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"\x02\x00\x00\x00hi")

    with pytest.raises(TraceError, match="no spilled event"):
        list(SpillFile(path).take())


async def test_a_lossless_stream_spills_what_its_reader_never_took(tmp_path: Path) -> None:
    spill = SpillFile(tmp_path / "events")
    async with Kernel() as kernel:
        stream = kernel.bus.stream(Reading, maxsize=2, overflow="drop_oldest", spill=spill)
        async with stream:
            for number in range(5):
                await kernel.bus.emit(Reading(number))
            statistics = stream.statistics()
            waiting = [item for item in await stream.batch() if isinstance(item, Reading)]

    assert statistics.spilled == 3
    assert [*spill.take(), *waiting] == [Reading(number) for number in range(5)]
