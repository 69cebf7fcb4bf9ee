"""Requests to the leader of an experiment, left in its folder."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from runbus.jobs import CancelRequest, ask_to_cancel, read_requests

FIRST = CancelRequest("a", "by hand", 10.0)
SECOND = CancelRequest(None, "enough", 0.0)


def test_a_request_waits_in_its_experiment_until_its_file_is_removed(tmp_path: Path) -> None:
    ask_to_cancel(str(tmp_path / "one"), FIRST)
    ask_to_cancel(str(tmp_path / "one"), SECOND)

    waiting = read_requests(str(tmp_path / "one"))
    assert sorted(waiting.values(), key=lambda one: one.reason) == [FIRST, SECOND]
    assert read_requests(str(tmp_path / "two")) == {}

    for path in waiting:
        os.remove(path)
    assert read_requests(str(tmp_path / "one")) == {}


def test_where_no_file_has_room_for_anything_the_name_of_one_is_the_request(
    tmp_path: Path,
) -> None:
    """As on a full disk, where names still find room."""
    ask_to_cancel(str(tmp_path), FIRST)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        ask_to_cancel(str(tmp_path), SECOND)
        with pytest.raises(OSError, match="File too large"):
            ask_to_cancel(str(tmp_path), CancelRequest("x" * 300, "too long a name", 0.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert sorted(read_requests(str(tmp_path)).values(), key=str) == [FIRST, SECOND]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"job": 3}', b"[1]"])
def test_a_request_that_cannot_be_read_is_put_aside_and_stops_no_other(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ask_to_cancel(str(tmp_path), FIRST)
    (path,) = read_requests(str(tmp_path))
    bad = Path(path).parent / "0-first.json"  # read before the other
    bad.write_bytes(damage)

    assert read_requests(str(tmp_path)) == {path: FIRST}
    assert bad.exists()  # who only looks leaves it there

    assert read_requests(str(tmp_path), put_aside=True) == {path: FIRST}
    assert not bad.exists()
    assert bad.with_name("0-first.json.unreadable").read_bytes() == damage
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(f"the request {bad} cannot be read: ")
    assert not message.endswith(": None")

    assert read_requests(str(tmp_path), put_aside=True) == {path: FIRST}
    assert len(caplog.records) == 1


def test_a_link_to_nothing_is_no_request_and_hides_none(tmp_path: Path) -> None:
    ask_to_cancel(str(tmp_path), FIRST)
    (path,) = read_requests(str(tmp_path))
    (Path(path).parent / "0-first.json").symlink_to("gone")

    assert read_requests(str(tmp_path)) == {path: FIRST}
