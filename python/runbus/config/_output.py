"""What another job returns, where a job's value should be: known once it has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runbus._listed import listed
from runbus.config._node import Ref
from runbus.config._paths import parse_path
from runbus.errors import FieldInvalid
from runbus.events import Dependency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

__all__ = [
    "Argument",
    "Output",
    "argument_text",
    "arguments",
    "needed_for",
    "output_data",
    "output_of",
    "outputs_in",
    "outputs_of",
    "value_at",
    "with_from",
    "with_outputs",
]

FROM = "_from_"
"""The key that names the job, in the data of a configuration."""


class Output(Ref):
    """Stands for what another job returns, or for a part of that.

    As a value of a job's function or of its `env`, or as a word of its command line, it makes the
    job wait for the other to succeed, and is replaced by the value when the job is submitted.

    Args:
        job: The other job's name.
        key: Where in the result the value is, such as `best.lr` or `losses[0]`; all of it if empty.
        experiment: Which experiment the other job is of, by its id or project; the same if empty.

    Raises:
        FieldInvalid: A part of it is no text, the name is empty, or the key is no path.
    """

    __slots__ = ("experiment", "job", "key")

    def __init__(self, job: str, key: str = "", *, experiment: str = "") -> None:
        for field, given in (("job", job), ("key", key), ("experiment", experiment)):
            if not isinstance(given, str):
                raise FieldInvalid(field, repr(given), "expected a text")
        if not job:
            raise FieldInvalid("job", "''", "expected the name of a job")
        try:
            parse_path(key) if key else ()
        except ValueError as error:
            raise FieldInvalid("key", repr(key), str(error)) from None
        super().__init__(f"{job}:{key}" if key else job)
        self.job, self.key, self.experiment = job, key, experiment

    def __repr__(self) -> str:
        more = f", {self.key!r}" if self.key else ""
        more += f", experiment={self.experiment!r}" if self.experiment else ""
        return f"Output({self.job!r}{more})"

    def __str__(self) -> str:
        of = f" of {self.experiment}" if self.experiment else ""
        return f"{self.job}{of}" + (f": {self.key}" if self.key else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Output) and output_data(self) == output_data(other)

    def __hash__(self) -> int:
        return hash((self.job, self.key, self.experiment))


if TYPE_CHECKING:
    Argument: TypeAlias = str | Output
else:
    Argument = Any  # msgspec decodes no union with a class of ours; `arguments` checks the parts
"""A word of a command line: a text, or what another job returns."""


def arguments(given: Any, field: str) -> tuple[Argument, ...]:
    """Return the words of a command line; data that stands for an `Output` becomes one.

    Raises:
        FieldInvalid: It is no list, or a word is neither a text nor an `Output`.
    """
    return tuple(
        _argument(part, f"{field}[{at}]") for at, part in enumerate(listed(given, field, object))
    )


def _argument(given: Any, place: str) -> Argument:
    if isinstance(given, (str, Output)):
        return given
    if isinstance(given, dict) and FROM in given:
        return output_of(given)
    raise FieldInvalid(place, repr(given), f"expected str, got {type(given).__name__}")


def argument_text(word: Argument) -> str:
    """Return a word as people see it before its value is known."""
    if isinstance(word, str):
        return word
    told = {"from": word.job, "key": word.key, "experiment": word.experiment}
    parts = ", ".join(f"{name}: {text}" for name, text in told.items() if text)
    return f"{{{parts}}}"


def output_data(output: Output) -> dict[str, str]:
    """Return it as the data of a configuration: `{_from_: job, key: …}`."""
    parts = {FROM: output.job, "key": output.key, "experiment": output.experiment}
    return {name: text for name, text in parts.items() if text}


def output_of(data: Mapping[str, Any]) -> Output:
    """Return what such data stands for.

    Raises:
        FieldInvalid: It has other keys, or a part of it does not fit.
    """
    parts = dict(data)
    job, key, experiment = (parts.pop(name, "") for name in (FROM, "key", "experiment"))
    if parts:
        other = next(iter(parts))
        raise FieldInvalid(str(other), repr(parts[other]), f"nothing may be beside {FROM} but key")
    return Output(job, key, experiment=experiment)


def value_at(result: Any, key: str) -> Any:
    """Return a part of what a function has returned.

    Args:
        result: What JSON holds.
        key: Where in it the part is; all of it if empty.

    Raises:
        LookupError: There is no such part; the text continues "the function has returned".
    """
    value = result
    for step in parse_path(key) if key else ():
        is_there = (
            isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value)
        ) or (isinstance(value, dict) and step in value)
        if not is_there:
            kind = "a mapping of " + ", ".join(map(str, value)) if isinstance(value, dict) else ""
            kind = kind or ("a list" if isinstance(value, list) else "a single value")
            raise LookupError(f"no {key!r}: at {step!r} there is {kind[:200]}")
        value = value[step]
    return value


def needed_for(outputs: Iterable[Output], said: Sequence[Dependency]) -> list[Dependency]:
    """Return what a job waits for because of values that others return, and says nowhere else."""
    needed = {(one.experiment, one.job): one for one in outputs}
    known = {one.parent for one in said}
    return [
        Dependency(job=one.job, experiment=one.experiment)
        for parent, one in needed.items()
        if parent not in known
    ]


def outputs_of(data: Any) -> list[Output]:
    """Return those that stand in data, in their order."""
    return [output_of(one) for one in _places(data)]


def outputs_in(given: str) -> list[Output]:
    """Return those that stand in the text that a function's job is given, in their order."""
    return outputs_of(_values(given))


def with_outputs(given: str, value_of: Callable[[Output], Any]) -> str:
    """Return such a text with something else in the place of each of them.

    Args:
        given: The text.
        value_of: Returns the data that an output is replaced by.
    """
    data = _values(given)
    return json.dumps(_replaced(data, value_of)) if any(True for _ in _places(data)) else given


def _values(given: str) -> Any:
    """Return the data of a function and its values; None if the text is of another kind."""
    if f'"{FROM}"' not in given:
        return None
    try:
        data = json.loads(given)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("_target_"), str) else None


def _places(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict) and FROM in data:
        yield data
    elif isinstance(data, (dict, list)):
        for one in data.values() if isinstance(data, dict) else data:
            yield from _places(one)


def _replaced(data: Any, value_of: Callable[[Output], Any]) -> Any:
    if isinstance(data, dict):
        if FROM in data:
            return value_of(output_of(data))
        return {key: _replaced(one, value_of) for key, one in data.items()}
    return [_replaced(one, value_of) for one in data] if isinstance(data, list) else data


_KEYS = {"from", "key", "experiment"}


def with_from(data: Any) -> Any:
    """Return what a batch file says, with each `{from: JOB, key: …}` as a configuration has it."""
    if isinstance(data, dict):
        if "from" in data and data.keys() <= _KEYS:
            return {FROM if key == "from" else key: one for key, one in data.items()}
        return {key: with_from(one) for key, one in data.items()}
    return [with_from(one) for one in data] if isinstance(data, list) else data
