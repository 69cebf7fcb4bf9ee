"""What is wrong with the sweep of a job in a batch file, each mistake at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.config._function import Function
from runbus.config._node import Mistake, Word
from runbus.config._overrides import Override, apply_overrides
from runbus.config._paths import parse_path
from runbus.config._space import value_text
from runbus.config._space_data import read_space
from runbus.config._task_kinds import decode_task
from runbus.errors import ConfigInvalid, RunbusError

if TYPE_CHECKING:
    from runbus.config._node import Mistakes, Path
    from runbus.config._space import Space

__all__ = ["begun_with", "sweep_mistakes"]

_MOST_TRIED = 1_000
"""How many values are tried before any job is made; the others are when their jobs are."""


def sweep_mistakes(job: dict[Any, Any], at: Path, folder: str) -> Mistakes:
    """Return what is wrong with the sweep of a job, and with its values for the job's function.

    Args:
        job: The job, as it stands in the file.
        at: Where its sweep is.
        folder: The folder of the file.
    """
    wrong: Mistakes = []
    space = read_space(job["sweep"], folder, wrong)
    if space is not None:
        wrong = _unfitting(job.get("task"), space, folder)
    for one in wrong:
        one.path = (*at, *one.path)
        if one.expected:
            one.reason += f"; {one.expected}"
    return wrong


def _unfitting(data: Any, space: Space, folder: str) -> Mistakes:
    """Return which paths a function does not have, and which values do not fit there."""
    if not isinstance(data, dict):
        return []
    try:
        task = decode_task(data, folder)
        if not isinstance(task, Function):
            return []
        config = task.configured()
    except Exception:  # of the task, which is reported at its own place
        return []
    wrong: Mistakes = []
    tried: set[tuple[str, str]] = set()
    refused: set[str] = set()
    for point in space.points():
        for path, value in point.items():
            if path in refused or (path, repr(value)) in tried:
                continue
            tried.add((path, repr(value)))
            if (told := _refusal(config, path, value)) is not None:
                refused.add(path)
                wrong.append(Mistake(told, _place(space, path)))
        if len(tried) > _MOST_TRIED:
            break
    return wrong


def _refusal(config: Any, path: str, value: Any) -> str | None:
    """Return why a configuration does not take a value at a path; None if it does."""
    text = Word(value_text(value))
    try:
        apply_overrides(config.copy(), [Override(parse_path(path), "=", text)])
    except ConfigInvalid as error:
        return "; ".join(str(one._replace(path="", origin="")) for one in error.problems)
    except RunbusError as error:
        return str(error)
    return None


def begun_with(job: dict[Any, Any], folder: str) -> tuple[dict[str, Any], set[str]]:
    """Return the task of a job in data, with the values that the first point of its sweep has.

    A function may need a value that only its sweep gives it. The names of those are returned, too:
    what is wrong with them is told where the sweep is.
    """
    task: dict[str, Any] = job["task"]
    space = read_space(job["sweep"], folder, []) if task.get("type") == Function.tag else None
    values = task.get("values", {})
    if space is None or not isinstance(values, dict):
        return task, set()
    point = {key: one for key, one in next(space.points()).items() if key.isidentifier()}
    return {**task, "values": {**values, **point}}, {*point}


def _place(space: Space, path: str) -> Path:
    axes = getattr(space, "axes", None)
    return (space.tag,) if axes is None else (space.tag, path)
