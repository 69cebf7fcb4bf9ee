"""Who gets an event: the books of owners, subscriptions and mailboxes."""

from __future__ import annotations

from typing import Any

import pytest

from runbus.bus._overflow import make_mailbox
from runbus.bus._routing import Registry, check_subscription
from runbus.errors import BusClosed, InvalidHandler, InvalidOption, WrongKind
from runbus.events import Event, Kind, Notify, Pipeline, Stream


class Fact(Notify, frozen=True):
    pass


class Special(Fact, frozen=True):
    pass


class Sum(Pipeline[int], frozen=True):
    deadline_s = 7.0


class Tick(Stream, frozen=True):
    pass


class Books:
    """A registry that counts how often it tells of a change."""

    def __init__(self) -> None:
        self.changes = 0
        self.registry = Registry(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def on(self, owner: Any, event: Any, handler: Any, **options: Any) -> Any:
        usual = {"once": False, "timeout_s": None, "thread": False}
        return self.registry.subscribe(owner, event, handler, **{**usual, **options})

    def told(self) -> int:
        """Return how many changes there were since the last look."""
        changes, self.changes = self.changes, 0
        return changes


@pytest.fixture
def books() -> Books:
    return Books()


def box(owner: str = "p") -> Any:
    return make_mailbox(owner, maxsize=1, overflow="drop_oldest", key=None, spill=None, sized=False)


def one(event: Any) -> None: ...


def other(event: Any) -> None: ...


def handlers(registry: Registry, event: type[Event]) -> list[Any]:
    return [sub.handler for sub in registry.route(event).subscriptions]


def test_an_owner_is_kept_by_its_name_until_it_is_removed(books: Books) -> None:
    owner = books.registry.add_owner("p", 3.0)
    vital = books.registry.add_owner("q", 4.0, critical=True)

    assert (owner.name, owner.rank, owner.critical, owner.closed) == ("p", 3.0, False, False)
    assert vital.critical
    assert books.registry.owners == {
        "application": books.registry.application, "p": owner, "q": vital,
    }  # fmt: skip

    books.on(owner, Fact, one)
    books.registry.remove_owner(owner)

    assert owner.closed is True
    assert [*books.registry.owners] == ["application", "q"]
    assert handlers(books.registry, Fact) == []
    with pytest.raises(BusClosed) as caught:
        books.on(owner, Fact, one)
    assert (caught.value.verb, caught.value.state) == ("on", "closed")


def test_an_owner_that_was_replaced_does_not_take_the_new_one_with_it(books: Books) -> None:
    former = books.registry.add_owner("p", 0.0)
    latter = books.registry.add_owner("p", 1.0)

    books.registry.remove_owner(former)

    assert books.registry.owners["p"] is latter
    assert not latter.closed


def test_the_application_comes_after_every_plugin(books: Books) -> None:
    books.on(books.registry.application, Fact, one)
    books.on(books.registry.add_owner("p", 1e9), Fact, other)

    assert books.registry.application.name == "application"
    assert handlers(books.registry, Fact) == [other, one]


def test_handlers_are_called_by_rank_and_then_as_they_were_subscribed(books: Books) -> None:
    first, second = books.registry.add_owner("a", 1.0), books.registry.add_owner("b", 2.0)
    late = books.on(second, Fact, one)
    early = books.on(first, Special, one)
    latest = books.on(second, Special, other)

    assert books.registry.route(Special).subscriptions == (early, late, latest)
    assert books.registry.route(Fact).subscriptions == (late,)
    assert [*books.registry.subscriptions()] == [late, early, latest]

    first.rank = 3.0
    books.told()
    books.registry.reorder()
    assert books.told() == 1
    assert books.registry.route(Special).subscriptions == (late, latest, early)


def test_a_route_knows_how_its_events_are_dispatched(books: Books) -> None:
    mine, theirs = box(), box("q")
    books.registry.add_box(Fact, mine)
    books.registry.add_box(Special, theirs)

    route = books.registry.route(Special)

    assert route.boxes == (theirs, mine)
    assert route.offers == (theirs.offer, mine.offer)
    request = books.registry.route(Sum)
    assert (request.kind, request.limit_s) == (Kind.PIPELINE, 7.0)


def test_every_change_is_told_once(books: Books) -> None:
    owner, mailbox = books.registry.add_owner("p", 0.0), box()
    subscription = books.on(owner, Fact, one)
    assert books.told() == 1
    books.registry.add_box(Fact, mailbox)
    assert books.told() == 1
    subscription.close()
    assert books.told() == 1
    books.registry.remove_box(Fact, mailbox)
    assert books.told() == 1
    for unknown in (Fact, Special):
        books.registry.remove_box(unknown, mailbox)
    assert books.told() == 0


def test_mailboxes_are_listed_with_their_classes_and_may_be_removed_meanwhile(
    books: Books,
) -> None:
    boxes = [(Fact, box()), (Fact, box()), (Tick, box())]
    for event, mailbox in boxes:
        books.registry.add_box(event, mailbox)
    seen = []

    for event, mailbox in books.registry.boxes():
        seen.append((event, mailbox))
        books.registry.remove_box(event, mailbox)

    assert seen == boxes
    assert [*books.registry.boxes()] == []


def test_whether_anybody_is_reached_is_known_after_every_change(books: Books) -> None:
    registry, mailbox = books.registry, box()
    owner = registry.add_owner("p", 0.0)
    assert not registry.reaches((Special, Tick))

    subscription = books.on(owner, Fact, one)
    assert registry.reaches((Special, Tick))
    assert not registry.reaches((Tick,))
    subscription.close()
    assert not registry.reaches((Special, Tick))
    registry.add_box(Tick, mailbox)
    assert registry.reaches((Special, Tick))
    registry.remove_box(Tick, mailbox)
    assert not registry.reaches((Special, Tick))
    with pytest.raises(WrongKind, match=r"has_readers\(\)"):
        registry.reaches((Fact, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (3, ("3", "", "on", "")),
        (int, ("int", "", "on", "")),
        (Event, ("Event", "", "on", "stream")),
        (Tick, ("Tick", "stream", "on", "stream")),
    ],
)
def test_what_is_no_class_of_events_with_handlers_is_refused(
    books: Books, event: Any, fields: tuple[str, ...]
) -> None:
    with pytest.raises(WrongKind) as caught:
        books.on(books.registry.application, event, one)

    error = caught.value
    assert (error.event, error.kind, error.verb, error.right_verb) == fields
    assert books.told() == 0


class Alike:
    """Two of these are equal, and are not one."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return 0

    def __call__(self, event: Any) -> None: ...

    def handle(self, event: Any) -> None: ...

    def also(self, event: Any) -> None: ...


def test_a_handler_is_subscribed_once_by_each(books: Books) -> None:
    owner = books.registry.add_owner("p", 0.0)
    alike, equal = Alike(), Alike()
    for handler in (one, alike, equal, alike.handle, alike.also, equal.handle):
        books.on(owner, Fact, handler)
    books.told()

    for handler in (one, alike, alike.handle):
        with pytest.raises(InvalidHandler, match="is subscribed twice") as caught:
            books.on(owner, Fact, handler)
        assert (caught.value.plugin, caught.value.event) == ("p", "Fact")
        assert caught.value.hint == "subscribe it once"
    assert caught.value.handler == "Alike.handle"
    assert books.told() == 0

    books.on(books.registry.application, Fact, one)
    books.on(owner, Special, one)
    assert len(books.registry.route(Special).subscriptions) == 8


def test_a_subscription_has_the_options_that_were_asked_for(books: Books) -> None:
    owner = books.registry.add_owner("p", 0.0)
    calls: list[Any] = []

    usual = {"once": False, "timeout_s": None, "thread": False}
    for name, value in (("once", 1), ("timeout_s", -1.0), ("thread", 1)):
        options: dict[str, Any] = {**usual, name: value}
        said = rf"'p': .* for Fact: {name.removesuffix('_s')}="
        with pytest.raises(InvalidOption, match=said):
            books.on(owner, Fact, calls.append, **options)
        with pytest.raises(InvalidOption, match=said):
            check_subscription("p", Fact, calls.append, **options)
    check_subscription("p", Fact, one, once=True, timeout_s=1.0, thread=True)
