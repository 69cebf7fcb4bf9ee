"""Traces: intent before, outcome after, causes, redaction, a full disk, replay: §5.10."""

from __future__ import annotations

import asyncio
import json

import pytest

from runbus._secrets import REDACTED
from runbus.errors import TraceError
from runbus.events import Notify, Pipeline, Sensitive, Stream, TraceStopped
from runbus.kernel import Kernel, causes, mentions, read_trace, replay
from runbus.testing import FakeClock, FakePlugin


class Asked(Notify, frozen=True, tag="trace-test.asked"):
    run_id: str = ""
    token: Sensitive[str] = ""


class Answered(Notify, frozen=True, tag="trace-test.answered"):
    run_id: str = ""


class Points(Stream, frozen=True, tag="trace-test.points"):
    values: bytes = b""


class Sum(Pipeline[int], frozen=True, tag="trace-test.sum"):
    pass


def answering(fails=False):
    async def answer(event):
        if fails:
            raise ValueError("changed its mind")
        await plugin.scope.bus.publish(Answered(event.run_id))

    plugin = FakePlugin("p", {Asked: answer, Answered: None})
    return plugin


def adds(number):
    async def add(event):
        return event.value + number

    return add


async def make(path, number=1, fails=False):
    async with Kernel(
        plugins=[answering(fails), FakePlugin("q", {Sum: adds(number)})], trace=path
    ) as kernel:
        await kernel.bus.publish(Asked("run-7", "s3cret"))
        await kernel.bus.emit(Points(b"x" * 5000))
        await kernel.bus.apply(Sum(1))


async def test_every_event_is_there_with_its_cause_and_outcome(tmp_path):
    path = tmp_path / "trace"
    await make(path)
    events = read_trace(path)
    by_type = {event.type: event for event in events}
    asked, answered = by_type["trace-test.asked"], by_type["trace-test.answered"]

    assert [e.seq for e in events] == sorted(e.seq for e in events)
    assert {event.status for event in events} == {"ok"}
    assert (answered.parent, answered.origin) == (asked.seq, "p")
    assert [handler.verdict for handler in asked.handlers] == ["ok"]
    assert causes(events, answered.seq) == [asked, answered]
    assert mentions(events, "run-7") == [asked, answered]
    assert by_type["trace-test.points"].event["bytes"] > 5000
    assert "kernel.shutdown" in by_type


async def test_what_is_sensitive_is_not_in_the_file(tmp_path):
    path = tmp_path / "trace"
    await make(path)

    assert b"s3cret" not in path.read_bytes()
    assert REDACTED.encode() in path.read_bytes()


async def test_the_intent_is_on_disk_before_a_crash_and_has_no_outcome(tmp_path):
    path = tmp_path / "trace"
    clock = FakeClock()

    async def hangs(event):
        await asyncio.Event().wait()

    async with Kernel(plugins=[FakePlugin("p", {Asked: hangs})], trace=path, timers=clock) as k:
        task = asyncio.create_task(k.bus.publish(Asked("run-7")))
        await clock.advance(0.6)
        cut = path.read_bytes()
        task.cancel()
        await asyncio.wait([task])
    crashed = tmp_path / "crashed"
    crashed.write_bytes(cut + b'{"at":"inte')

    assert read_trace(crashed)[-1].status == ""
    assert next(e for e in read_trace(path) if e.type == "trace-test.asked").status == "cancelled"


async def test_an_error_is_written_at_once(tmp_path):
    path = tmp_path / "trace"

    async def breaks(event):
        raise ValueError("no")

    async with Kernel(plugins=[FakePlugin("p", {Asked: breaks})], trace=path) as kernel:
        await kernel.bus.publish(Asked())
        event = next(e for e in read_trace(path) if e.type == "trace-test.asked")

    assert event.status == "error"
    assert event.handlers[0].verdict == "error: ValueError: no"


async def test_a_full_disk_ends_the_trace_and_nothing_else(caplog):
    seen = FakePlugin("seen", {TraceStopped: None, Asked: None})
    clock = FakeClock()
    async with Kernel(plugins=[seen], trace="/dev/full", timers=clock) as kernel:
        await kernel.bus.publish(Asked("one"))
        await clock.advance(1)
        await kernel.bus.publish(Asked("two"))
        await clock.advance(1)

    kinds = [type(event).__name__ for event in seen.seen]
    assert kinds == ["Asked", "TraceStopped", "Asked"]
    assert "No space left" in seen.seen[1].error


async def test_a_trace_is_extended_and_read_from_the_last_process_on(tmp_path):
    path = tmp_path / "trace"
    await make(path)
    first = read_trace(path)
    path.write_bytes(path.read_bytes() + b'{"torn')
    await make(path)

    second = read_trace(path)
    assert len(second) == len(first)
    assert second[0].seq > first[-1].seq


@pytest.mark.parametrize("text", [b"hello\nworld\n", b'{"at":"intent"}\n', b"[]\n"])
def test_what_is_no_trace_is_refused(tmp_path, text):
    path = tmp_path / "trace"
    path.write_bytes(text)

    with pytest.raises(TraceError, match="line 1"):
        read_trace(path)
    with pytest.raises(TraceError, match="No such file"):
        read_trace(tmp_path / "nothing")


async def test_a_replay_of_the_same_plugins_has_no_differences(tmp_path):
    path = tmp_path / "trace"
    await make(path)
    async with Kernel(plugins=[answering(), FakePlugin("q", {Sum: adds(1)})]) as kernel:
        result = await replay(path, kernel)

    assert result.fed == 2
    assert result.differences == ()
    assert result.absent == ()
    assert [one[1:] for one in result.skipped] == [("trace-test.points", "streams are left out")]


async def test_a_replay_shows_what_goes_another_way(tmp_path):
    path = tmp_path / "trace"
    await make(path)
    async with Kernel(plugins=[answering(fails=True), FakePlugin("q", {Sum: adds(1)})]) as kernel:
        (difference,) = (await replay(path, kernel)).differences

    assert difference.type == "trace-test.asked"
    assert "trace-test.asked ok" in difference.recorded[0]
    assert any("changed its mind" in line for line in difference.replayed)


async def test_a_replay_does_not_compare_plugins_that_are_absent(tmp_path):
    path = tmp_path / "trace"
    async with Kernel(plugins=[answering(), FakePlugin("q", {Sum: adds(1)})], trace=path) as kernel:
        kernel.bus.on(Asked, lambda event: None)
        await kernel.bus.publish(Asked("run-7"))
        await kernel.bus.apply(Sum(1))
    async with Kernel(plugins=[FakePlugin("q", {Sum: adds(1)})]) as kernel:
        same = await replay(path, kernel)
    async with Kernel(plugins=[FakePlugin("q", {Sum: adds("text")})]) as kernel:
        other = await replay(path, kernel)

    assert (same.fed, same.differences) == (2, ())
    assert same.absent == other.absent == ("application", "p")
    assert [difference.type for difference in other.differences] == ["trace-test.sum"]


async def test_a_replay_leaves_out_what_it_does_not_know(tmp_path):
    path = tmp_path / "trace"
    await make(path)
    lines = path.read_text().replace("trace-test.sum", "gone.sum")
    path.write_text(lines)
    async with Kernel() as kernel:
        result = await replay(path, kernel)

    assert [tag for _, tag, _ in result.skipped if tag == "gone.sum"] == ["gone.sum"]


async def test_the_file_is_made_of_json_lines(tmp_path):
    path = tmp_path / "trace"
    await make(path)

    records = [json.loads(line) for line in path.read_text().splitlines() if line]
    assert {record["at"] for record in records} == {"intent", "outcome"}
    assert all(record["seq"] for record in records)
