from __future__ import annotations

import gc

import pytest

from runbus import events
from runbus.events import Event, Kind, Lagged, Notify
from runbus.events._catalog import events_page

CLASSES = [
    cls
    for name in events.__all__
    if isinstance(cls := getattr(events, name), type) and issubclass(cls, Event)
]
KINDS = [cls for cls in CLASSES if cls.__module__ == Event.__module__]
OURS = [cls for cls in CLASSES if cls not in KINDS]


@pytest.mark.parametrize("cls", OURS)
def test_every_event_is_frozen_and_has_a_kind_a_tag_and_a_page(cls):
    assert cls.__struct_config__.frozen
    assert isinstance(cls.kind, Kind)
    assert cls.kind.verb
    assert f"### {cls.__name__}\n" in events_page()


@pytest.mark.parametrize("cls", OURS)
def test_every_field_of_every_event_is_documented(cls):
    section = events_page().partition(f"### {cls.__name__}\n")[2].partition("\n### ")[0]
    for field in cls.__struct_fields__:
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{field}` |")]
        assert row.rsplit("|", 2)[1].strip(), f"{cls.__name__}.{field} is not documented"


def test_the_five_of_the_design_card_have_their_kinds():
    kinds = {
        "ImageTransform": "pipeline",
        "Bootstrap": "collector",
        "TaskStart": "around",
        "MetricBatch": "stream",
        "Shutdown": "teardown",
    }
    assert {name: getattr(events, name).kind.value for name in kinds} == kinds


def test_a_subclass_is_frozen_and_tagged_without_saying_so():
    class Mine(Notify):
        number: int

    event = Mine(3)
    with pytest.raises(AttributeError):
        event.number = 4  # type: ignore[misc]
    assert Mine.__struct_config__.tag == "Mine"
    assert event == Mine(3)


def test_an_event_that_is_plain_data_is_not_tracked_by_the_garbage_collector():
    assert not gc.is_tracked(Lagged(1))


def test_every_event_of_the_reference_says_who_publishes_it():
    page = events_page()
    sections = page.split("\n### ")[1:]

    assert len(sections) >= 34
    assert [text.split("\n")[0] for text in sections if "\nPublished by " not in text] == []
