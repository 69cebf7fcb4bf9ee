"""What an executor's name means: by `runbus.yaml`, the home's `executors.yaml`, the registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._files import absolute_path
from runbus._home import Home
from runbus.config._executors import read_entry
from runbus.config._named import EXECUTORS
from runbus.config._node import Mistake, Word
from runbus.config._settings import FILE, nearest_settings, read_settings
from runbus.config._sources import (
    Loaded,
    folded,
    part_of,
    read_source,
    set_variables,
    split_section,
)
from runbus.config._variables import variables
from runbus.errors import ConfigInvalid, ConfigProblem, near_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runbus.config._executor_entry import ExecutorEntry
    from runbus.config._node import Mistakes, Path

__all__ = ["ExecutorNames", "SaidExecutor", "find_executor"]

_HOME = "executors.yaml"
_SECTION = "executors"
_PREFIX = "RUNBUS_EXECUTORS"


class SaidExecutor(NamedTuple):
    """What files and variables say of an executor, not yet checked.

    Attributes:
        name: Its name.
        said: Its fields, and where each was said.
        at: Where in the file it is.
    """

    name: str
    said: Loaded
    at: Path

    def read(self) -> ExecutorEntry:
        """Return it, checked.

        Raises:
            ConfigInvalid: Something in it is wrong; every mistake is reported with its place.
        """
        mistakes: Mistakes = []
        entry = read_entry(
            self.said.data,
            mistakes,
            lambda path: os.path.dirname(absolute_path(self.said.origin(path).source)),
        )
        if mistakes:
            told = []
            for one in mistakes:
                origin = self.said.origin(one.path)
                one.path = (*self.at, *one.path)
                told.append(one.told(*origin))
            raise ConfigInvalid(self.said.name, tuple(told))
        assert entry is not None
        return entry


class ExecutorNames:
    """Finds executors by name; a file is read when a name is looked for that may be in it.

    The order: `runbus.yaml` in a folder or the nearest one above it, up to the root of the
    repository that it is in; `executors.yaml` in the home; the registry. `local` is this machine
    everywhere, and no file is read for it.

    Args:
        folder: The folder; the current one if empty.
        home: The home; the default one if None.
        environment: Variables such as `RUNBUS_EXECUTORS__GPU__SLOTS` set values of the executors
            that files describe; those of this process if None.
    """

    def __init__(
        self,
        folder: str = "",
        *,
        home: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = absolute_path(folder or ".")
        self._home = Home(home)
        self._environment = os.environ if environment is None else environment
        self._tables: dict[str, tuple[Loaded, Path]] = {}

    @property
    def files(self) -> list[str]:
        """The files that there are, the one that counts most first."""
        paths = (nearest_settings(self._folder), os.path.join(self._home.path, _HOME))
        return [path for path in paths if os.path.lexists(path)]

    def find(
        self, name: str, mistakes: Mistakes, *, also: Iterable[str] = ()
    ) -> ExecutorEntry | None:
        """Return the executor of a name, or of `@file[:section]`.

        Args:
            name: The name.
            mistakes: What is wrong with the name itself is added to these.
            also: Names that there are besides, to be reported where there is none of that name.

        Raises:
            ConfigInvalid: Something is wrong in a file that says what it means, or may say it.
        """
        if (entry := self.of_files(name)) is not None:
            return entry
        if name in EXECUTORS:
            if name != "local" and (unused := self.unused_variables([name])):
                raise ConfigInvalid(f"executor {name!r}", tuple(unused))
            return read_entry(name, mistakes)
        known = sorted({*self.known(), *also})
        near = near_matches(name, known)
        there = "" if near else f"; there are {', '.join(known)}"
        mistakes.append(Mistake(f"there is no executor {name!r}{there}", near=near))
        return None

    def of_files(self, name: str) -> ExecutorEntry | None:
        """Return what files say of an executor; None if they say nothing.

        Raises:
            ConfigInvalid: Something is wrong in a file that says what it is, or may say it.
        """
        if name.startswith("@"):
            return self._of_file(name, self._folder).read()
        if name != "local":
            for path in self.files:
                if (found := self.said(name, path)) is not None:
                    return found.read()
        return None

    def said(self, name: str, path: str) -> SaidExecutor | None:
        """Return what a file says of an executor, with the variables that set something of it.

        Raises:
            ConfigInvalid: The file cannot be read, or what it says is not of that form.
        """
        loaded, at = self._table(path)
        table = _at(loaded.data, at)
        if name not in table:
            return None
        given, here = table[name], (*at, name)
        if isinstance(given, str) and given.startswith("@"):
            origin = loaded.origin(here)
            try:
                one = self._of_file(given, os.path.dirname(path), name)
            except ConfigInvalid as error:
                told = Mistake(f"{given}: {error.problems[0]}", here).told(*origin)
                raise ConfigInvalid(path, (told,)) from error
        else:
            fields = {"type": given} if isinstance(given, str) else given
            if not isinstance(fields, dict):
                problem = Mistake("an executor is a mapping with a type, or a name", here)
                raise ConfigInvalid(path, (problem.told(*loaded.origin(here)),))
            one = SaidExecutor(name, part_of(loaded, here, dict(fields)), here)
        # Two that set the same value are refused, also where the name itself is in another case.
        list(variables(_PREFIX, self._environment))
        for prefix in sorted({*self._prefixes(name)}):
            set_variables(one.said, prefix, self._environment, read=Word)
        return one

    def unused_variables(
        self, names: Iterable[str] = (), *, described: Iterable[str] = ()
    ) -> list[ConfigProblem]:
        """Return a problem for each variable that sets a value of what no file describes.

        Args:
            names: The executors that are asked about; all if empty.
            described: Those that files describe.
        """
        wanted, known = set(map(folded, names)), set(map(folded, described))
        found = []
        for variable, text, _ in variables(_PREFIX, self._environment):
            name = folded(text.partition(".")[0])
            if name not in known and (not wanted or name in wanted):
                reason = f"no file describes an executor {name!r}, so this sets nothing"
                found.append(ConfigProblem("", reason, origin=variable))
        return found

    def names(self, path: str) -> list[str]:
        """Return the names in a file.

        Raises:
            ConfigInvalid: It cannot be read.
        """
        loaded, at = self._table(path)
        return [str(name) for name in _at(loaded.data, at)]

    def known(self) -> list[str]:
        """Return all names that there are, apart from those of files that cannot be read."""
        found = dict.fromkeys(EXECUTORS)
        for path in self.files:
            try:
                found |= dict.fromkeys(self.names(path))
            except ConfigInvalid:
                continue
        return sorted(found)

    def _table(self, path: str) -> tuple[Loaded, Path]:
        found = self._tables.get(path)
        if found is None:
            found = self._tables[path] = _read_table(path)
        return found

    def _of_file(self, reference: str, folder: str, name: str = "") -> SaidExecutor:
        path, section = split_section(reference[1:])
        path = os.path.join(folder, os.path.expanduser(path))
        return SaidExecutor(
            name or reference, read_source(path, section), (section,) if section else ()
        )

    def _prefixes(self, name: str) -> Iterator[str]:
        """Yield the beginnings of the variables that set something of an executor."""
        for variable in self._environment:
            prefix, *rest = variable.split("__")
            if prefix == _PREFIX and len(rest) > 1 and folded(rest[0]) == folded(name):
                yield f"{prefix}__{rest[0]}"


def _at(data: Any, at: Path) -> Any:
    return (data.get(at[0]) or {}) if at else data


def _read_table(path: str) -> tuple[Loaded, Path]:
    """Return what a file says, and where in it the executors are.

    Raises:
        ConfigInvalid: It cannot be read, or says something else.
    """
    at: Path = ()
    if os.path.basename(path) == FILE:
        loaded, at = read_settings(path), (_SECTION,)
    else:
        loaded = read_source(path)
    mistakes: Mistakes = []
    table = _at(loaded.data, at)
    if not isinstance(table, dict):
        mistakes.append(Mistake("executors is a mapping from names to what they take", at))
    else:
        for name in table:
            if reason := _unusable(name):
                mistakes.append(Mistake(reason, (*at, str(name))))
    loaded.raise_mistakes(mistakes)
    return loaded, at


def _unusable(name: Any) -> str:
    """Return why something cannot be the name of an executor; empty if it can."""
    if not isinstance(name, str) or not name or name.startswith("@"):
        return f"{name!r} cannot be the name of an executor"
    if name == "local":
        return "'local' is this machine, without fields; choose another name"
    return ""


def find_executor(
    name: str,
    folder: str = "",
    *,
    home: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> ExecutorEntry:
    """Return the executor of a name, or of `@file[:section]`. Blocks.

    See `ExecutorNames` for where it is looked for, and the arguments.

    Raises:
        ConfigInvalid: There is none of that name, or something in it is wrong; every mistake is
            told with the file and line, or the variable, that made it.
    """
    mistakes: Mistakes = []
    names = ExecutorNames(folder, home=home, environment=environment)
    entry = names.find(name, mistakes)
    if entry is None:
        problems: tuple[ConfigProblem, ...] = tuple(one.told() for one in mistakes)
        what = f"executor {name!r}" if name in EXECUTORS else "executors"
        raise ConfigInvalid(what, problems)
    return entry
