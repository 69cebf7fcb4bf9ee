"""The accounting law of the inbox under any interleaving of threads, dispatches and the end."""

from __future__ import annotations

import asyncio
import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runbus.errors import BusClosed
from runbus.events import Notify, Stream
from runbus.kernel import Kernel


class Fact(Notify):
    number: int


class Tick(Stream):
    number: int


class InboxMachine(RuleBasedStateMachine):
    """Threads publish while the loop runs, stands still, or ends."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.kernel = Kernel()
        self.facts: list[int] = []
        self.taken: list[int] = []
        self.too_late = 0
        self.number = 0
        self.threads: list[threading.Thread] = []
        self.is_over = False
        self.loop.run_until_complete(self.begin())

    async def begin(self) -> None:
        await self.kernel.__aenter__()
        self.kernel.bus.on(Fact, self.note)
        self.stream = self.kernel.bus.stream(Tick, maxsize=4).open()

    async def note(self, event: Fact) -> None:
        self.facts.append(event.number)
        await asyncio.sleep(0)

    def publish(self, events: list[Fact | Tick]) -> None:
        for event in events:
            try:
                if self.kernel.bus.publish_from_thread(event, timeout=0.01):
                    self.taken.append(event.number)
            except BusClosed:
                self.too_late += 1

    @rule(kinds=st.lists(st.booleans(), min_size=1, max_size=40))
    def a_thread_publishes(self, kinds):
        events: list[Fact | Tick] = []
        for kind in kinds:
            self.number += 1
            events.append(Fact(self.number) if kind else Tick(self.number))
        thread = threading.Thread(target=self.publish, args=[events])
        thread.start()
        self.threads.append(thread)

    @rule(turns=st.integers(1, 30))
    def the_loop_runs(self, turns):
        async def run() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(run())

    @rule()
    def the_threads_end(self):
        while self.threads:
            self.threads.pop().join()

    @precondition(lambda self: not self.is_over and self.number > 20)
    @rule()
    def the_kernel_ends(self):
        self.is_over = True
        self.loop.run_until_complete(self.kernel.__aexit__(None, None, None))

    @invariant()
    def nothing_that_was_taken_is_lost(self):
        statistics = self.stream.statistics()
        assert statistics.accepted == (
            statistics.delivered + statistics.dropped + statistics.spilled + statistics.pending
        )
        if self.is_over and not self.threads:
            assert self.kernel.bus.inbox_dropped == 0
            assert len(self.facts) + statistics.accepted == len(self.taken)
            assert len(self.taken) + self.too_late == self.number

    def teardown(self):
        self.the_threads_end()
        if not self.is_over:
            self.the_kernel_ends()
        self.nothing_that_was_taken_is_lost()
        self.loop.close()


TestInbox = InboxMachine.TestCase
TestInbox.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
