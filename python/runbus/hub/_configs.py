"""Configurations of plugins from files, and where each value was said."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from runbus.config import read_source, split_section
from runbus.errors import ConfigInvalid, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.config import Loaded

__all__ = ["PluginConfigs"]

_NOWHERE: tuple[str, tuple[str, ...]] = ("", ())
"""The value and the near words of a problem that has none."""


class PluginConfigs:
    """What files say about plugins, the last one first."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[Loaded, tuple[str, ...]]] = {}
        self._data: dict[str, dict[str, Any]] = {}

    def read(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Read a file; return the configurations in it by the names of the plugins. Blocks.

        Raises:
            ConfigInvalid: It cannot be read, or is no mapping of mappings.
        """
        loaded = read_source(*split_section(os.fspath(path)))
        inner = loaded.data.get("plugins")
        at: tuple[str, ...] = ("plugins",) if isinstance(inner, dict) else ()
        data: dict[str, Any] = inner if isinstance(inner, dict) else loaded.data
        problems = [
            ConfigProblem(".".join((*at, name)), "is no mapping", "a mapping", *_NOWHERE, *place)
            for name, config in data.items()
            if config is not None and not isinstance(config, dict)
            for place in [loaded.origin((*at, name))]
        ]
        if problems:
            raise ConfigInvalid(loaded.name, tuple(problems))
        for name, config in data.items():
            self._loaded[name] = loaded, at
            self._data[name] = config or {}
        return {name: dict(config or {}) for name, config in data.items()}

    def all(self) -> dict[str, Mapping[str, Any]]:
        """Return every configuration by the name of its plugin."""
        return dict(self._data)

    def of(self, name: str) -> Mapping[str, Any]:
        """Return the configuration of a plugin; an empty one if no file has any."""
        return self._data.get(name, {})

    def located(self, name: str, error: BaseException) -> BaseException:
        """Return an error about a configuration with the file and line of each problem."""
        if not isinstance(error, ConfigInvalid) or name not in self._loaded:
            return error
        loaded, at = self._loaded[name]
        problems = []
        for problem in error.problems:
            steps = (*at, name, *_steps(problem.path))
            origin = loaded.origin(tuple(steps))
            problems.append(problem._replace(origin=origin[0], line=origin[1]))
        return ConfigInvalid(error.what, tuple(problems))


def _steps(path: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]
