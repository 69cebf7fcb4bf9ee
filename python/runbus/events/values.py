"""What a job may ask for besides its task: a share of a machine, time-outs, further attempts.

Each is defined here once, with its limits: what a batch file, a job in Python, a spec on disk and a
fact in the journal may hold is the same.
"""

from __future__ import annotations

import functools
import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec.structs import fields, force_setattr

from runbus.errors import FieldInvalid

__all__ = [
    "BOUND",
    "CONDITIONS",
    "HUNDRED_YEARS_S",
    "PATIENCE",
    "RETRY_CAUSES",
    "ArtifactLimits",
    "Condition",
    "Dependency",
    "EarlyStop",
    "Resources",
    "RetryCause",
    "RetryPolicy",
    "Timeouts",
]

HUNDRED_YEARS_S = 36_525 * 86_400

# More than a hundred years is a mistake, and in the end more than the shell's sleep can take.
_Seconds = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=HUNDRED_YEARS_S,
        extra={"hint": "write whole seconds, at most a hundred years: 300 for five minutes"},
    ),
]
_ExitCode = Annotated[int, msgspec.Meta(ge=1, le=255)]

RetryCause = Literal["exit", "signal", "oom", "timeout", "lost", "preempted", "start"]
"""Why an attempt did not succeed: it exited with a status, a signal ended it, it took more memory
than there was, it reached a time limit, it vanished without a record, its machine was taken away,
or it could not be started.
"""

RETRY_CAUSES: tuple[RetryCause, ...] = get_args(RetryCause)


Condition = Literal["afterok", "afterany", "afternotok"]
"""How a job must have ended for one that depends on it to run: with success, in any way, or without
success although it was to run. The words are those of Slurm's `--dependency`.
"""

CONDITIONS: tuple[Condition, ...] = get_args(Condition)


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Checks its fields against their annotations, also where no decoder does."""

    def __post_init__(self) -> None:
        for name, default, shape in _checks(type(self)):
            given = getattr(self, name)
            # Most values are the default, though not the same object where they were decoded.
            if given is default or (type(given) is type(default) and given == default):
                continue
            try:
                force_setattr(self, name, msgspec.convert(given, shape))
            except msgspec.ValidationError as error:
                hint = hint_of(shape)
                raise FieldInvalid(name, repr(given), worded(str(error), hint), hint) from None


class Resources(_Value, frozen=True, kw_only=True):
    """Which share of a machine a job gets.

    Attributes:
        gpus: How many GPUs it needs for itself.
        cpus: The processors it may run on, such as `0-3,6`; all if empty.
        nice: How much it yields to others, from 0 to 19.

    Raises:
        FieldInvalid: A field is of another type, or out of range.
    """

    gpus: Annotated[int, msgspec.Meta(ge=0, extra={"hint": "write how many"})] = 0
    cpus: Annotated[
        str,
        msgspec.Meta(pattern=r"^[0-9,:-]*$", extra={"hint": "write as `taskset -c` does: 0-3,6"}),
    ] = ""
    nice: Annotated[int, msgspec.Meta(ge=0, le=19, extra={"hint": "write 0 to 19"})] = 0


class Timeouts(_Value, frozen=True, kw_only=True):
    """How long a job may take, in whole seconds; each is None for no limit.

    Attributes:
        run_s: Seconds that an attempt may run before it is ended, as TIMEOUT.
        queue_s: Seconds from its submission to its start.
        idle_s: Seconds that it may run without a byte of output.

    Raises:
        FieldInvalid: A field is of another type, or out of range.
    """

    run_s: _Seconds | None = None
    queue_s: _Seconds | None = None
    idle_s: _Seconds | None = None

    def or_else(self, others: Timeouts) -> Timeouts:
        """Return these, and those of `others` where these say nothing."""
        return Timeouts(
            **{
                name: getattr(others if mine is None else self, name)
                for name in self.__struct_fields__
                for mine in [getattr(self, name)]
            }
        )


class RetryPolicy(_Value, frozen=True, kw_only=True):
    """After which ends a job gets another attempt, and when.

    Attributes:
        retries: How many more attempts it gets at the most.
        on: After what it gets one: causes, and exit codes as numbers; any of them if absent.
        backoff_s: Seconds before the second attempt, at most a year; doubled for each one after.

    Raises:
        FieldInvalid: A field is of another type, or out of range.
    """

    retries: Annotated[int, msgspec.Meta(ge=0, le=1000, extra={"hint": "write 0 to 1000"})] = 0
    on: Annotated[
        tuple[RetryCause | _ExitCode, ...],
        msgspec.Meta(extra={"hint": f"list {', '.join(RETRY_CAUSES)}, or exit codes"}),
    ] = RETRY_CAUSES
    backoff_s: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=31_536_000, extra={"hint": "write seconds, at most a year: 0.5, or 60"}
        ),
    ] = 1.0


class Dependency(_Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one job waits for: the end of another.

    Attributes:
        job: The other's name.
        when: How it must have ended; if it ends otherwise, the job that depends on it is SKIPPED.
        experiment: Which experiment the other is of, finished or not, by its id or project; the
            same if empty.

    Raises:
        FieldInvalid: A field is of another type, or there is no such condition.
    """

    job: Annotated[str, msgspec.Meta(min_length=1, extra={"hint": "write the name of a job"})]
    when: Annotated[Condition, msgspec.Meta(extra={"hint": f"write {', '.join(CONDITIONS)}"})] = (
        "afterok"
    )
    experiment: Annotated[str, msgspec.Meta(extra={"hint": "write an id or a project"})] = ""

    @property
    def parent(self) -> tuple[str, str]:
        """The experiment of the other, empty for the same, and its name."""
        return self.experiment, self.job

    def __str__(self) -> str:
        of = f" of {self.experiment}" if self.experiment else ""
        return f"{self.job}{of}" + (f" ({self.when})" if self.when != "afterok" else "")


BOUND = (
    r"([^\s<>]+)(?:\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|\s+is nan)"
    r"(?:\s+after\s+(\d{1,18}))?"
)
"""A rule that ends a job: `val/loss > 3 after 500`, `loss is nan`."""

PATIENCE = r"(min|max):(\S+)\s+for\s+(\d{1,18})"
"""A rule that ends a job: `min:val/loss for 500`."""

_RULE = re.sub(r"\((?!\?)", "(?:", BOUND)


class EarlyStop(_Value, frozen=True, kw_only=True):
    """When a job is to end early, by what its run logs: it is CANCELLED then, and counts as done.

    Attributes:
        stop_when: A value that a metric must not have: `val/loss > 3 after 500` (from step 500 on),
            `loss is nan`; several with `or` between them. Empty for none.
        patience: How many steps a metric may take to surpass its best value: `min:val/loss for
            500`, or `max:…`. Empty for any number.

    Raises:
        FieldInvalid: A field is no such rule.
    """

    stop_when: Annotated[
        str,
        msgspec.Meta(
            pattern=rf"^(?:{_RULE}(?:\s+or\s+{_RULE})*)?$",
            extra={"hint": "write a metric and a bound: val/loss > 3 after 500, or loss is nan"},
        ),
    ] = ""
    patience: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(?:(?:min|max):\S+\s+for\s+\d{1,18})?$",
            extra={"hint": "write the best of a metric and steps: min:val/loss for 500"},
        ),
    ] = ""

    @property
    def goal(self) -> str:
        """What is best, as `patience` says it: `min:val/loss`; empty if it says nothing."""
        return self.patience.rpartition(" for ")[0].strip()

    def __bool__(self) -> bool:
        """Whether there is a rule."""
        return bool(self.stop_when or self.patience)


class ArtifactLimits(_Value, frozen=True, kw_only=True):
    """How much is kept of what an attempt leaves where it worked.

    Attributes:
        files: How many files at the most.
        size_bytes: How many bytes they may have together.

    Raises:
        FieldInvalid: A field is of another type, or out of range.
    """

    files: Annotated[int, msgspec.Meta(ge=1, le=10**7, extra={"hint": "write 1 to 10000000"})] = (
        10_000
    )
    size_bytes: Annotated[
        int, msgspec.Meta(ge=1, le=1 << 60, extra={"hint": "write bytes, at most an EiB"})
    ] = 100 << 30


INVALID_FORM = "the text has an invalid form"
"""What is said of a text that does not match a pattern, where a hint says what to write."""


@functools.cache
def _checks(value: type[_Value]) -> list[tuple[str, object, Any]]:
    return [(field.name, field.default, field.type) for field in fields(value)]


def worded(text: str, hint: str | None = None) -> str:
    """Bring msgspec's message into the form of ours, without its own word on where that is.

    Args:
        text: The message.
        hint: What is advised with it: then nobody has to read a pattern.
    """
    text = re.sub(r" - at `(key` in `)?\$.*$", "", text).replace("`", "")
    text = re.sub("^Object missing required field (.+)$", r"the field '\1' is missing", text)
    text = re.sub(r"\barray\b", "list", re.sub(r"\bobject\b", "mapping", text))
    pattern = INVALID_FORM if hint else r"the text does not match the pattern \1"
    text = re.sub(r"^Expected str matching regex ('.*')$", pattern, text, flags=re.DOTALL)
    text = text.replace(f"<= {HUNDRED_YEARS_S}", f"<= {HUNDRED_YEARS_S}, a hundred years")
    return text[:1].lower() + text[1:]


def hint_of(shape: Any) -> str | None:
    """Return what the annotation of a field advises; None if it says nothing."""
    options = (shape, *getattr(shape, "__args__", ()))
    marks = [mark for option in options for mark in getattr(option, "__metadata__", ())]
    return next((mark.extra["hint"] for mark in marks if mark.extra), None)
