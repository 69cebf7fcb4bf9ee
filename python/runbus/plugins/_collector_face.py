"""A collector as a plugin of the kernel: sampled on its interval."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from runbus._revealed import unrevealed
from runbus.errors import FieldInvalid, InvalidPlugin, MailboxFull
from runbus.events import TextLogged
from runbus.plugins._batches import batch_of
from runbus.plugins._blocking import failing_as, is_final
from runbus.plugins._flat_sample import flatten
from runbus.plugins._sink_face import Opened

if TYPE_CHECKING:
    from runbus.abc import Collector, Scope
    from runbus.plugins._flat_sample import FlatSample

__all__ = ["CollectorFace", "SampledRun"]

logger = logging.getLogger("runbus.plugins")


class SampledRun(Protocol):
    """What a collector needs of a run to log into it."""

    def log(self, values: dict[str, float], /) -> object:
        """Log numbers by name."""
        ...

    def log_text(self, name: str, text: str, /) -> object:
        """Log a text."""
        ...


class CollectorFace:
    """Asks a collector for samples, and puts them where metrics go.

    Without a run, numbers are emitted as a `MetricBatch` without a run, whose writer is the
    collector, and texts published as `TextLogged`. With one, they are logged into it: who follows
    the run puts them on the bus with the rest. Names begin with the collector's. A text is told
    when it is new or has changed.

    Args:
        collector: The collector.
        run: The run to log into; none if None.

    Attributes:
        name: The collector's name.
        requires: The plugins that it requires.
        samples: How many samples there were.
        failed: How many failed, or took too long.
        refused: How many did not reach every reader, because one did not make room.
        left_out: How many values were left out of samples that held too much.
        error: The last error; empty after a success.
    """

    def __init__(self, collector: Collector, run: SampledRun | None = None) -> None:
        if not collector.name:
            raise InvalidPlugin(type(collector).__qualname__, "is a collector without a name")
        self.name = collector.name
        self.requires = tuple(collector.requires)
        self.collector = collector
        self.samples = self.failed = self.refused = self.left_out = 0
        self.error = ""
        self._run = run
        self._texts: dict[str, str] = {}

    async def setup(self, scope: Scope) -> None:
        """Open the collector, and ask it until the plugin closes."""
        await scope.enter(Opened(self.name, self._open, self._close))
        check_seconds("interval_s", self.collector.interval_s)
        check_seconds("timeout_s", self.collector.timeout_s)
        scope.start(self._sample_all, scope, name="samples")

    async def _open(self) -> None:
        with failing_as(self.name, "open"):
            await self.collector.open()

    async def _close(self) -> None:
        with failing_as(self.name, "close"):
            await self.collector.close()

    async def _sample_all(self, scope: Scope) -> None:
        every_s = self.collector.interval_s
        next_s = time.monotonic()
        while not scope.stopping:
            await self._sample(scope)
            # One that took longer than the interval is not followed by several at once.
            next_s = max(next_s + every_s, time.monotonic())
            with anyio.move_on_after(next_s - time.monotonic()):
                await scope.wait_stopping()

    async def _sample(self, scope: Scope) -> None:
        try:
            with anyio.fail_after(self.collector.timeout_s):
                sample = await self.collector.collect()
            flat = flatten(_checked(sample), self.name)
        except Exception as error:
            if is_final(error):
                raise  # and the plugin has failed
            self._note(error)
            return
        self.samples += 1
        self.left_out += flat.left_out
        self.error = ""
        texts = {name: text for name, text in flat.texts.items() if self._texts.get(name) != text}
        self._texts = flat.texts
        if self._run is not None:
            self._log(self._run, flat.numbers, texts)
        else:
            await self._emit(scope, flat, texts)

    def _log(self, run: SampledRun, numbers: dict[str, float], texts: dict[str, str]) -> None:
        if numbers:
            run.log(numbers)
        for name, text in texts.items():
            run.log_text(name, text)

    async def _emit(self, scope: Scope, flat: FlatSample, texts: dict[str, str]) -> None:
        now_ns, step = time.time_ns(), self.samples - 1
        if flat.numbers:
            points = ((name, value, step, now_ns) for name, value in flat.numbers.items())
            try:
                scope.bus.emit_nowait(batch_of(points, "", self.name))
            except MailboxFull:
                self.refused += 1
        for name, text in texts.items():
            await scope.bus.publish(
                TextLogged(
                    run_id="",
                    experiment_id="",
                    job=self.name,
                    time_ns=now_ns,
                    name=name,
                    step=step,
                    text=text,
                )
            )

    def _note(self, error: BaseException) -> None:
        self.failed += 1
        text = unrevealed(f"{type(error).__name__}: {error}")
        if text != self.error:
            logger.warning("plugin %r: no sample: %s", self.name, text)
        self.error = text

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell what became of the samples, and what the collector says itself."""
        well, details = await self.collector.health()
        told = ("samples", "failed", "refused", "left_out", "error")
        return well and not self.error, {**{name: getattr(self, name) for name in told}, **details}


def check_seconds(field: str, value: Any) -> None:
    """Refuse what is no number of seconds above zero.

    Raises:
        FieldInvalid: It is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise FieldInvalid(field, repr(value)[:80], "is no number of seconds above zero")


def _checked(sample: object) -> Mapping[str, Any]:
    if not isinstance(sample, Mapping):
        raise TypeError(f"collect() returned {type(sample).__name__}, not a mapping")
    return sample
