"""The option `--at step=1000`: compare runs by what they had logged at one step."""

from __future__ import annotations

import re

import click

__all__ = ["at_option"]


class _AtStep(click.ParamType[int]):
    """A step, as in `step=1000`."""

    name = "step"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if found := re.fullmatch(r"\s*step\s*=\s*([+-]?\d{1,19})\s*", value):
            step = int(found[1])
            if -(1 << 63) <= step < (1 << 63) - 1:
                return step
        self.fail(f"{value!r} is not a step: write step=1000", param, ctx)


at_option = click.option(
    "--at",
    "at_step",
    type=_AtStep(),
    metavar="step=N",
    help="Of metrics only what was logged at this step.",
)
