"""What is seen of the containers of jobs: one listing for all of them, renewed when one changes."""

from __future__ import annotations

import logging
import os
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import anyio
import msgspec
from msgspec.structs import replace

from runbus._files import read_file, write_file
from runbus._secrets import redacted_text
from runbus.abc import Observation
from runbus.attempt import OUT_OF_MEMORY, observe_folder, observe_start
from runbus.codec import DecodeError, decode_json, encode_json
from runbus.errors import FileUnreadable, HostError
from runbus.executors._docker_words import demultiplexed

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.abc import Phase
    from runbus.executors._docker_engine import Engine
    from runbus.executors._docker_words import Listed, State

__all__ = ["Placed", "Watch", "observe_records", "read_placed", "write_placed"]

T = TypeVar("T")

logger = logging.getLogger("runbus.executors")

PLACED, ENDED = "container.json", "engine.json"
"""The files of an attempt's folder that tell which container it is, and how the engine saw its end
where the wrapper could not tell."""

_LOOK_S, _BEGIN_S, _DEAF_S, _RETRY_S = 30.0, 0.03, 1.0, 5.0
"""How often to look: without any event; at a job that is about to begin; where no events are heard;
after a failure, at most."""

_YOUNG_S = 20.0
_NO_FOLDER = {75, 111}
"""What the wrapper exits with where it cannot enter the attempt's folder, or write there."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """Which container an attempt is: written before the engine is asked for it.

    Attributes:
        engine: The engine's socket.
        name: The container's name.
        is_kept: Whether it stays when it has ended, until what it left has been collected.
    """

    engine: str
    name: str
    is_kept: bool = False


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended whose wrapper could not tell: killed with its container, or never begun."""

    exit_code: int | None
    signal: int | None
    reason: str
    ended_ns: int


def read_placed(folder: str) -> Placed | None:
    """Return which container an attempt is; None if it was not sent to an engine."""
    return _read(os.path.join(folder, PLACED), Placed)


def write_placed(folder: str, placed: Placed) -> None:
    """Write which container an attempt is to be."""
    write_file(os.path.join(folder, PLACED), encode_json(placed), is_durable=False)


def _read(path: str, shape: type[T]) -> T | None:
    try:
        return decode_json(read_file(path, limit=64 << 10), shape)
    except (FileNotFoundError, FileUnreadable, DecodeError, OSError):
        return None


def observe_records(folder: str) -> Observation | None:
    """Return what an attempt's records say: the wrapper's, else what was noted of the engine's."""
    seen = observe_folder(folder)
    if seen is not None and seen.phase == "ended":
        return seen
    ended = _read(os.path.join(folder, ENDED), EngineRecord)
    if ended is None:
        return seen
    return replace(
        seen or Observation(phase="ended"),
        phase="ended",
        ended_ns=ended.ended_ns,
        exit_code=ended.exit_code,
        signal=ended.signal,
        reason=ended.reason,
        evidence=ENDED,
    )


class Followed(NamedTuple):
    """A job that has not ended, as far as is known.

    Attributes:
        name: Its container.
        since: The number of the first listing that can have it.
        began: When it was first followed, by a clock that is never set.
    """

    name: str
    since: int
    began: float


class Watch:
    """Looks at the containers of an engine, in one task of its own.

    Args:
        engine: The engine.
        changed: Called when something may be new.
        settled: Called with the folder of an attempt whose end only the engine could tell.
    """

    def __init__(
        self, engine: Engine, changed: Callable[[], None], settled: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._changed = changed
        self._settled = settled
        self._followed: dict[str, Followed] = {}
        self._over: dict[str, str] = {}
        self._gone: set[str] = set()
        self._touched: set[str] = set()
        self._listing: dict[str, Listed] | None = None
        self._number = 0
        self._wake = anyio.Event()
        self._is_stale = True
        self._hears = False
        self._said = ""

    def follow(self, folder: str, name: str) -> None:
        """Look at a job from now on."""
        if folder not in self._followed:
            self._followed[folder] = Followed(name, self._number + 1, time.monotonic())
            self.look_again()

    def forget(self, folder: str, name: str) -> None:
        """Look at a job no more, since its end is on record; its container is removed."""
        self._followed.pop(folder, None)
        self._gone.discard(folder)
        self._over[folder] = name
        self._wake.set()

    def leave(self, folder: str) -> None:
        """Look at a job no more, since its end is on record; its container stays."""
        self._followed.pop(folder, None)
        self._gone.discard(folder)

    def look_again(self) -> None:
        """Look at the engine now."""
        self._is_stale = True
        self._wake.set()

    def judge(self, folder: str, seen: Observation | None) -> Observation | None:
        """Return what may be told of a job that has not ended by its records; None if nothing."""
        followed = self._followed.get(folder)
        if followed is None:
            return None
        if folder in self._gone:
            return replace(seen or Observation(phase="gone"), phase="gone", evidence="inspect")
        if self._listing is None or self._number < followed.since:
            # The wrapper's own word holds until the engine says something else.
            return seen
        listed = self._listing.get(followed.name)
        state = listed.state if listed else ""
        if seen is None:
            waits: Phase = "provisioning" if state == "running" else "queued"
            return Observation(phase=waits, native_state=state, evidence="containers/json")
        if state == "paused":
            return replace(seen, phase="suspended", native_state=state)
        return seen

    async def run(self) -> None:
        """Look for as long as it is not cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, name="hear the engine")
            await self._look_for_ever()

    async def close(self, patience_s: float) -> None:
        """Remove the containers of what has ended, for so many seconds."""
        with anyio.move_on_after(patience_s, shield=True):
            try:
                await self._remove_over()
            except HostError:
                pass  # who observes their jobs next removes them

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._engine.events()) as events:
                    async for happened in events:
                        self._hears = True
                        self._changed()
                        if happened.action not in {"create", "start", "attach"}:
                            self._touched.add(happened.name)
                            self.look_again()
            except (HostError, DecodeError):
                pass  # told by who lists
            self._hears = False
            self.look_again()
            await anyio.sleep(_DEAF_S)

    async def _look_for_ever(self) -> None:
        pause = _LOOK_S
        while True:
            with anyio.move_on_after(pause):
                await self._wake.wait()
            is_due = self._wake.is_set() or pause != _BEGIN_S
            self._wake = anyio.Event()
            if self._beginning():
                self._changed()
            try:
                await self._remove_over()
                if is_due and (self._is_stale or not self._hears or pause == _LOOK_S):
                    await self._look()
                self._say("")
            except HostError as error:
                self._listing = None
                self._is_stale = True
                self._say(str(error))
                await anyio.sleep(_DEAF_S)
            pause = _BEGIN_S if self._beginning() else _LOOK_S if self._hears else _DEAF_S

    def _beginning(self) -> bool:
        """Whether a job is about to begin, so that its record is waited for."""
        now = time.monotonic()
        return any(
            now - one.began < _YOUNG_S and observe_start(folder) is None
            for folder, one in self._followed.items()
        )

    async def _look(self) -> None:
        if not self._followed:
            return
        self._is_stale = False
        self._number += 1
        number = self._number
        touched, self._touched = self._touched, set()
        listing = await self._engine.list_attempts()
        self._listing = listing
        for folder, one in [*self._followed.items()]:
            if one.since <= number:
                listed = listing.get(one.name)
                is_over = listed is None or listed.state in {"exited", "dead"}
                if is_over or one.name in touched:
                    await self._settle(folder, one.name)
        self._changed()

    async def _settle(self, folder: str, name: str) -> None:
        """Note how a job ended whose container runs no more and whose wrapper has told nothing."""
        seen = observe_records(folder)
        if seen is not None and seen.phase == "ended":
            return
        found = await self._engine.inspect(name)
        if found is None:
            self._gone.add(folder)
            self._settled(folder)
            return
        if found.state.status not in {"exited", "dead"} or not found.state.has_begun:
            return
        await note_end(self._engine, folder, name, found.state)
        self._settled(folder)

    async def _remove_over(self) -> None:
        for folder, name in [*self._over.items()]:
            await self._engine.remove(name, by_force=True)
            with suppress(OSError):
                os.unlink(os.path.join(folder, PLACED))
            self._over.pop(folder, None)

    def _say(self, told: str) -> None:
        """Report to the logger what is wrong with the engine, once until that changes."""
        if told != self._said:
            if told:
                logger.warning("%s", told)
            else:
                logger.info("unix://%s answers again", self._engine.socket)
            self._said = told


async def note_end(engine: Engine, folder: str, name: str, state: State) -> None:
    """Write down how a container ended, and what it said, where its wrapper could not.

    Raises:
        HostError: The engine does not answer.
    """
    out, err = demultiplexed(await engine.logs(name))
    with suppress(OSError):  # the disk may be full, or the job has put something else there
        _append(folder, {"stdout.log": out, "stderr.log": err})
    record = end_of(state, err or out, time.time_ns(), has_begun=observe_start(folder) is not None)
    write_file(os.path.join(folder, ENDED), encode_json(record), is_durable=False)


def _append(folder: str, logs: dict[str, bytes]) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for name, data in logs.items():
        with open(os.open(os.path.join(folder, name), flags, 0o600), "ab") as log:
            log.write(data)


def end_of(state: State, said: bytes, now_ns: int, *, has_begun: bool) -> EngineRecord:
    """Return how a job ended by what the engine says of its container.

    Args:
        state: How the container stands.
        said: What it wrote last.
        now_ns: Unix time in nanoseconds.
        has_begun: Whether the job itself had begun.
    """
    code: int | None = state.exit_code
    signal = None
    # Of the wrapper itself, which has no such codes of its own.
    if 128 < state.exit_code < 128 + 65:
        code, signal = None, state.exit_code - 128
    if state.o_o_m_killed:
        reason = f"{OUT_OF_MEMORY}: the container reached its limit"
    elif state.error:
        reason = state.error
    elif signal is not None:
        reason = f"its container was killed (signal {signal})"
    elif has_begun:
        reason = f"its container ended with {state.exit_code} and no record of the job"
    elif state.exit_code in _NO_FOLDER:
        reason = (
            "its user cannot write the folders of the job, which belong to who submits it: give "
            "the executor their owner as user, as UID:GID"
        )
    else:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        reason = f"its container ended before the job began: {last or 'it said nothing'}"
    # Whatever it was that succeeded, it was not the job, of which no exit code is known.
    return EngineRecord(
        exit_code=code or None, signal=signal, reason=redacted_text(reason[:500]), ended_ns=now_ns
    )
