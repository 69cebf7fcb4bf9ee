"""What an experiment's record says of the sweeps that its jobs belong to."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["SweepAsked", "SweepPoint", "common_name", "own_name"]

_NUMBER = re.compile(r"[-_.# ]?\d+$|\[\d+\]$")


class SweepPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Which point of which sweep a job is.

    Attributes:
        sweep: The name of the sweep; empty if nobody gave it one.
        space: The space, as data.
        total: How many points it has.
        key: A digest of what the job runs: command, values, variables and code. Jobs of equal keys
            do the same.
        done: The runs of points that earlier experiments have, by the points' keys.
        goal: What is best of its points, such as `min:val/loss`; empty if nobody says.
    """

    sweep: str
    space: dict[str, Any]
    total: int
    key: str
    done: dict[str, str] = {}
    goal: str = ""


class SweepAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep, as far as an experiment has it.

    Attributes:
        name: Its name; empty if nobody gave it one.
        space: The space, as data.
        total: How many points it has, those of earlier experiments among them.
        jobs: The keys of its points in this experiment, by the names of their jobs.
        done: The runs of points that earlier experiments have, by the points' keys.
        goal: What is best of its points, such as `min:val/loss`; empty if nobody says.
    """

    name: str
    space: dict[str, Any]
    total: int
    jobs: dict[str, str]
    done: dict[str, str] = {}
    goal: str = ""

    @property
    def title(self) -> str:
        """Its name; if nobody gave it one, what the names of its jobs have in common."""
        return self.name or common_name(next(iter(self.jobs), ""))

    def point(self, job: str) -> SweepPoint:
        """Return which point a job of the experiment is."""
        return SweepPoint(
            sweep=self.name,
            space=self.space,
            total=self.total,
            key=self.jobs[job],
            done=self.done,
            goal=self.goal,
        )


def common_name(job: str) -> str:
    """Return a job's name without its values, as in `train-lr=0.1`, its number or its index."""
    before, equals, _ = job.partition("=")
    if equals:
        return before.rpartition("-")[0] or before
    return _NUMBER.sub("", job) or job


def own_name(job: str) -> str:
    """Return what a job's name has beside that: its values, `lr=0.1`; all of it if nothing."""
    before, equals, _ = job.partition("=")
    shared = before.rpartition("-")[0] if equals else common_name(job)
    return job.removeprefix(shared).lstrip("-_.# ") or job
