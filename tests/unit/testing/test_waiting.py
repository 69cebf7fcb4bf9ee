"""The one helper that waits, in tests and for the servers of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbus.testing import _waiting
from runbus.testing._waiting import until, wait_until


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiting, "PATIENCE_S", -1.0)


async def test_what_was_awaited_in_vain_is_told_with_the_values_it_was_about(
    tmp_path: Path,
) -> None:
    path = tmp_path / "never"
    with pytest.raises(TimeoutError, match=r"lambda: path\.exists\(\)\).*'path'.*/never"):
        wait_until(lambda: path.exists())
    with pytest.raises(TimeoutError, match=r"bound method Path\.exists of .*/never"):
        await until(path.exists)


async def test_what_holds_is_returned_however_long_the_machine_stood_still_before() -> None:
    assert wait_until(lambda: 5) == 5
    assert await until(lambda: 7) == 7
