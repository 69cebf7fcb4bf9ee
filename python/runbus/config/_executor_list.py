"""All executors that have names: what is said of each, where, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._secrets import REDACTED, is_secret_name, redacted_text
from runbus.config._executor_entry import TIMES
from runbus.config._executors import GIVEN, read_entry
from runbus.config._named import EXECUTORS
from runbus.config._node import MISSING, Mistake
from runbus.config._schema import schema_of
from runbus.config._sources import leaves
from runbus.errors import ConfigInvalid, ConfigProblem, RunbusError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.config._executor_entry import ExecutorEntry
    from runbus.config._executor_names import ExecutorNames, SaidExecutor
    from runbus.config._node import Mistakes, Path

__all__ = ["ListedExecutor", "ListedValue", "list_executors", "shown_value"]


class ListedValue(NamedTuple):
    """A value that an executor is made from.

    Attributes:
        path: Where it is, such as `hosts[0]`.
        value: The value; a secret's place instead of the secret.
        origin: Who said so: `file:line`, a variable of the environment, or `default`.
    """

    path: str
    value: Any
    origin: str


class ListedExecutor(NamedTuple):
    """An executor that has a name.

    Attributes:
        name: The name.
        type: What it is one of; empty if nothing says so.
        origin: Who gave it the name: `file:line`, or what brings the executor.
        entry: What it is made from; None if something is wrong or missing.
        values: Everything that it is made from.
        needs: What has to be said of it before it can be made: of executors of the registry.
        problems: What is wrong.
    """

    name: str
    type: str
    origin: str
    entry: ExecutorEntry | None = None
    values: tuple[ListedValue, ...] = ()
    needs: tuple[str, ...] = ()
    problems: tuple[ConfigProblem, ...] = ()


def list_executors(names: ExecutorNames) -> tuple[list[ListedExecutor], list[ConfigProblem]]:
    """Return all executors by what they are found by, each once, and what is wrong with files.

    Checks each; none is made, and no machine is asked anything.
    """
    found: dict[str, ListedExecutor] = {}
    problems: list[ConfigProblem] = []
    for path in names.files:
        try:
            here = names.names(path)
        except ConfigInvalid as error:
            problems += error.problems
            continue
        for name in here:
            if name not in found:
                found[name] = _of_file(names, name, path)
    problems += names.unused_variables(described=list(found))
    for name in EXECUTORS:
        if name not in found:
            found[name] = _of_registry(name)
    return [found[name] for name in sorted(found)], problems


def _of_file(names: ExecutorNames, name: str, path: str) -> ListedExecutor:
    try:
        one = names.said(name, path)
    except ConfigInvalid as error:
        return ListedExecutor(name, "", path, problems=error.problems)
    assert one is not None
    type_ = str(one.said.data.get("type", ""))
    origin = str(one.said.origin(()))
    try:
        entry = one.read()
    except ConfigInvalid as error:
        return ListedExecutor(name, type_, origin, problems=error.problems)
    return ListedExecutor(name, type_, origin, entry, tuple(_values(entry, one)))


def _of_registry(name: str) -> ListedExecutor:
    origin = EXECUTORS.origin_of(name)
    wrong: Mistakes = []
    try:
        entry = read_entry(name, wrong)
        needs = () if entry is not None else schema_of(EXECUTORS.find(name)).needed
    except RunbusError as error:
        wrong, needs, entry = [Mistake(str(error))], (), None
    if entry is not None:
        return ListedExecutor(name, name, origin, entry, tuple(_values(entry, None)))
    problems = () if needs else tuple(one.told() for one in wrong)
    return ListedExecutor(name, name, origin, needs=tuple(needs), problems=problems)


def _values(entry: ExecutorEntry, one: SaidExecutor | None) -> Iterator[ListedValue]:
    registry = EXECUTORS.origin_of(entry.data["type"])
    said = entry.said
    for text, path, value in leaves(said):
        origin = registry if one is None else str(one.said.origin(path))
        yield ListedValue(text, shown_value(path, value), origin)
    fields = schema_of(EXECUTORS.find(entry.data["type"])).fields
    defaults = {name: one.default for name, one in fields.items() if name not in GIVEN}
    for name, default in {**defaults, **dict.fromkeys(TIMES)}.items():
        if name not in said and default is not MISSING:
            yield ListedValue(name, shown_value((name,), _plain(default)), "default")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, set, frozenset)) else value


def shown_value(path: Path, value: Any) -> Any:
    """Return a value without what may be a secret: its place may be shown, and nothing else."""
    if path[-1:] == ("secret",) and isinstance(value, str) and value.startswith(("env:", "file:")):
        return value
    if value not in (None, True, False) and any(is_secret_name(str(step)) for step in path):
        return REDACTED
    if isinstance(value, str):
        return redacted_text(value)
    return value if isinstance(value, (int, float, list, dict, type(None))) else str(value)
