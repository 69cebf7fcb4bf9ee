"""Reading and sealing at once: a run is read as a whole whatever others do to its files."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

import runbus
from runbus.catalog import query
from runbus.cli._app import run_command
from runbus.errors import RunBusy, RunUnreadable
from runbus.metrics._folder import writers_of


def test_a_journal_that_is_sealed_while_it_is_read_is_looked_for_again() -> None:
    with runbus.init() as run:
        run.log("loss", 1.0)
    stored = runbus.open_run(run.id)
    looks = []

    def read(writers: dict[str, list[str]]) -> list[bytes]:
        looks.append(writers)
        if len(looks) == 1:
            stored.seal()
        found = []
        for paths in writers.values():
            for path in paths:
                with open(path, "rb") as file:
                    found.append(file.read(4))
        return found

    assert stored._with_files(read) == [b"PAR1"]
    assert len(looks) == 2


@pytest.mark.parametrize("harm", ["older", "noise", "foreign"])
def test_a_journal_that_holds_less_than_the_segment_beside_it_hides_nothing(
    harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a copy of a folder that kept the journal of an earlier copy."""
    with runbus.init() as run:
        run.log("loss", 0.0)
        older = Path(run.path).read_bytes()
        for step in range(1, 5):
            run.log("loss", float(step))
            run.log("acc", 0.5)
    stored = runbus.open_run(run.id)
    stored.seal()
    journal = Path(run.path)
    journal.write_bytes({"older": older, "noise": older[:64] + bytes(3) * 99}.get(harm, b"x" * 99))

    async def followed() -> int:
        return sum([len(batch) async for batch in stored.follow()])

    assert stored.metrics("loss").values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert stored.metric_names() == ["loss", "acc"]
    assert stored.summaries()["loss"].last == 4.0
    assert (stored.end().state, stored.is_being_written()) == (0, False)
    assert asyncio.run(followed()) == 9
    assert query("SELECT count(*) FROM metrics")[1] == [(9,)]
    # It is left where it is, and told.
    assert stored.unreadable().keys() == {str(journal)}
    assert run_command(["doctor"]) == 1
    assert f"{journal}: it holds less than the segment" in capsys.readouterr().out
    with pytest.raises(RunUnreadable):
        stored.seal()
    assert journal.exists()


def test_a_journal_that_holds_as_much_as_the_segment_beside_it_is_the_truth() -> None:
    """As where sealing was cut short before the journal went."""
    with runbus.init() as run:
        run.log("loss", 1.0)
    stored, whole = runbus.open_run(run.id), Path(run.path).read_bytes()
    stored.seal()
    Path(run.path).write_bytes(whole)

    assert list(writers_of(run.folder).values()) == [[run.path]]
    assert (len(stored.metrics("loss")), stored.unreadable()) == (1, {})
    assert len(stored.seal()) == 1
    assert list(writers_of(run.folder).values()) != [[run.path]]


def test_a_run_that_is_gone_is_not_looked_for_for_ever() -> None:
    with runbus.init() as run:
        run.log("loss", 1.0)

    def read(writers: dict[str, list[str]]) -> None:
        raise FileNotFoundError(next(iter(writers)))

    with pytest.raises(FileNotFoundError):
        runbus.open_run(run.id)._with_files(read)


def test_nothing_is_sealed_beside_a_process_that_writes() -> None:
    with runbus.init() as first:
        first.log("loss", 1.0)
    with runbus.init(id=first.id) as second:
        second.log("loss", 2.0)
        stored = runbus.open_run(first.id)
        before = sorted(os.listdir(os.path.join(first.folder, "metrics")))
        with pytest.raises(RunBusy):
            stored.seal()
        assert sorted(os.listdir(os.path.join(first.folder, "metrics"))) == before
        second.log("loss", 3.0)

    assert len(stored.seal()) == 2
    assert stored.metrics("loss").values.tolist() == [1.0, 2.0, 3.0]


def test_a_folder_whose_files_change_while_it_is_listed_is_listed_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A journal becomes a segment: one of them is there at each moment, though not in each list."""
    folder = tmp_path_factory.mktemp("run")
    metrics = folder / "metrics"
    metrics.mkdir()
    # So that the list comes in several pieces.
    for number in range(3000):
        (metrics / f"{number:05}-of-others-with-a-long-name.0.parquet").touch()
    writers = {f"writer{number}-{number}" for number in range(300)}

    def seal() -> None:
        for writer in writers:
            (metrics / f"{writer}.0.parquet").touch()
            (metrics / f"{writer}.journal").unlink()

    for _ in range(5):
        for writer in writers:
            (metrics / f"{writer}.journal").touch()
        for writer in writers:
            (metrics / f"{writer}.0.parquet").unlink(missing_ok=True)
        thread = threading.Thread(target=seal)
        thread.start()
        found = [writers_of(str(folder)).keys()]
        while thread.is_alive():
            found.append(writers_of(str(folder)).keys())
        thread.join()
        assert all(writers <= names for names in found)
