"""The accounting law of mailboxes under any interleaving of emit, read, cancel, seal and close."""

from __future__ import annotations

import asyncio
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runbus.bus._mailbox import Mailbox
from runbus.bus._overflow import BlockMailbox, Putter, make_mailbox
from runbus.events import Lagged

POLICIES = ["block", "drop_oldest", "drop_newest", "conflate"]


class Batch(int):
    """An event with a number, that holds some items."""

    def __len__(self) -> int:
        return self % 4


def held(batches):
    return sum(map(len, batches))


def key_of(event):
    if event % 8 == 7:
        raise ValueError("no key")
    return event % 3


class MailboxMachine(RuleBasedStateMachine):
    """Compares a mailbox with a model: what was accepted, and what the reader got."""

    box: Mailbox

    @initialize(
        policy=st.sampled_from(POLICIES),
        maxsize=st.integers(1, 4),
        spills=st.booleans(),
        sized=st.booleans(),
    )
    def make(self, policy, maxsize, spills, sized):
        self.loop = asyncio.new_event_loop()
        self.policy = policy
        self.maxsize = maxsize
        self.spilled: list[Batch] = []
        self.unspilled = 0
        self.box = make_mailbox(
            "test",
            maxsize=maxsize,
            overflow=policy,
            key=key_of if policy == "conflate" else None,
            spill=self.spill if spills else None,
            sized=sized,
        )
        self.spills = spills
        self.sized = sized
        self.number = 0
        self.most = 0
        self.accepted: list[Batch] = []
        self.got: list[Batch] = []
        self.marked = 0
        self.last_was_mark = False
        self.refused = 0
        self.line: deque[Putter] = deque()

    def spill(self, event):
        if event % 5 == 4:
            self.unspilled += 1
            raise OSError("disk full")
        self.spilled.append(event)

    @rule()
    def offer(self):
        self.number += 1
        item = Batch(self.number)
        refused = self.box.offer(item)
        if refused is not None:
            assert isinstance(self.box, BlockMailbox)
            self.line.append(self.box.line_up(item, self.loop.create_future()))
        elif not self.box.sealed:
            self.accepted.append(item)

    def take_note(self, item):
        if isinstance(item, Lagged):
            assert item.n > 0
            assert not self.last_was_mark, "two marks in a row"
            self.marked += item.n
            self.last_was_mark = True
        else:
            assert not self.got or item > self.got[-1] or self.policy == "conflate"
            self.got.append(item)
            self.last_was_mark = False

    def settle_line(self):
        while self.line and self.line[0].admitted:
            self.accepted.append(self.line.popleft().item)

    def check_mark(self, items):
        """A loss is told at once, but for a mark that comes right after another."""
        books = self.box.statistics()
        lost = books.dropped - books.superseded + books.spilled - self.marked
        if lost and items and not self.last_was_mark and self.policy != "drop_newest":
            assert items[0] == Lagged(lost)

    @precondition(lambda self: self.box.items)
    @rule()
    def take(self):
        item = self.box.take()
        self.check_mark([item])
        self.take_note(item)
        self.settle_line()

    @rule()
    def take_all(self):
        items = self.box.take_all()
        self.check_mark(items)
        for item in items:
            self.take_note(item)
        if items and isinstance(items[-1], Lagged):
            # What was lost after the last event is told alone, once no more can come.
            assert self.box.sealed
            assert len(items) == 1
        if not items and self.box.sealed and not self.box.closed:
            books = self.box.statistics()
            assert self.marked == books.dropped - books.superseded + books.spilled
        self.settle_line()

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def cancel_a_publisher(self, data):
        putter = data.draw(st.sampled_from(list(self.line)))
        assert isinstance(self.box, BlockMailbox)
        self.box.give_up(putter)
        self.line.remove(putter)
        self.settle_line()

    @rule()
    def seal(self):
        if self.number > 5:
            self.box.seal()

    @rule()
    def close(self):
        if self.number > 10:
            self.box.close()
            # What waited in line is kept, too, where that can be.
            self.accepted += [putter.item for putter in self.line if putter.item in self.spilled]
            self.refused += sum(putter.item not in self.spilled for putter in self.line)
            assert all(putter.future.done() for putter in self.line)
            self.line.clear()

    @invariant()
    def the_law_holds(self):
        statistics = self.box.statistics()
        assert statistics.accepted == len(self.accepted)
        assert statistics.delivered == len(self.got)
        assert statistics.accepted == (
            statistics.delivered + statistics.dropped + statistics.spilled + statistics.pending
        )
        assert 0 <= statistics.pending <= self.maxsize
        self.most = max(self.most, statistics.pending)
        assert statistics.high_water == self.most
        assert statistics.waiting_publishers == len(self.line)
        assert self.marked <= statistics.dropped + statistics.spilled
        if self.policy == "block" and not self.box.closed:
            assert statistics.dropped == statistics.spilled == 0
        assert statistics.refused == self.refused
        if self.spills:
            assert statistics.spilled == len(self.spilled)
            if self.policy != "block":
                assert statistics.superseded == statistics.dropped - self.unspilled

    @invariant()
    def so_it_does_for_what_the_events_hold(self):
        items = self.box.statistics().items
        assert (items is not None) == self.sized
        if items is not None:
            assert items.accepted == held(self.accepted)
            assert items.delivered == held(self.got)
            assert items.spilled == held(self.spilled)
            assert items.accepted == (
                items.delivered + items.dropped + items.spilled + items.pending
            )
            assert min(items) >= 0

    def teardown(self):
        if hasattr(self, "loop"):
            self.loop.close()


TestMailbox = MailboxMachine.TestCase
TestMailbox.settings = settings(max_examples=150, stateful_step_count=40)
