"""The executors that people give to the jobs of an experiment, however they give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runbus import config
from runbus._listed import check_mapping
from runbus.abc import Executor
from runbus.errors import ConfigInvalid, ExecutorNotPortable, FieldInvalid, UsageError

if TYPE_CHECKING:
    from runbus.config import ExecutorEntry

__all__ = ["GivenExecutors"]

_HERE = "local"


class GivenExecutors:
    """Names executors, and remembers what each is made from.

    Args:
        described: Those that have names from the start: their data, or a `Config` of each.

    Attributes:
        entries: What they are made from, also by another process, and the time-outs of their jobs,
            by name.
        values: Those that are made already, by name: this process runs jobs on them.

    Raises:
        ConfigInvalid: What an executor is made from does not fit.
    """

    def __init__(self, described: Mapping[str, Any] | None) -> None:
        if described is not None:
            check_mapping(described, "executors", "names to fields")
        self.entries: dict[str, ExecutorEntry] = {}
        self.values: dict[str, Executor] = {}
        self._sought: dict[str, ConfigInvalid] = {}
        for name, one in (described or {}).items():
            self.entries[name] = config.executor_entry(one, name)

    @property
    def data(self) -> dict[str, dict[str, Any]]:
        """What they are made from, by name."""
        return {name: entry.data for name, entry in {**self.entries}.items()}

    def named(self, given: Any, *, is_default: bool = False, may_be_unknown: bool = True) -> str:
        """Return what jobs call an executor.

        Args:
            given: A name, or `@file[:section]`: see `runbus.config.ExecutorNames`; data such as
                `{"type": "ssh", "hosts": ["box"]}`; a `Config`; or an executor.
            is_default: Whether jobs run there that name none: then it may be called "local" itself.
            may_be_unknown: Whether a plugin may bring one of that name later on.

        Raises:
            ConfigInvalid: A field does not fit.
            ExecutorNotPortable: It was made from what no other process could make it from.
            FieldInvalid: It is none of these.
        """
        if isinstance(given, str):
            self._seek(given)
            if not may_be_unknown:
                self.check({given})
            return given
        if isinstance(given, Executor):
            made = config.executor_entry(given, given.name)
            if given.name not in self.values and self._is_known(given.name, made):
                return given.name  # of an experiment that was found again: the same as then
            name = self._free(given.name, given, () if is_default else (_HERE,))
            self.entries[name] = made
            return name
        if isinstance(given, Mapping):
            entry = config.executor_entry(given, "executor")
            return self._free(str(given.get("type", "executor")), entry)
        if isinstance(given, config.Config):
            try:
                entry = config.executor_entry(given, "executor")
            except UsageError as error:
                raise ExecutorNotPortable(_name_of(given), str(error)) from error
            return self._free(_name_of(given), entry)
        reason = "expected a name, an executor, its Config, or its data"
        raise FieldInvalid("executor", repr(given), reason)

    def check(self, names: set[str]) -> None:
        """Raise what is wrong with names that no plugin brings either.

        Raises:
            ConfigInvalid: There is no executor of such a name.
        """
        for name in sorted(names):
            if name in self._sought:
                raise self._sought[name]

    def _is_known(self, name: str, made: ExecutorEntry) -> bool:
        return (known := self.entries.get(name)) is not None and known.data == made.data

    def _seek(self, name: str) -> None:
        if name == _HERE or name in self.entries or name in self.values or name in self._sought:
            return
        try:
            self.entries[name] = config.find_executor(name)
        except ConfigInvalid as error:
            # A plugin of the kernel may bring it.
            self._sought[name] = error

    def _free(
        self, name: str, given: Executor | ExecutorEntry, taken: Sequence[str] = (_HERE,)
    ) -> str:
        """Return the name of what was given before, or else one that nothing else has."""
        stem, number = name, 1
        known: Mapping[str, object] = {**dict.fromkeys(taken), **self.entries, **self.values}
        while name in known and known[name] != given:
            number += 1
            name = f"{stem}-{number}"
        if isinstance(given, config.ExecutorEntry):
            self.entries[name] = given
        else:
            if given.name != name:
                given.name = name  # what a kernel calls it: no two plugins have one name
            self.values[name] = given
        return name


def _name_of(given: config.Config[Any]) -> str:
    return getattr(given, "name", "") or str(config.target_of(given).__name__).lower()
