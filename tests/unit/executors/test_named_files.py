"""Files of a run on their way here, over a tunnel to this machine."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.abc import Tunnel
from runbus.attempt import whole_records
from runbus.executors._named_files import NamedFiles
from runbus.metrics import Artifact, Incoming, Run, init
from runbus.transports import LocalTunnel


@pytest.fixture
async def tunnel(tmp_path: Path) -> AsyncIterator[Tunnel]:
    async with LocalTunnel(str(tmp_path)) as tunnel:
        yield tunnel


@pytest.fixture
def run() -> Run:
    """A run as it is on the other machine."""
    return init(project="there")


def keep(run: Run, file: Path, data: bytes) -> Artifact:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    kept = run.log_artifact(file)
    assert kept is not None
    return kept


def index(run: Run) -> bytes:
    """Return the whole records of a run's index."""
    (path,) = Path(run.folder, "records").iterdir()
    data = path.read_bytes()
    return data[: whole_records(data, at_start=True)[0]]


async def come(tunnel: Tunnel, run: Run, here: Path) -> list[int]:
    """Copy what an index names, each look by a new process; return how far each one came."""
    data, ready = index(run), [0]
    while ready[-1] < len(data):
        assert len(ready) < 20
        named_files = NamedFiles("j", str(here), run.folder)
        ready.append(await named_files.ready(tunnel, data, at_start=True, final=True))
    return ready


def here_of(kept: Artifact, run: Run, here: Path) -> Path:
    return here / os.path.relpath(kept.path, run.folder)


async def test_a_large_file_comes_in_pieces_and_its_record_waits(
    tunnel: Tunnel, run: Run, tmp_path: Path
) -> None:
    run.params(lr=0.1)
    kept = keep(run, tmp_path / "large", os.urandom(20 << 20))

    ready = await come(tunnel, run, tmp_path / "here")

    _, *partly, whole = ready
    assert len(partly) >= 2
    assert len(set(partly)) == 1
    assert 64 < partly[0] < whole
    place = here_of(kept, run, tmp_path / "here")
    assert kept._replace(path=str(place)).is_whole()
    assert os.listdir(tmp_path / "here" / "artifacts") == [kept.sha256]
    assert place.stat().st_mode & 0o222 == 0


async def test_a_folder_of_many_files_comes_in_pieces(
    tunnel: Tunnel, run: Run, tmp_path: Path
) -> None:
    for number in range(300):
        (tmp_path / "tree" / str(number % 7)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / str(number % 7) / f"{number} \n").write_bytes(b"x" * (number % 3))
    kept = run.log_artifact(tmp_path / "tree")
    assert kept is not None
    named_files = NamedFiles("j", str(tmp_path / "here"), run.folder)
    looks = 1
    while await named_files.ready(tunnel, index(run), at_start=True, final=False) < len(index(run)):
        looks += 1

    assert 1 < looks < 10
    assert kept._replace(path=str(here_of(kept, run, tmp_path / "here"))).is_whole()


async def test_what_was_left_here_damaged_comes_once_more(
    tunnel: Tunnel, run: Run, tmp_path: Path
) -> None:
    kept = keep(run, tmp_path / "file", b"content")
    part = tmp_path / "here" / "artifacts" / f".new-{kept.sha256}" / "file"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(3))
    named_files = NamedFiles("j", str(tmp_path / "here"), run.folder)

    ready = [
        await named_files.ready(tunnel, index(run), at_start=True, final=False) for _ in range(2)
    ]

    assert ready == [64, len(index(run))]
    assert here_of(kept, run, tmp_path / "here").read_bytes() == b"content"


async def test_content_that_is_here_under_another_name_gets_this_one_too(
    tunnel: Tunnel, run: Run, tmp_path: Path
) -> None:
    kept = keep(run, tmp_path / "there" / "model", b"content")
    other = tmp_path / "here" / "artifacts" / kept.sha256 / "other"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"content")

    await come(tunnel, run, tmp_path / "here")

    assert here_of(kept, run, tmp_path / "here").read_bytes() == b"content"
    assert other.read_bytes() == b"content"


async def test_what_this_disk_does_not_take_is_tried_again_until_the_job_has_ended(
    tunnel: Tunnel, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = keep(run, tmp_path / "file", b"content")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "artifacts").write_text("in the way")
    named_files = NamedFiles("j", str(tmp_path / "here"), run.folder)

    with pytest.raises(OSError, match="artifacts"):
        await named_files.ready(tunnel, index(run), at_start=True, final=False)
    assert caplog.messages == []
    ready = await named_files.ready(tunnel, index(run), at_start=True, final=True)

    assert ready == len(index(run))
    (told,) = caplog.messages
    assert kept.sha256 in told


async def test_a_file_that_has_grown_there_is_not_copied_on_and_on(
    tunnel: Tunnel, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = keep(run, tmp_path / "file", b"content")
    grow(Path(kept.path), 1 << 30)

    assert await come(tunnel, run, tmp_path / "here") == [0, len(index(run))]

    (told,) = caplog.messages
    assert "larger than what was logged" in told
    assert os.listdir(tmp_path / "here" / "artifacts") == []


def grow(file: Path, size: int) -> None:
    file.chmod(0o600)
    os.truncate(file, size)


HASH = "a" * 64
FIELDS = st.fixed_dictionaries(
    {
        "what": st.just("artifact"), "time_ns": st.just(1), "name": st.just("n"),
        "kind": st.just("k"), "size": st.integers(-1, 9) | st.none() | st.just("9"),
        "sha256": st.sampled_from([HASH, HASH[1:], "../" + HASH, 1, None, int("1" * 64)]),
        "file": st.sampled_from(["f", "..", "a/b", "", ".", "a\0b", "\ud800", 5, None, "x" * 300]),
        "is_folder": st.booleans() | st.none() | st.just("yes"),
    }
)  # fmt: skip


@given(FIELDS | st.recursive(st.none() | st.text() | st.integers(), st.lists))
def test_a_record_never_leads_out_of_the_runs_folder(record: object) -> None:
    incoming = Incoming.named_by("/run", json.dumps(record).encode())

    if incoming is not None:
        top, shelf, file = incoming.place.split("/")
        assert (top, shelf.removesuffix(".d")) == ("artifacts", HASH)
        assert file in {"f", "x" * 300}
