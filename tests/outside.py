"""Working where there is no repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["outside"]


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work outside of any repository.

    In one, each run asks git in the background how its code differs from the commit: hundreds of
    processes, whose answers may come into folders that are being listed, copied or removed.
    """
    monkeypatch.chdir(tmp_path)
