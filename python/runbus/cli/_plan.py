"""What a batch would do, for a person: its graph, the code it takes along, and every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runbus import api
from runbus.cli._exit import ExitStatus
from runbus.cli._printer import print_json
from runbus.cli._table import terminal_rows

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.api import Plan
    from runbus.experiment import ExperimentDraft

__all__ = ["print_plan"]

_MANY = 20
"""Of more jobs, a terminal is shown one of each kind."""


def print_plan(experiment: ExperimentDraft, *, json_out: TextIO | None = None) -> ExitStatus:
    """Print what would be done, without secrets; nothing is written or sent."""
    plan = api.plan(experiment)
    if json_out is not None:
        print_json(_described(plan), json_out)
        return ExitStatus.OK
    is_folded = terminal_rows() is not None and len(plan) > _MANY
    for line in plan.lines(is_folded=is_folded):
        click.echo(line)
    if is_folded:
        told = "of jobs that are alike one request is shown: a pipe and --json get all"
        click.echo(told, err=True)
    return ExitStatus.OK


def _described(plan: Plan) -> dict[str, Any]:
    stage_of = plan.stages
    return {
        "project": plan.project,
        "jobs": [
            {
                "name": request.job.name,
                "stage": stage_of[request.job.name],
                "executor": request.job.executor,
                "group": request.job.group or None,
                "depends_on": [
                    {"job": one.job, "when": one.when, "experiment": one.experiment or None}
                    for one in request.job.depends_on
                ],
                "waits_in_queue": request.job.name in plan.held_back,
                "request": request.render(),
            }
            for request in plan
        ],
        "code": {
            executor: {
                "files": [{"path": one.path, "size": one.size} for one in chosen.files],
                "commits": [one.commit for one in chosen.origins],
            }
            for executor, chosen in plan.code.items()
        },
    }
