"""What a mailbox keeps, gives and counts, without a bus around it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runbus.bus._mailbox import Mailbox
from runbus.bus._overflow import make_mailbox
from runbus.errors import InvalidHandler, InvalidOption
from runbus.events import Lagged

POLICIES = ["block", "drop_oldest", "drop_newest", "conflate"]


class Batch(int):
    """An event with a number, that holds as many items."""

    def __len__(self) -> int:
        return int(self)


def itself(event: int) -> int:
    return event


def box(overflow: str = "drop_oldest", maxsize: int = 1, **options: Any) -> Mailbox:
    key = itself if overflow == "conflate" else None
    usual: dict[str, Any] = {"key": key, "spill": None, "sized": False}
    return make_mailbox("p", maxsize=maxsize, overflow=overflow, **{**usual, **options})


@pytest.mark.parametrize("overflow", POLICIES)
def test_a_mailbox_knows_whose_it_is_and_what_fits(overflow: str) -> None:
    mailbox = box(overflow, 3)

    assert (mailbox.owner, mailbox.maxsize) == ("p", 3)
    assert mailbox.statistics().items is None
    assert box(overflow, sized=True).statistics().items == (0, 0, 0, 0, 0)


def test_a_mark_takes_no_room() -> None:
    mailbox = box("drop_newest", 2)
    for number in (1, 2, 3):
        mailbox.offer(number)
    assert mailbox.take() == 1
    mailbox.offer(4)
    assert mailbox.take() == 2

    mailbox.offer(5)

    assert mailbox.take_all() == [Lagged(1), 4, 5]


def test_a_mark_is_no_event_in_the_books() -> None:
    mailbox = box("drop_newest", 2, sized=True)
    for number in (1, 2, 3):
        mailbox.offer(Batch(number))
    mailbox.take()
    mailbox.offer(Batch(4))

    books = mailbox.statistics()
    assert (books.accepted, books.delivered, books.dropped, books.pending) == (4, 1, 1, 2)
    assert books.items == (10, 1, 3, 6, 0)

    mailbox.close()

    books = mailbox.statistics()
    assert (books.accepted, books.delivered, books.dropped, books.pending) == (4, 1, 3, 0)
    assert books.items == (10, 1, 9, 0, 0)


def test_what_is_lost_after_everything_was_taken_is_told_at_once() -> None:
    mailbox = box()
    mailbox.offer(1)
    mailbox.offer(2)
    assert mailbox.take_all() == [Lagged(1), 2]

    mailbox.offer(3)
    mailbox.offer(4)

    assert mailbox.take() == Lagged(1)
    assert mailbox.take() == 4


def test_a_loss_right_after_a_mark_is_told_before_the_next_event_or_at_the_end() -> None:
    mailbox = box()
    mailbox.offer(1)
    mailbox.offer(2)
    assert mailbox.take() == Lagged(1)
    mailbox.offer(3)
    assert mailbox.take() == 3
    assert mailbox.take_all() == []  # more may come
    mailbox.offer(4)
    assert mailbox.take_all() == [Lagged(1), 4]
    assert mailbox.statistics().delivered == 2

    mailbox.offer(5)
    mailbox.offer(6)
    assert mailbox.take() == Lagged(1)
    mailbox.offer(7)
    assert mailbox.take() == 7
    mailbox.seal()
    assert mailbox.take_all() == [Lagged(1)]
    assert mailbox.take_all() == []


def test_an_event_is_in_the_books_even_if_its_spilling_is_interrupted() -> None:
    def spill(event: int) -> None:
        raise KeyboardInterrupt

    mailbox = box(spill=spill, sized=True)
    mailbox.offer(Batch(1))
    with pytest.raises(KeyboardInterrupt):
        mailbox.offer(Batch(2))

    books = mailbox.statistics()
    assert (books.accepted, books.dropped, books.spilled) == (2, 1, 0)
    assert books.items == (3, 0, 1, 2, 0)


def test_what_is_spilled_is_counted_with_what_it_holds() -> None:
    spilled: list[Batch] = []
    mailbox = box(spill=spilled.append, sized=True)
    for number in (1, 2, 3):
        mailbox.offer(Batch(number))

    books = mailbox.statistics()
    assert spilled == [1, 2]
    assert (books.accepted, books.dropped, books.spilled) == (3, 0, 2)
    assert books.items == (6, 0, 0, 3, 3)


async def test_only_a_reader_that_is_still_there_is_known() -> None:
    """A quick reader is asked for its name no more, so its end must be noticed."""
    mailbox, go = box(), asyncio.Event()
    former = asyncio.create_task(go.wait())
    latter = asyncio.create_task(asyncio.Event().wait())
    mailbox.note_consumer(former)
    assert mailbox.quick

    mailbox.note_consumer(latter)
    go.set()
    await asyncio.wait([former])
    await asyncio.sleep(0)
    assert mailbox.quick  # the end of the former says nothing of the latter

    latter.cancel()
    await asyncio.wait([latter])
    await asyncio.sleep(0)
    assert not mailbox.quick


async def test_a_reader_that_is_to_be_told_of_a_loss_is_not_quick() -> None:
    mailbox = box()
    mailbox.note_consumer(asyncio.current_task())
    mailbox.offer(1)
    mailbox.offer(2)
    mailbox.note_consumer(asyncio.current_task())

    assert not mailbox.quick
    assert mailbox.take() == Lagged(1)
    assert mailbox.quick


def is_settled(mailbox: Mailbox) -> bool:
    """Look anew: a type checker takes what it has seen of an attribute for what it is."""
    return mailbox.is_settled


async def test_a_mailbox_is_settled_unless_something_waits_or_its_reader_is_busy() -> None:
    mailbox = box()
    assert is_settled(mailbox)  # nothing has come yet
    mailbox.offer(1)
    assert not is_settled(mailbox)
    mailbox.take()
    assert not is_settled(mailbox)  # the reader has it in hand
    mailbox.waiter = asyncio.get_running_loop().create_future()
    assert is_settled(mailbox)  # the reader has come back for more

    mailbox.offer(2)
    mailbox.take()
    mailbox.close()
    assert is_settled(mailbox)  # nobody waits for who reads no more


async def test_who_waits_for_a_mailbox_to_be_read_is_told_once() -> None:
    mailbox = box()
    mailbox.settle()  # nobody waits
    mailbox.settled = asyncio.get_running_loop().create_future()

    mailbox.settle()
    mailbox.settle()

    assert mailbox.settled.done()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"maxsize": 1.5}, r"p: stream\(\): maxsize=1.5"),
        ({"maxsize": 0}, r"p: stream\(\): maxsize=0"),
        ({"overflow": "nonsense"}, r"p: stream\(\): overflow='nonsense'"),
        ({"overflow": "conflate", "key": None}, r"p: stream\(\): key=None is missing"),
        ({"key": itself}, r"p: stream\(\): key=.* does not go with this overflow"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        box(**options)


def test_a_function_that_cannot_take_an_event_is_refused() -> None:
    with pytest.raises(InvalidHandler, match=r"'p': .* for stream\(\) cannot be called") as caught:
        box(spill=lambda: None)
    assert caught.value.hint == "define it as (event)"


@pytest.mark.parametrize("fails", [True, False], ids=["a spill that fails", "no spill"])
def test_what_nobody_keeps_is_dropped_and_a_spill_that_fails_is_told(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def spill(event: Any) -> None:
        raise OSError("the disk is full")

    mailbox = box(maxsize=1, spill=spill if fails else None)
    mailbox.offer(1)
    mailbox.offer(2)

    assert mailbox.statistics()[:6] == (2, 0, 1, 1, 0, 0)
    lost = "the spill function of p failed; an event is lost"
    assert caplog.messages == ([lost] if fails else [])
