"""What it costs to sample this machine, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._printer import print_json
from runbus.cli._table import print_table
from runbus.metrics import getter_costs

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.metrics import GetterCost

__all__ = ["show_getter_costs"]

_HEADER = ("reads", "tier", "first µs", "usual µs", "longest µs", "note")


def show_getter_costs(*, json_out: TextIO | None) -> None:
    """Print what each getter of this machine costs; those that it does not have come last."""
    costs = sorted(getter_costs(), key=lambda cost: (not cost.is_read, -cost.usual_ns))
    if json_out is not None:
        print_json([cost._asdict() for cost in costs], json_out)
        return
    print_table(_HEADER, [_row(cost) for cost in costs], right=_HEADER[2:5])
    if not any(cost.name.startswith("gpu") for cost in costs):
        click.echo("no GPU that NVIDIA's driver tells of")


def _row(cost: GetterCost) -> list[str]:
    times = (cost.first_ns, cost.usual_ns, cost.most_ns)
    note = cost.reason if cost.is_read else f"not here: {cost.reason}"
    tier = "fast" if cost.is_fast else "slow"
    return [cost.name, tier, *(f"{time / 1e3:.1f}" for time in times), note]
