"""`runbus show`."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from runbus._clock import format_duration
from runbus.attempt import lost_output, read_cuts
from runbus.cli._advance import share_text
from runbus.cli._facts import print_facts, shown_path
from runbus.cli._named_run import named_run
from runbus.cli._options import complete_runs
from runbus.cli._printer import format_time, print_json
from runbus.cli._run_facts import (
    as_shown,
    collected_facts,
    environment_facts,
    kept_facts,
    native_words,
    origin_facts,
    print_kept,
    returned_facts,
)
from runbus.cli._summaries import print_summaries
from runbus.errors import AmbiguousId, ExperimentNotFound, RunbusError, UsageError
from runbus.jobs import Asked, read_again
from runbus.metrics import DONE, PROGRESS, SAMPLES, TOTAL

if TYPE_CHECKING:
    from runbus.abc import PackageManifest
    from runbus.catalog import RunRecord

__all__ = ["command"]

_LONGEST = 2_000
"""How much of a result is shown; --json shows all of it."""


@click.command("show")
@click.argument("run", shell_complete=complete_runs)
@click.option("--system", is_flag=True, help="Show also the samples of its machine, sys/….")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["yaml", "python"]),
    help="Print what was asked of its batch: as a batch file that runbus submit takes, or as code.",
)
def command(run: str, system: bool, as_json: bool, form: str | None) -> None:
    """Show a run: what it is, where it stands, what it logged.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest". With --as it
    may also be a batch or a project, whose newest batch is meant.
    """
    if form is not None:
        click.echo(_asked(run, form), nl=False)
        return
    found = named_run(run)
    if as_json:
        print_json(_described(found))
    else:
        _print(found, has_samples=system)


def _asked(text: str, form: str) -> str:
    """Return what was asked of a batch, as text."""
    from runbus.catalog import find_experiment
    from runbus.experiment import as_batch, as_python

    try:
        folder = find_experiment(text)
    except (ExperimentNotFound, AmbiguousId):
        folder = named_run(text).experiment_folder
    try:
        return as_batch(folder) if form == "yaml" else as_python(folder)
    except ExperimentNotFound:
        reason = f"{text!r} was begun by its own script, and nobody asked for its jobs"
        raise UsageError(reason) from None


def _described(run: RunRecord) -> dict[str, object]:
    job = run.job
    return {
        "id": run.id,
        "name": run.name,
        "project": run.project,
        "state": run.state,
        "reason": run.reason,
        "config": run.config,
        "created_ns": run.info.created_ns,
        "origin": run.origin._asdict(),
        "diff": run.diff,
        "environment": run.environment,
        "folder": run.folder,
        "job": job,
        **_links(run),
        **returned_facts(run),
        "params": run.params,
        "tags": run.tags,
        "notes": [note._asdict() for note in run.notes],
        "artifacts": [artifact._asdict() for artifact in run.artifacts()],
        "collected": [one._asdict() for one in run.collected],
        "metrics": {name: summary._asdict() for name, summary in run.summaries().items()},
        "damage": (damage := run.damage()),
        "lost_points": run.lost_points() if damage else {},
    }


def _links(run: RunRecord) -> dict[str, Any]:
    """Return the ids of experiments: the one whose jobs its own runs again, and the reverse."""
    again_of = ""
    if run.info.job is not None:
        with suppress(RunbusError):  # show goes on, whatever of the record is damaged
            again_of = Asked.read(run.experiment_folder).again_of
    return {"again_of": again_of, "run_again": read_again(run.experiment_folder)}


def _code(packaged: PackageManifest) -> list[str]:
    """Return what code a job took along, in words."""
    described = []
    for origin in packaged.origins:
        changed = ""
        if origin.changed:
            kept = "as they were" if origin.included else "as committed"
            changed = f", with {len(origin.changed)} changed files {kept}"
        described.append(f"{origin.commit[:12]} ({origin.ref}) of {origin.path}{changed}")
    return described or [f"{len(packaged.files)} files, {packaged.tree_sha256[:12]}"]


def _print(run: RunRecord, *, has_samples: bool) -> None:
    job = run.job
    facts = [
        ("run", run.id),
        ("name", run.name),
        ("project", run.project),
        ("state", f"{run.state}{f': {run.reason}' if run.reason else ''}"),
        ("created", format_time(run.info.created_ns)),
    ]
    facts += origin_facts(run)
    facts += environment_facts(run)
    links = _links(run)
    facts += [("again of", links["again_of"])] if links["again_of"] else []
    facts += [("run again", one) for one in links["run_again"]]
    if job:
        facts.append(("executor", f"{job.executor}{f' on {job.host}' if job.host else ''}"))
    if job and (words := native_words(job)):
        told = f", told by {job.evidence}" if job.evidence else ""
        facts.append(("backend says", words + told))
    if job and job.attempt > 1:
        unbegun = "" if job.started_ns else ", which has not begun"
        facts.append(("attempt", f"{job.attempt}{unbegun}"))
    if job and job.ended_ns and job.started_ns:
        busy = f", {format_duration(job.cpu_s)} of processor time" if job.cpu_s else ""
        facts.append(("took", format_duration(job.duration_s) + busy))
    if job and job.exit_code is not None:
        facts.append(("exit code", str(job.exit_code)))
    if job and job.wrapper:
        facts.append(("wrapper", job.wrapper))
    facts += [*_progress(run), *_returned(run), *collected_facts(run), *kept_facts(run)]
    damage = run.damage()
    facts += [
        ("damage", f"{journal}: {length} bytes at {offset} are unreadable")
        for journal, stretches in damage.items()
        for offset, length in stretches
    ]
    lost_points = run.lost_points() if damage else {}
    facts += [("lost", f"{count} points of {name}") for name, count in lost_points.items()]
    if (packaged := run.packaged()) is not None:
        facts += [("code", text) for text in _code(packaged)]
    facts.append(("folder", shown_path(run.folder)))
    if run.job_folder:
        counted = Counter(source for source, _ in read_cuts(run.job_folder))
        facts += [
            ("cut", f"the job has emptied its own {source}.log {count} times")
            for source, count in counted.items()
        ]
        if lost := lost_output(run.job_folder):
            facts.append(("lost", f"{lost} bytes of its output, for which the disk had no room"))
        facts.append(("logs", shown_path(run.job_folder)))
    print_facts(facts, notes="note")
    _print_metrics(run, has_samples=has_samples)
    print_kept(run)


def _progress(run: RunRecord) -> list[tuple[str, str]]:
    """Return how much of its work the run has reported as done, as a label with a text."""
    summaries = run.summaries()
    if DONE not in summaries:
        return []
    total = summaries[TOTAL].last if TOTAL in summaries else None
    return [("progress", share_text(summaries[DONE].last, total))]


def _returned(run: RunRecord) -> list[tuple[str, str]]:
    """Return what the function of a job returned or raised as labels with texts."""
    facts = returned_facts(run)
    described = []
    if "result" in facts:
        text = json.dumps(facts["result"], ensure_ascii=False)
        described.append(("result", text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"))
    if "result_error" in facts:
        described.append(("result", f"is not kept: {facts['result_error']}"))
    if "error" in facts:
        described.append(("error", f"{facts['error']['type']}: {facts['error']['text']}"))
    return described


def _print_metrics(run: RunRecord, *, has_samples: bool) -> None:
    summaries = dict(as_shown(run, run.summaries()))
    sampled = [name for name in summaries if name.startswith(SAMPLES) and not has_samples]
    shown = {
        name: one
        for name, one in summaries.items()
        if name not in sampled and not name.startswith(PROGRESS)
    }
    if shown:
        click.echo()
        print_summaries(shown)
    if sampled:
        click.echo()
        click.echo(f"{len(sampled)} series of its machine are under {SAMPLES}: --system shows them")
