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


class MailboxMachine(RuleBasedStateMachine):
    """Compares a mailbox with a model: what was accepted, and what the reader got."""

    box: Mailbox

    @initialize(policy=st.sampled_from(POLICIES), maxsize=st.integers(1, 4), spills=st.booleans())
    def make(self, policy, maxsize, spills):
        self.loop = asyncio.new_event_loop()
        self.policy = policy
        self.maxsize = maxsize
        self.spilled: list[int] = []
        key = (lambda event: event % 3) if policy == "conflate" else None
        self.box = make_mailbox(
            "test",
            maxsize=maxsize,
            overflow=policy,
            key=key,
            spill=self.spilled.append if spills else None,
        )
        self.spills = spills
        self.number = 0
        self.accepted = 0
        self.got: list[int] = []
        self.marked = 0
        self.last_was_mark = False
        self.line: deque[Putter] = deque()

    @rule()
    def offer(self):
        self.number += 1
        item = self.number
        refused = self.box.offer(item)
        if refused is not None:
            assert isinstance(self.box, BlockMailbox)
            self.line.append(self.box.line_up(item, self.loop.create_future()))
        elif not self.box.sealed:
            self.accepted += 1

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
            self.line.popleft()
            self.accepted += 1

    @precondition(lambda self: self.box.items)
    @rule()
    def take(self):
        self.take_note(self.box.take())
        self.settle_line()

    @rule()
    def take_all(self):
        items = self.box.take_all()
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
            waiting = len(self.line)
            self.box.close()
            if self.spills:  # what waited in line is kept, too
                self.accepted += waiting
            self.line.clear()

    @invariant()
    def the_law_holds(self):
        statistics = self.box.statistics()
        assert statistics.accepted == self.accepted
        assert statistics.delivered == len(self.got)
        assert statistics.accepted == (
            statistics.delivered + statistics.dropped + statistics.spilled + statistics.pending
        )
        assert 0 <= statistics.pending <= self.maxsize
        assert statistics.pending <= statistics.high_water <= self.maxsize
        assert statistics.waiting_publishers == len(self.line)
        assert self.marked <= statistics.dropped + statistics.spilled
        if self.policy == "block" and not self.box.closed:
            assert statistics.dropped == statistics.spilled == 0
        if self.spills:
            assert statistics.spilled == len(self.spilled)
            assert statistics.superseded == statistics.dropped

    def teardown(self):
        if hasattr(self, "loop"):
            self.loop.close()


TestMailbox = MailboxMachine.TestCase
TestMailbox.settings = settings(max_examples=150, stateful_step_count=40)
