"""What Optuna draws from, and what a job gets of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus.errors import FieldInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.distributions import BaseDistribution

    from runbus.events import JobDraft

__all__ = ["distributions", "with_values"]

_ADVICE = "write lr: {log_uniform: [1e-5, 0.1]}, uniform, int, or a list of values"


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return what the values of a trial are drawn from, by config paths.

    Args:
        space: As `random` of a sweep has it: `{"lr": {"log_uniform": [1e-5, 0.1]}}`.

    Raises:
        FieldInvalid: It is nothing to draw from.
    """
    if not isinstance(space, dict) or not space:
        raise FieldInvalid("space", repr(space), "nothing is to be chosen", _ADVICE)
    return {str(path): _distribution(str(path), one) for path, one in space.items()}


def _distribution(path: str, given: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(given, list):
        given = {"choice": given}
    try:
        ((kind, values),) = given.items()
        if kind == "choice":
            return CategoricalDistribution([*values])
        low, high = values
        if kind == "int":
            return IntDistribution(low, high)
        if kind in ("uniform", "log_uniform"):
            return FloatDistribution(low, high, log=kind == "log_uniform")
    except (AttributeError, TypeError, ValueError) as error:
        raise FieldInvalid(f"space.{path}", repr(given), str(error), _ADVICE) from error
    raise FieldInvalid(f"space.{path}", repr(given), f"there is no {kind!r}", _ADVICE)


def with_values(draft: JobDraft, values: Mapping[str, Any]) -> JobDraft:
    """Return a job with the values of a trial: a function at their paths, others as options."""
    try:
        data = json.loads(draft.given) if draft.given else {}
    except ValueError:
        data = {}
    if not isinstance(data, dict) or "_target_" not in data:
        words = (f"--{path}={_text(value)}" for path, value in values.items())
        return replace(draft, argv=(*draft.argv, *words))
    for path, value in values.items():
        *above, last = path.split(".")
        at = data
        for step in above:
            at = at.setdefault(step, {})
        at[last] = value
    return replace(draft, given=json.dumps(data))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
