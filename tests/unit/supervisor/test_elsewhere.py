"""Jobs that wait for jobs of other experiments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from runbus._clock import SYSTEM_CLOCK
from runbus.abc import JobSpec
from runbus.bus import Bus
from runbus.events import Dependency
from runbus.jobs import End, Facts, JobState, JobStore, intend
from runbus.kernel import Kernel
from runbus.supervisor._elsewhere import Elsewhere
from runbus.supervisor._supervisor import REQUESTS_S
from runbus.testing import FakeClock

from .backend import DONE, Backend
from .test_promises import Led

Spec = Callable[..., JobSpec]


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with Kernel() as kernel:
        yield kernel.bus


class Other:
    """An experiment that another process leads."""

    def __init__(self, home: Path, name: str, *jobs: JobSpec) -> None:
        self.folder = home / "experiments" / "p" / name
        self.folder.mkdir(parents=True)
        (self.folder / "experiment.json").touch()
        self.jobs = {job.name: job for job in jobs}
        store = JobStore(str(self.folder))
        intend(store, jobs)
        store.close()

    def end(self, name: str, state: JobState) -> None:
        store = JobStore(str(self.folder))
        store.record(Facts(SYSTEM_CLOCK).ended(self.jobs[name], End(state, "", None)))
        store.close()


def mine(home: Path) -> Path:
    """Return the folder of the experiment whose jobs wait."""
    folder = home / "experiments" / "p" / "mine"
    folder.mkdir(parents=True)
    return folder


def test_each_end_is_told_once_as_soon_as_it_is_recorded(spec: Spec, tmp_path: Path) -> None:
    other = Other(tmp_path, "other", spec("a"), spec("b"), spec("c"))
    elsewhere = Elsewhere(str(mine(tmp_path)))
    waits = [Dependency(job=name, experiment="other") for name in "ab"]
    elsewhere.add([spec("x", depends_on=(*waits, Dependency(job="own")))])
    assert list(elsewhere.ends()) == []

    other.end("b", JobState.FAILED)
    other.end("c", JobState.SUCCEEDED)
    assert list(elsewhere.ends()) == [("other", "b", JobState.FAILED)]
    assert list(elsewhere.ends()) == []

    other.end("a", JobState.SUCCEEDED)
    assert list(elsewhere.ends()) == [("other", "a", JobState.SUCCEEDED)]
    assert list(elsewhere.ends()) == []

    # Another job may wait for the same.
    elsewhere.add([spec("y", depends_on=waits)])
    assert len(list(elsewhere.ends())) == 2


@pytest.mark.parametrize("is_left", [True, False], ids=["its folder is left", "all is gone"])
def test_of_what_was_removed_nobody_can_know_how_it_ended(
    spec: Spec, tmp_path: Path, is_left: bool
) -> None:
    other = Other(tmp_path, "other", spec("a"))
    elsewhere = Elsewhere(str(mine(tmp_path)))
    elsewhere.add([spec("x", depends_on=(Dependency(job="a", experiment="other"),))])
    assert list(elsewhere.ends()) == []

    (other.folder / "experiment.json").unlink()
    if not is_left:
        other.folder.rename(tmp_path / "gone")
    assert list(elsewhere.ends()) == [("other", "a", None)]


def test_what_cannot_be_read_now_may_be_readable_the_next_time(spec: Spec, tmp_path: Path) -> None:
    other = Other(tmp_path, "other", spec("a"))
    other.end("a", JobState.SUCCEEDED)
    elsewhere = Elsewhere(str(mine(tmp_path)))
    elsewhere.add([spec("x", depends_on=(Dependency(job="a", experiment="other"),))])
    journal = other.folder / "events.journal"
    journal.rename(tmp_path / "journal")
    journal.mkdir()
    assert list(elsewhere.ends()) == []

    journal.rmdir()
    (tmp_path / "journal").rename(journal)
    assert list(elsewhere.ends()) == [("other", "a", JobState.SUCCEEDED)]


async def test_a_job_begins_once_that_of_another_experiment_has_ended(
    bus: Bus, spec: Spec, tmp_path: Path
) -> None:
    other = Other(tmp_path, "other", spec("a"))
    backend = Backend()
    led = Led(bus, mine(tmp_path), backend, FakeClock())
    job = spec("x", depends_on=(Dependency(job="a", experiment="other"),))
    async with led.leading([job]):
        await led.clock.advance(REQUESTS_S)
        assert backend.submits == []
        other.end("a", JobState.SUCCEEDED)
        await led.clock.advance(REQUESTS_S)

    assert [one.state for one in led.records] == [JobState.SUCCEEDED]
    assert backend.jobs == {"x": DONE}
