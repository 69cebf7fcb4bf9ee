"""Whatever is logged is read back bit for bit."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runbus._core import Journal, JournalReader, MetricReader, MetricWriter, read_metrics
from runbus.metrics import Series

BITS = st.one_of(
    st.integers(0, 2**64 - 1),
    # Zeros, infinities, subnormals and NaNs with payloads.
    st.sampled_from([0, 1 << 63, 0x7FF0 << 48, 0xFFF0 << 48, 1, 0x7FF0_0000_0000_0001, 2**64 - 1]),
)
STEPS = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def as_double(bits: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    assert isinstance(value, float)
    return value


@given(points=st.lists(st.tuples(NAMES, BITS, STEPS), min_size=1, max_size=30))
def test_steps_and_doubles_round_trip_bit_for_bit(points: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "journal")
        writer = MetricWriter(path)
        for name, bits, step in points:
            writer.log(name, as_double(bits), step)
        reader = MetricReader(path)
        columns = reader.poll()

        assert columns is not None
        count = len(columns)
        assert writer.accepted == count == len(points)
        indices = struct.unpack(f"<{count}I", columns.series)
        names = [columns.names[index] for index in indices]
        values = struct.unpack(f"<{count}Q", columns.values)
        steps = struct.unpack(f"<{count}q", columns.steps)
        assert list(zip(names, values, steps, strict=True)) == points
        name = points[0][0]
        own = [(bits, step) for other, bits, step in points if other == name]
        data = dict(read_metrics([[path]]))[name]
        assert data.values.tobytes() == struct.pack(f"<{len(own)}Q", *(bits for bits, _ in own))
        assert data.steps.tolist() == [step for _, step in own]
        assert len(data.times) == len(own)


@given(rows=st.lists(st.dictionaries(NAMES.filter(lambda n: "/" not in n), BITS), max_size=15))
def test_mappings_round_trip_in_their_order(rows: list[dict[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "journal")
        writer = MetricWriter(path)
        for row in rows:
            writer.log({name: as_double(bits) for name, bits in row.items()})
        writer.close()
        columns = MetricReader(path).poll()

        points = [point for row in rows for point in row.items()]
        if columns is None:
            assert points == []
        else:
            indices = struct.unpack(f"<{len(points)}I", columns.series)
            bits = struct.unpack(f"<{len(points)}Q", columns.values)
            names = [columns.names[index] for index in indices]
            assert list(zip(names, bits, strict=True)) == points


@given(value=st.integers(-(2**70), 2**70) | st.sampled_from([2**53 + 2, 2**63, 2**64, -(2**63)]))
def test_an_int_is_stored_exactly_or_as_the_nearest_double(value: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = MetricWriter(str(Path(folder) / "journal"))
        writer.log("n", value)
        found = Series("n", dict(read_metrics([[writer.path]]))["n"])
        assert (writer.accepted, writer.dropped) == (1, 0)
    assert found.values.tolist() == [value if -(2**63) <= value < 2**63 else float(value)]


@given(payloads=st.lists(st.binary(max_size=200)), max_records=st.integers(1, 10))
def test_events_round_trip_with_their_offsets(payloads: list[bytes], max_records: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "events")
        with Journal(path) as journal:
            written = [(journal.append(payload), payload) for payload in payloads]
        reader = JournalReader(path)
        found = []
        while batch := reader.poll(max_records):
            assert len(batch) <= max_records
            found += batch

        assert found == written
        assert reader.damage == []
        for index, (offset, _) in enumerate(written):
            assert JournalReader(path, offset=offset).poll() == written[index:]
