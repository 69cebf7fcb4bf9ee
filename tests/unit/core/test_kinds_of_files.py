"""What may stand in the place of a journal or segment, and who may read what is written."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from runbus._core import Journal, JournalReader, MetricReader, MetricWriter, about_segment

if TYPE_CHECKING:
    from pathlib import Path


def put(path: Path, kind: str) -> None:
    """Put something that is not a regular file in the place of one."""
    match kind:
        case "link":
            MetricWriter(path.with_name("elsewhere")).close()
            path.symlink_to("elsewhere")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "device"])
@pytest.mark.parametrize("open_it", [MetricReader, JournalReader, Journal, about_segment])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, kind: str, open_it: type[MetricReader]
) -> None:
    put(tmp_path / "journal", kind)

    with pytest.raises(ValueError, match="journal: not a regular file"):
        open_it(tmp_path / "journal")


@pytest.mark.parametrize("make", [MetricWriter, Journal])
def test_a_journal_is_for_its_user_alone_whatever_the_umask(
    tmp_path: Path, make: type[Journal]
) -> None:
    before = os.umask(0)
    try:
        make(tmp_path / "journal").close()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o600


@pytest.mark.parametrize("make", [MetricWriter, Journal])
def test_a_journal_of_a_shared_home_is_for_the_group_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: type[Journal]
) -> None:
    monkeypatch.setenv("RUNBUS_SHARED", "group")
    before = os.umask(0o077)
    try:
        make(tmp_path / "journal").close()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o660
