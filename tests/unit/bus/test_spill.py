"""What a mailbox has no room for is kept on disk, and survives crashes and damage."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus import Kernel
from runbus.bus import SpillFile
from runbus.errors import FileUnreadable, TraceError
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

    with pytest.raises(TraceError, match="it does not hold lines of JSON"):
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


def test_what_is_spilled_behind_a_torn_event_is_taken_and_the_tear_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events"
    with contextlib.closing(SpillFile(path)) as spill:
        spill(Reading(1))
        spill(Reading(2))
    os.truncate(path, path.stat().st_size - 3)
    with contextlib.closing(SpillFile(path)) as spill:
        spill(Reading(3))
        spill(Reading(4))

    assert list(SpillFile(path).take()) == [Reading(1), Reading(3), Reading(4)]
    assert "half a line, and are cut off" in caplog.text


@given(st.lists(st.integers(0, 2**31), min_size=1), st.data())
def test_one_flipped_bit_costs_one_event_and_is_told(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("spill") / "events"
    with contextlib.closing(SpillFile(path)) as spill:
        for number in numbers:
            spill(Reading(number))
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)

    spill = SpillFile(path)
    try:
        taken = list(spill.take())
    except TraceError:  # nothing is left that tells whose file it is, so nothing is removed
        assert len(numbers) == 1
        assert path.read_bytes() == content
        return
    lost = len(numbers) - len(taken)
    assert set(taken) <= {Reading(number) for number in numbers}
    assert lost <= 2  # the end of a line is shared by two
    assert bool(lost) == bool(spill.damage)


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "thesis"
    path.write_bytes(b"all my work")

    with pytest.raises(FileUnreadable, match="does not hold lines of JSON"):
        SpillFile(path)(Reading(1))
    assert path.read_bytes() == b"all my work"
