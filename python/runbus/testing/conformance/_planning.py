"""The contract of executors: what a plan is, and what is refused."""

from __future__ import annotations

import os

import pytest

from runbus.abc import Capabilities, Resources, Timeouts
from runbus.errors import JobNotStarted, Unsupported, UsageError
from runbus.events import Image
from runbus.testing.conformance._harness import Contract, Harness

__all__ = ["PlanContract"]


class PlanContract(Contract):
    """What `plan` must do."""

    async def test_a_plan_can_be_printed_and_names_the_program(self, harness: Harness) -> None:
        assert "/bin/echo" in harness.executor.plan(harness.job("/bin/echo", "hi")).render()

    async def test_planning_twice_gives_the_same(self, harness: Harness) -> None:
        job = harness.shell("true", env={"B": "2", "A": "1"})

        assert harness.executor.plan(job) == harness.executor.plan(job)

    async def test_planning_leaves_nothing_on_disk(self, harness: Harness) -> None:
        job = harness.shell("true")
        harness.executor.plan(job)

        assert os.listdir(job.folder) == []

    async def test_an_image_is_given_or_refused_but_not_ignored(self, harness: Harness) -> None:
        job = harness.shell("true", image=Image(base="no-such-image:at-all"))

        with pytest.raises((UsageError, JobNotStarted)):
            await harness.submit(job)

    async def test_what_cannot_be_given_is_refused_when_it_is_planned(
        self, harness: Harness
    ) -> None:
        can = harness.executor.capabilities
        asked = {
            "images": harness.shell("true", image=Image(pip=("numpy",))),
            "affinity": harness.shell("true", resources=Resources(cpus="0")),
            "niceness": harness.shell("true", resources=Resources(nice=1)),
            "time_limit": harness.shell("true", timeouts=Timeouts(run_s=60)),
            "after": harness.shell("true", after=(harness.end_of(harness.shell("true")),)),
        }

        for name, job in asked.items():
            if getattr(can, name):
                assert harness.executor.plan(job).render()
            else:
                with pytest.raises(Unsupported):
                    harness.executor.plan(job)

    async def test_more_gpus_than_there_are_never_run(self, harness: Harness) -> None:
        with pytest.raises((Unsupported, JobNotStarted), match=r"(?i)GPU"):
            await harness.submit(harness.shell("true", resources=Resources(gpus=10_000)))

    async def test_everything_that_is_refused_is_told_at_once(self, harness: Harness) -> None:
        resources = Resources(gpus=1, nice=3, cpus="0")
        job = harness.shell("true", resources=resources, timeouts=Timeouts(run_s=5))

        with pytest.raises(Unsupported) as caught:
            Capabilities().check(job, "poor")

        assert len(caught.value.missing) == 4

    async def test_it_says_how_many_jobs_are_of_any_use(self, harness: Harness) -> None:
        limits = harness.executor.limits()

        assert limits.jobs is None or limits.jobs >= 1
        assert 0 <= limits.observe_s < 3600
