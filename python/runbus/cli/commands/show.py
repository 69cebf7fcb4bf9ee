"""`runbus show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._kept import kept_facts, print_kept
from runbus.cli._printer import (
    format_duration,
    format_number,
    format_time,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from runbus.experiment import RunRecord

__all__ = ["command"]


@click.command("show")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(run: str, as_json: bool) -> None:
    """Show a run: what it is, where it stands, what it logged.

    RUN is an id, a name (the newest run of that name), or "latest".
    """
    from runbus.experiment import find_run

    found = find_run(run)
    if as_json:
        print_json(_described(found))
    else:
        _print(found)


def _described(run: RunRecord) -> dict[str, object]:
    job = run.job
    return {
        "id": run.id,
        "name": run.name,
        "project": run.project,
        "state": run.state,
        "config": run.config,
        "created_ns": run.info.created_ns,
        "folder": run.folder,
        "job": job,
        "params": run.params,
        "tags": run.tags,
        "notes": [note._asdict() for note in run.notes],
        "artifacts": [artifact._asdict() for artifact in run.artifacts()],
        "metrics": {name: summary._asdict() for name, summary in run.summaries().items()},
        "damage": run.damage(),
    }


def _print(run: RunRecord) -> None:
    job = run.job
    facts = [
        ("run", run.id),
        ("name", run.name),
        ("project", run.project),
        ("state", f"{run.state}{f': {job.reason}' if job and job.reason else ''}"),
        ("created", format_time(run.info.created_ns)),
    ]
    if job and job.ended_ns:
        facts.append(("took", format_duration(job.duration_s)))
    if job and job.exit_code is not None:
        facts.append(("exit code", str(job.exit_code)))
    facts += kept_facts(run)
    facts += [
        ("damage", f"{journal}: {length} bytes at {offset} are unreadable")
        for journal, stretches in run.damage().items()
        for offset, length in stretches
    ]
    facts.append(("folder", run.folder))
    if run.job_folder:
        facts.append(("logs", run.job_folder))
    click.echo("\n".join(f"{label:<10}{text}" for label, text in facts))
    _print_metrics(run)
    print_kept(run)


def _print_metrics(run: RunRecord) -> None:
    summaries = run.summaries()
    if summaries:
        click.echo()
        print_table(
            ["metric", "points", "last step", "last", "min", "max"],
            [
                [
                    name,
                    str(summary.points),
                    str(summary.last_step),
                    *map(format_number, (summary.last, summary.min, summary.max)),
                ]
                for name, summary in summaries.items()
            ],
            right=["points", "last step", "last", "min", "max"],
        )
