"""Values as JSON: of arrays and data frames, too."""

from __future__ import annotations

import json
from typing import Any

from runbus.errors import FieldInvalid

__all__ = ["check_amount", "plain_json"]


def plain_json(value: Any, field: str) -> str:
    """Return a value as JSON; arrays become lists, data frames mappings of their columns.

    Args:
        value: What JSON can hold, and what numpy, pandas and polars have; NaN passes.
        field: What to call it in errors.

    Raises:
        FieldInvalid: JSON cannot hold it.
    """
    try:
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        shown = f"a {type(value).__qualname__}"
        raise FieldInvalid(field, shown, f"JSON cannot hold it: {error}") from error


def _plain(value: Any) -> Any:
    """Return an array as lists, a scalar as a number, a data frame as its columns."""
    for method in ("tolist", "to_list"):  # of numpy, pandas and torch; of polars
        if hasattr(value, method):
            return getattr(value, method)()
    if hasattr(value, "to_dict"):
        try:  # pandas makes lists of columns only if asked to
            return value.to_dict("list")
        except TypeError:  # polars, which has another word for it
            return value.to_dict(as_series=False)
    raise TypeError(f"{type(value).__qualname__} is neither text, number, list nor mapping")


def check_amount(
    given: object, field: str, *, least: float | None = None, whole: bool = False
) -> None:
    """Refuse what is no number, or too small.

    Raises:
        FieldInvalid: It is not.
    """
    is_number = isinstance(given, int if whole else int | float) and not isinstance(given, bool)
    # What is not a number compares as False with every number.
    fits = is_number and given == given and (least is None or given >= least)  # type: ignore[operator]
    if not fits:
        wanted = "a whole number" if whole else "a number"
        more = "" if least is None else f", {least:g} or more"
        raise FieldInvalid(field, repr(given), f"expected {wanted}{more}")
