"""The order of the handlers of an event, to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runbus.bus import check_event_class
from runbus.events import Kind

if TYPE_CHECKING:
    from runbus.bus import Bus
    from runbus.events import Event
    from runbus.plugins import Place

__all__ = ["Plan", "PlanStep", "make_plan"]


class PlanStep(msgspec.Struct, frozen=True):
    """One call of the plan.

    Attributes:
        plugin: Whose handler.
        handler: Its name; for a stream, how its mailbox behaves.
        reason: Why the plugin stands where it stands.
        note: What keeps the handler from being called now; empty if nothing does.
    """

    plugin: str
    handler: str
    reason: str
    note: str = ""


class Plan(msgspec.Struct, frozen=True):
    """Who is called for a class of events, in the order of the calls."""

    event: str
    kind: str
    steps: tuple[PlanStep, ...]

    def __str__(self) -> str:
        lines = [f"{self.event} ({self.kind})"]
        for number, step in enumerate(self.steps, 1):
            note = f" [{step.note}]" if step.note else ""
            lines.append(f"{number:3}. {step.plugin}: {step.handler}{note} — {step.reason}")
        if not self.steps:
            lines.append("  nobody listens")
        return "\n".join(lines)


def make_plan(event: type[Event], bus: Bus, places: list[Place]) -> Plan:
    """Return who is called for a class of events, in which order and why."""
    check_event_class(event, "plan")
    route = bus.registry.route(event)
    reasons = {place.name: place.reason for place in places}
    steps = [
        PlanStep(
            sub.owner.name,
            sub.name,
            reasons.get(sub.owner.name, "the application comes last"),
            "quarantined" if sub.skip else "",
        )
        for sub in route.subscriptions
    ]
    if event.kind is Kind.TEARDOWN:
        steps.reverse()
    steps += [
        PlanStep(
            box.owner,
            f"stream of {box.maxsize}, {type(box).__name__.removesuffix('Mailbox')}",
            "own mailbox",
        )
        for box in route.boxes
    ]
    return Plan(event.__name__, event.kind.value if event.kind else "any", tuple(steps))
