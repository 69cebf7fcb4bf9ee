"""Traces: intent before, outcome after, causes, redaction, a full disk, replay: §5.10."""

from __future__ import annotations

import asyncio
import json
import resource
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus._files import add_check
from runbus._lines import read_lines
from runbus._secrets import REDACTED
from runbus.bus import TraceWriter, read_traces
from runbus.errors import TraceError
from runbus.events import Notify, Pipeline, Sensitive, Stream, Teardown, TraceStopped
from runbus.kernel import Kernel, causes, mentions, read_trace, replay
from runbus.testing import FakeClock, FakePlugin


class Asked(Notify, frozen=True, tag="trace-test.asked"):
    run_id: str = ""
    token: Sensitive[str] = ""


class Answered(Notify, frozen=True, tag="trace-test.answered"):
    run_id: str = ""


class Points(Stream, frozen=True, tag="trace-test.points"):
    values: bytes = b""


class Readings(Stream, frozen=True, tag="trace-test.readings"):
    pass


class Ended(Teardown, frozen=True, tag="trace-test.ended"):
    pass


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


def test_much_is_written_at_once_and_the_rest_when_the_trace_is_closed(tmp_path):
    path = tmp_path / "trace"
    writer = TraceWriter(path, FakeClock())
    writer.intent(1, 0, Asked("x" * 300_000), "")
    assert [event.seq for event in read_trace(path)] == [1]

    writer.intent(2, 0, Asked("y"), "")
    assert [event.seq for event in read_trace(path)] == [1]
    writer.close()
    assert [event.seq for event in read_trace(path)] == [1, 2]


async def test_a_full_disk_ends_the_trace_and_nothing_else(tmp_path):
    seen = FakePlugin("seen", {TraceStopped: None, Asked: None})
    clock = FakeClock()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with Kernel(plugins=[seen], trace=tmp_path / "trace", timers=clock) as kernel:
        await clock.advance(1)
        size = (tmp_path / "trace").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            await kernel.bus.publish(Asked("one"))
            await clock.advance(1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await kernel.bus.publish(Asked("two"))
        await clock.advance(1)
        assert kernel.bus._taps.present == ()

    kinds = [type(event).__name__ for event in seen.seen]
    assert kinds == ["Asked", "TraceStopped", "Asked"]
    assert "File too large" in seen.seen[1].error
    assert seen.seen[1].path == str(tmp_path / "trace")
    # What was written before is whole.
    assert not read_trace(tmp_path / "trace").damage


async def test_a_trace_is_extended_and_read_from_the_last_process_on(tmp_path):
    path = tmp_path / "trace"
    await make(path)
    first = read_trace(path)
    path.write_bytes(path.read_bytes() + b'{"torn')
    await make(path)

    second = read_trace(path)
    assert len(second) == len(first)
    assert second[0].seq > first[-1].seq


async def test_a_writer_that_wakes_up_late_does_not_get_into_the_trace_of_the_next(tmp_path):
    path, clock = tmp_path / "trace", FakeClock()
    former = TraceWriter(path, clock)
    former.intent(1, 0, Asked("old"), "")
    former.flush()
    latter = TraceWriter(path, clock)
    latter.intent(1, 0, Asked("new"), "")
    latter.flush()
    former.outcome(1, "error", [])
    former.intent(2, 0, Asked("late"), "")
    former.close()
    latter.outcome(1, "ok", [])
    latter.close()

    told = [
        [(event.seq, event.event["run_id"], event.status) for event in trace]
        for trace in read_traces(path)
    ]
    assert told == [[(1, "old", "error"), (2, "late", "")], [(1, "new", "ok")]]
    assert [event.event["run_id"] for event in read_trace(path)] == ["new"]


@pytest.mark.parametrize("text", [b"hello\nworld\n", b'{"at":"intent"}\n', b"[]\n"])
def test_what_is_no_trace_is_refused(tmp_path, text):
    path = tmp_path / "trace"
    path.write_bytes(text)

    with pytest.raises(TraceError, match="line"):
        read_trace(path)
    with pytest.raises(TraceError, match="no such file"):
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
    lines = [line.replace(b"trace-test.sum", b"gone.sum") for line in read_lines(path)]
    path.write_bytes(b"".join(add_check(line) + b"\n" for line in lines))
    async with Kernel() as kernel:
        result = await replay(path, kernel)

    assert [tag for _, tag, _ in result.skipped if tag == "gone.sum"] == ["gone.sum"]


async def test_what_is_left_out_of_a_replay_is_told_and_the_rest_is_fed(tmp_path):
    path = tmp_path / "trace"
    async with Kernel(plugins=[FakePlugin("q", {Sum: adds(1)})], trace=path) as kernel:
        await kernel.bus.apply(Sum(1))
        await kernel.bus.publish(Odd(1))
        await kernel.bus.teardown(Ended(), 120)
        await kernel.bus.publish(Asked())
    lines = [
        line.replace(b"trace-test.sum", b"gone.sum").replace(b"trace-test.odd", b"gone.odd")
        for line in read_lines(path)
    ]
    path.write_bytes(b"".join(add_check(line) + b"\n" for line in lines))
    async with Kernel() as kernel:
        result = await replay(path, kernel)
        assert kernel.bus._taps.present == ()

    assert result.fed == 1
    assert [tag for _, tag, _ in result.skipped] == [
        "gone.sum", "plugin.gone.odd", "trace-test.ended",
    ]  # fmt: skip
    assert "gone.sum" in result.skipped[0][2]
    assert result.skipped[2][2] == "it is neither notification nor request"


async def test_a_difference_tells_what_was_and_what_is_line_by_line(tmp_path):
    path = tmp_path / "trace"
    async with Kernel(plugins=[telling()], trace=path) as kernel:
        await kernel.bus.publish(Asked("run-7"))
    async with Kernel(plugins=[telling(Points)]) as kernel:
        same = await replay(path, kernel)
    async with Kernel(plugins=[telling(Answered, fails=True)]) as kernel:
        (difference,) = (await replay(path, kernel)).differences

    assert same.differences == ()
    (root,) = [event for event in read_trace(path) if event.type == "trace-test.asked"]
    assert (difference.seq, difference.type) == (root.seq, "trace-test.asked")
    assert difference.recorded == (
        "trace-test.asked ok",
        f"- p: {TELLS} ok",
        "  trace-test.answered ok",
        "  - p: FakePlugin._note ok",
    )
    assert difference.replayed == (
        "trace-test.asked error",
        f"- p: {TELLS} error: ValueError: no",
        "  trace-test.answered ok",
        "  - p: FakePlugin._note ok",
        "  trace-test.answered ok",
        "  - p: FakePlugin._note ok",
        "  handler.failed ok",
    )


TELLS = "telling.tell"


def telling(*more, fails=False):
    async def tell(event):
        await plugin.scope.bus.publish(Answered())
        for cls in more:
            await getattr(plugin.scope.bus, cls.kind.verb)(cls())
        if fails:
            raise ValueError("no")

    plugin = FakePlugin("p", {Asked: tell, Answered: None})
    return plugin


async def test_how_an_event_ended_is_not_compared_if_an_absent_plugin_had_a_part_in_it(tmp_path):
    path = tmp_path / "trace"

    async def fails(event):
        raise ValueError("no")

    plugins = [FakePlugin("p", {Asked: fails}), FakePlugin("q", {Asked: None})]
    async with Kernel(plugins=plugins, trace=path) as kernel:
        await kernel.bus.publish(Asked())
    async with Kernel(plugins=[FakePlugin("q", {Asked: None})]) as kernel:
        result = await replay(path, kernel)

    assert (result.absent, result.differences) == (("p",), ())


async def test_handlers_of_the_application_are_compared_if_it_has_some(tmp_path):
    path = tmp_path / "trace"
    async with Kernel(trace=path) as kernel:
        kernel.bus.on(Asked, print)
        await kernel.bus.publish(Asked())
    async with Kernel() as kernel:
        kernel.bus.on(Answered, print)
        result = await replay(path, kernel)

    assert result.absent == ()
    (difference,) = result.differences
    assert difference.recorded == ("trace-test.asked ok", "- application: print ok")
    assert difference.replayed == ("trace-test.asked ok",)


async def test_the_file_is_made_of_json_lines(tmp_path):
    path = tmp_path / "trace"
    await make(path)

    records = [json.loads(line) for line in path.read_text().splitlines() if line]
    assert records[0]["at"] == "begin"
    assert {record["at"] for record in records[1:]} == {"intent", "outcome"}
    assert all(record["seq"] for record in records[1:])


class Odd(Notify, frozen=True, tag="plugin.trace-test.odd"):
    value: Any = None


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    ["\ud800", {(1, 2): "x"}, Unprintable(), {"\udfff": [Unprintable()]}, 1 << 70, {1, "a"}],
    ids=["surrogate", "tuple-key", "repr", "nested", "large", "set"],
)
async def test_an_event_is_in_the_trace_whatever_it_holds(tmp_path, value):
    path = tmp_path / "trace"
    async with Kernel(plugins=[FakePlugin("p", {Odd: None})], trace=path) as kernel:
        await kernel.bus.publish(Odd(value))
        await kernel.bus.publish(Asked("run-7"))
    events = read_trace(path)

    assert [event.status for event in events if event.type == "plugin.trace-test.odd"] == ["ok"]
    assert mentions(events, "run-7")


async def test_what_a_task_of_a_plugin_emits_or_publishes_has_the_plugin_as_its_origin(tmp_path):
    path = tmp_path / "trace"

    async def reads(points):
        async for _ in points:
            await plugin.scope.bus.publish(Answered("from a reader"))
            await plugin.scope.bus.emit(Readings())
            return

    async def starts(event):
        await plugin.scope.bus.emit(Points(b"x"))

    plugin = FakePlugin("reader", {Asked: starts})
    async with Kernel(plugins=[plugin], trace=path) as kernel:
        task = plugin.scope.start(reads, plugin.scope.stream(Points))
        await kernel.bus.publish(Asked())
        await task
    by_type = {event.type: event for event in read_trace(path)}

    assert by_type["trace-test.points"].origin == "reader"
    assert by_type["trace-test.answered"].origin == "reader"
    assert by_type["trace-test.readings"].origin == "reader"
    assert by_type["trace-test.readings"].parent == by_type["trace-test.points"].seq


async def test_events_of_streams_are_written_whole_where_asked(tmp_path):
    path = tmp_path / "trace"
    async with Kernel(trace=path, trace_payloads=True) as kernel:
        await kernel.bus.emit(Points(b"abc"))
    (points,) = [event for event in read_trace(path) if event.type == "trace-test.points"]

    assert points.event == {"type": "trace-test.points", "values": "YWJj"}


async def test_events_of_users_whose_tags_look_like_ours_are_fed(tmp_path):
    path = tmp_path / "trace"
    async with Kernel(plugins=[FakePlugin("p", {Odd: None})], trace=path) as kernel:
        await kernel.bus.publish(Odd(1))
    async with Kernel(plugins=[FakePlugin("p", {Odd: None})]) as kernel:
        result = await replay(path, kernel)

    assert result.fed == 1


@given(st.integers(0, 1 << 20))
async def test_no_damage_of_a_trace_is_silent_and_the_rest_is_read(tmp_path_factory, bit):
    path = tmp_path_factory.mktemp("trace") / "trace"
    await make(path)
    whole = read_trace(path)
    content = bytearray(path.read_bytes())
    bit %= 8 * len(content)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    read = read_trace(path)

    assert read.damage or read == whole
    assert len(read) >= len(whole) - 2  # the end of a line is shared by two
    if not read.damage:
        return
    intact = {event.seq: event for event in whole}
    assert all(event == intact[event.seq] or not event.status for event in read)
