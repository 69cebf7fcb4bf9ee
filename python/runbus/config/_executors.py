"""Executors as data: `{type: NAME, …}`, with what the constructor of that name takes.

Every executor takes `timeout`, `queue_timeout` and `idle_timeout` besides: they are for its jobs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runbus import codec
from runbus._files import absolute_path
from runbus.abc import Executor, Portable
from runbus.config._build import mistakes_of
from runbus.config._config import Config
from runbus.config._data import from_data, to_data
from runbus.config._executor_entry import TIMES, ExecutorEntry
from runbus.config._located import place_all
from runbus.config._named import EXECUTORS, PACKAGERS, TUNNELS
from runbus.config._node import Mistake, Node, Word
from runbus.config._scalars import guess
from runbus.config._schema import schema_of
from runbus.config._shape import fill, making
from runbus.config._spans import no_duration, seconds_of
from runbus.config._targets import import_target
from runbus.config._tree import same
from runbus.errors import ConfigInvalid, ExecutorNotPortable, UsageError, near_matches
from runbus.events import Timeouts
from runbus.events.values import worded

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.config._node import Mistakes, Path

__all__ = [
    "GIVEN",
    "executor_config",
    "executor_data",
    "executor_entry",
    "read_entry",
    "split_times",
]

GIVEN = ("name", "tunnels")
"""What constructors may take and no data can say: runbus gives it to them."""


def read_entry(
    given: Any, mistakes: Mistakes, folder_of: Callable[[Path], str] = lambda _: ""
) -> ExecutorEntry | None:
    """Return an executor as data, once it is checked; None if something is wrong with it.

    Args:
        given: The name of an executor, or a mapping with its `type`.
        mistakes: What is wrong is added to these.
        folder_of: Returns the folder that a relative path within a value starts from, by where the
            value is; the current one if empty.
    """
    fields = {"type": given} if isinstance(given, str) else given
    if not isinstance(fields, Mapping):
        mistakes.append(Mistake("an executor is a mapping with a type, or a name"))
        return None
    known = len(mistakes)
    node, times = _node(fields, mistakes)
    timeouts = _timeouts(times, mistakes)
    if node is None or len(mistakes) > known:
        return None
    mistakes += mistakes_of(node)
    if len(mistakes) > known:
        return None
    place_all(node, (), folder_of)
    return ExecutorEntry(_data_of(node), timeouts)


def executor_data(given: Any, name: str) -> dict[str, Any]:
    """Return what another process can make an executor from.

    Args:
        given: `{type: NAME, …}`, an `ExecutorEntry`, a `Config`, what this has returned before; or
            an executor: then what that was made from.
        name: What jobs call it.

    Raises:
        ConfigInvalid: Something in it does not fit, is missing, or is no data.
        UsageError: No other process can import its class, or it is made from what is no data.
    """
    if isinstance(given, ExecutorEntry):
        return given.data
    mistakes: Mistakes = []
    if isinstance(given, Node):
        node = copy.copy(given)
        for key in GIVEN:
            node._values.pop(key, None)
        mistakes += mistakes_of(node)
        _raise(mistakes, name)
        here = absolute_path()
        place_all(node, (), lambda _: here)  # another process may be in another folder
        return _data_of(node)
    if isinstance(given, Executor):
        return _data_of_made(given, name)
    if isinstance(given, Mapping) and "_target_" in given:
        return executor_data(executor_config(given, name), name)
    return executor_entry(given, name).data


def _data_of_made(given: Executor, name: str) -> dict[str, Any]:
    try:
        return executor_data(_as_config(given), name)
    except (ConfigInvalid, UsageError, TypeError) as error:
        why = error.problems[0] if isinstance(error, ConfigInvalid) else error
        raise ExecutorNotPortable(name, str(why)) from error


def _as_config(value: Any) -> Any:
    """Return a value with a `Config` in the place of each executor and tunnel in it."""
    if isinstance(value, Portable):
        args, values = value.made_from
        named = {key: _as_config(one) for key, one in values.items()}
        if isinstance(value, Executor):  # runbus gives it these
            named = {key: one for key, one in named.items() if key not in GIVEN}
        return Config(type(value), *map(_as_config, args), **named)
    if type(value) in (list, tuple):
        return [_as_config(one) for one in value]
    if type(value) is dict:
        return {key: _as_config(one) for key, one in value.items()}
    return value


def executor_entry(given: Any, name: str) -> ExecutorEntry:
    """Return an executor as data, once it is checked, with the time-outs of its jobs.

    Args:
        given: `{type: NAME, …}`, or the name alone; or what else `executor_data` takes.
        name: What jobs call it.

    Raises:
        ConfigInvalid: Something in it does not fit, is missing, or is no data.
        UsageError: As `executor_data` does.
    """
    if isinstance(given, ExecutorEntry):
        return given
    if isinstance(given, (Node, Executor)) or (isinstance(given, Mapping) and "_target_" in given):
        return ExecutorEntry(executor_data(given, name))
    mistakes: Mistakes = []
    entry = read_entry(given, mistakes)
    _raise(mistakes, name)
    assert entry is not None
    return entry


def executor_config(data: Mapping[str, Any], name: str) -> Config[Executor]:
    """Return the `Config` of an executor that is given as data, as `executor_data` returns it.

    Raises:
        ConfigInvalid: Something in it does not fit, or is missing.
    """
    mistakes: Mistakes = []
    if "_target_" in data:
        node, mistakes = from_data(dict(data))
    else:
        node, _ = _node(data, mistakes)
    if node is not None and not mistakes:
        mistakes += mistakes_of(node)
    _raise(mistakes, name)
    made: Any = node
    assert made is not None
    return made  # type: ignore[no-any-return]


def split_times(fields: Mapping[str, Any], own: Any, name: str) -> tuple[dict[str, Any], Timeouts]:
    """Return an executor's fields without the time-outs of its jobs, and those.

    Args:
        fields: Its fields; values may be words of a command line.
        own: Its class, which may take fields of such names itself; None if nothing says so.
        name: What it is called in errors.

    Raises:
        ConfigInvalid: A time-out is none.
    """
    if own is None and isinstance(fields.get("type"), str) and fields["type"] in EXECUTORS:
        own = EXECUTORS.find(str(fields["type"]))
    known = {} if own is None else schema_of(own).fields
    times = {key: fields[key] for key in TIMES if key in fields and key not in known}
    mistakes: Mistakes = []
    read = {key: guess(one) if isinstance(one, Word) else one for key, one in times.items()}
    timeouts = _timeouts(read, mistakes)
    _raise(mistakes, name)
    return {key: one for key, one in fields.items() if key not in times}, timeouts


def _raise(mistakes: Mistakes, name: str) -> None:
    if mistakes:
        raise ConfigInvalid(f"executor {name!r}", tuple(one.told() for one in mistakes))


def _node(fields: Mapping[Any, Any], mistakes: Mistakes) -> tuple[Node | None, dict[str, Any]]:
    """Return the configuration that fields describe, and those of the fields that are for jobs."""
    chosen = {"type": fields["type"]} if "type" in fields else {}
    node = making.from_mapping(Executor, chosen, mistakes)
    if not isinstance(node, Node):
        return None, {}
    schema = node._shape.schema
    own = [name for name in schema.fields if name not in GIVEN]
    times = [name for name in TIMES if name not in own]
    rest: dict[Any, Any] = {}
    for key, value in fields.items():
        if key in own:
            rest[key] = value
        elif key != "type" and key not in times:
            if schema.keywords is not None and key not in GIVEN:
                rest[key] = value
            else:
                mistakes.append(_unknown(key, [*own, *times]))
    fill(node, rest, mistakes)
    return node, {key: fields[key] for key in times if key in fields}


def _unknown(key: Any, known: list[str]) -> Mistake:
    near = near_matches(str(key), known)
    there = "" if near else f"; there are {', '.join(known)}"
    return Mistake(f"unknown key {key!r}{there}", (str(key),), near=near)


def _timeouts(times: Mapping[str, Any], mistakes: Mistakes) -> Timeouts:
    found: dict[str, Any] = {}
    for key, value in times.items():
        seconds = seconds_of(value) if isinstance(value, str) else value
        if isinstance(seconds, str):
            mistakes.append(Mistake(no_duration(seconds), (key,)))
            continue
        try:
            codec.convert({TIMES[key]: seconds}, Timeouts)
        except codec.DecodeError as error:
            mistakes.append(Mistake(worded(str(error)), (key,)))
        else:
            found[TIMES[key]] = seconds
    return Timeouts(**found)


def _data_of(node: Node) -> dict[str, Any]:
    """Return a configuration as data that `executor_config` reads.

    By the names of its parts; by their import paths, if one of them has no name.

    Raises:
        ConfigInvalid: A value in it is no data.
        UsageError: No other process can import a class, or it takes values that only Python holds.
    """
    raw = to_data(node)
    found: dict[str, Any] = _with_names(raw)
    wrong: Mistakes = []
    if isinstance(found.get("type"), str):
        again, _ = _node(found, wrong)
        if not wrong and same(node, again):
            return found
    if home := _in_program(raw):
        advice = "write it to a module, and import it from there"
        raise UsageError(f"{home} is of the program itself; {advice}")
    read, mistakes = from_data(raw)
    if mistakes or not same(node, read):
        told = f": {(wrong or mistakes)[0].told()}" if wrong or mistakes else ""
        raise UsageError(f"{node._shape.schema.name} is given a value that no file can hold{told}")
    return raw


def _in_program(data: Any) -> str:
    """Return the first import path in data that only this program has; empty if there is none."""
    if isinstance(data, dict):
        if str(found := data.get("_target_", "")).startswith("__main__."):
            return str(found)
        data = [*data.values()]
    return next(filter(None, map(_in_program, data)), "") if isinstance(data, list) else ""


def _with_names(data: Any) -> Any:
    """Return data with the names of parts in the place of their import paths."""
    if isinstance(data, list):
        return [_with_names(one) for one in data]
    if not isinstance(data, dict):
        return data
    rest = {key: _with_names(one) for key, one in data.items() if key != "_target_"}
    if "_target_" not in data:
        return rest
    target = import_target(data["_target_"])
    for parts in (EXECUTORS, PACKAGERS, TUNNELS):
        if (name := parts.name_of(target)) is not None:
            return {"type": name, **rest}
    return rest
