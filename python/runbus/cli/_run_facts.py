"""What a run keeps beside its metrics, for the eye."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runbus.cli._facts import shown_path
from runbus.cli._printer import format_value
from runbus.cli._table import print_table
from runbus.config import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runbus.catalog import RunRecord
    from runbus.jobs import JobRecord
    from runbus.metrics import ParamValue

T = TypeVar("T")

_CALL = "runbus.metrics.call"
"""The module that runs a function as a job."""

_LONGEST = 1_000
"""How much of the call of a function is shown."""

__all__ = [
    "as_shown",
    "collected_facts",
    "environment_facts",
    "is_being_cancelled",
    "kept_facts",
    "native_words",
    "near_project",
    "origin_facts",
    "print_kept",
    "returned_facts",
    "tell_damage",
]


def tell_damage(run: RunRecord) -> None:
    """Say on standard error which parts of a run's files cannot be printed."""
    damage = run.damage()
    for file, stretches in damage.items():
        lost = sum(length for _, length in stretches)
        click.echo(f"warning: {lost} bytes of {file} are damaged, and left out", err=True)
    for name, count in (run.lost_points() if damage else {}).items():
        click.echo(f"warning: {count} points of {name} are lost to it", err=True)


def near_project(project: str) -> str:
    """Return a question after the project that was meant, if one of nearly that name exists."""
    from runbus._home import Home
    from runbus.errors import near_matches

    folders = Home().experiment_folders(problems={})
    known = dict.fromkeys(os.path.basename(os.path.dirname(folder)) for folder in folders)
    near = [] if project in known else near_matches(project, known)
    return f"; did you mean the project {near[0]!r}" if near else ""


def origin_facts(run: RunRecord) -> list[tuple[str, str]]:
    """Return where a run comes from as labels with texts: what is known of it."""
    origin = run.origin
    call = None
    if _CALL in origin.argv:
        from runbus.config import call_text  # costs what runs of scripts need not pay

        call = call_text(origin.argv, run.config)
    facts = [("command", _short(call) if call else shlex.join(origin.argv))]
    facts.append(("python", origin.python))
    facts.append(("cwd", origin.cwd))
    if origin.commit:
        changed = {True: ", with uncommitted changes", False: "", None: ", perhaps changed"}
        facts.append(("commit", f"{origin.commit[:12]}{changed[origin.is_changed]}"))
    if (diff := run.diff) is not None:
        facts.append(("diff", shown_path(diff)))
    return [(label, text) for label, text in facts if text]


def environment_facts(run: RunRecord) -> list[tuple[str, str]]:
    """Return what a run's job ran in as labels with texts, as far as `show` tells it."""
    known = run.environment
    packages, gpus, image = (known.get(name) for name in ("packages", "gpus", "image"))
    told = [f"Python {known.get('python')}"] if known else []
    told += [f"{len(packages)} packages"] if isinstance(packages, dict) else []
    told += [str(known["system"])] if "system" in known else []
    facts = [("ran in", ", ".join(told))]
    facts += [("gpus", ", ".join(map(str, gpus)))] if gpus and isinstance(gpus, list) else []
    facts += [("image", str(image))] if image else []
    return [(label, text) for label, text in facts if text]


def _short(call: str) -> str:
    return call if len(call) <= _LONGEST else f"{call[:_LONGEST]}…"


def native_words(job: JobRecord) -> str:
    """Return what a job's backend says of its state in words of its own; empty if nothing."""
    return job.native_state or ("suspended" if job.is_suspended else "")


def is_being_cancelled(job: JobRecord) -> bool:
    """Whether the end of a job was asked for, and is waited for."""
    return job.cancelling and not job.state.is_terminal


def kept_facts(run: RunRecord) -> list[tuple[str, str]]:
    """Return tags, params and notes of a run as labels with texts."""
    return [
        *([("tags", ", ".join(run.tags))] if run.tags else []),
        *(("param", _changes(name, values)) for name, values in as_shown(run, run.param_values())),
        *(("note", note.text) for note in run.notes),
    ]


def collected_facts(run: RunRecord) -> list[tuple[str, str]]:
    """Return what was collected of each attempt's files as labels with texts, and what was not."""
    facts = []
    for one in run.collected:
        files = "1 file" if one.files == 1 else f"{one.files} files"
        of = f" of attempt {one.attempt}" if one.attempt > 1 or len(run.collected) > 1 else ""
        facts.append(("collected", f"{files}, {format_size(one.size)}{of}"))
        facts += [("collected", note) for note in one.notes]
    return facts


def as_shown(run: RunRecord, known: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    """Yield what a run has by the names under which views show it, without what is hidden."""
    names = run.shown_names
    for name, value in known.items():
        if (shown := names.get(name, name)) is not None:
            yield shown, value


def returned_facts(run: RunRecord) -> dict[str, Any]:
    """Return what the function of a run's job returned or raised; empty if there is neither."""
    from runbus.errors import ResultNotKept

    facts: dict[str, Any] = {}
    try:
        if (result := run.result) is not None:
            facts["result"] = result
    except ResultNotKept as error:
        facts["result_error"] = error.reason
    if (raised := run.error) is not None:
        facts["error"] = raised
    return facts


def _changes(name: str, values: list[ParamValue]) -> str:
    """Return a param's value, and those it had before."""
    *before, now = (format_value(value.value) for value in values)
    return f"{name} = {now}" + (f" (was {', '.join(before)})" if before else "")


def print_kept(run: RunRecord) -> None:
    """Print which files, texts and histograms a run logged: a row for each name, if any."""
    kept = [
        *((one.kind, one.name, one.step, one.size) for one in run.artifacts()),
        *(("text", one.name, one.step, None) for one in run.text()),
        *(("histogram", one.name, one.step, None) for one in run.histograms()),
    ]
    rows: dict[tuple[str, str], list[str]] = {}
    for kind, name, step, size in kept:
        times = int(rows.get((kind, name), ["", "", "0"])[2]) + 1
        last = "" if step is None else str(step)
        shown = "" if size is None else format_size(size)
        rows[kind, name] = [kind, name, str(times), last, shown]
    if rows:
        click.echo()
        print_table(
            ["kind", "name", "times", "last step", "size"],
            rows.values(),
            right=["times", "last step", "size"],
        )
