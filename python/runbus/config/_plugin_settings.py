"""What a plugin is made from: said by the call, by variables, or by `runbus.yaml`."""

from __future__ import annotations

import os
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from runbus._files import absolute_path
from runbus._secrets import Secret
from runbus.config._build import mistakes_of
from runbus.config._config import Config
from runbus.config._located import place_all
from runbus.config._node import Mistake, Word
from runbus.config._places import Origin
from runbus.config._scalars import guess
from runbus.config._settings import nearest_settings, plugin_section
from runbus.config._shape import fill, shape_of
from runbus.config._sources import Loaded, folded, part_of
from runbus.errors import ConfigInvalid, ConfigProblem, RunbusError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from runbus.config._node import Mistakes, Path

__all__ = ["PluginSettings", "SaidPlugin"]

_PREFIX = "RUNBUS_PLUGIN_"
_OTHERS = ("RUNBUS_PLUGIN_PATH",)
"""Variables that begin so and set nothing of a plugin."""

_CALL = Origin("the call")


class SaidPlugin:
    """What was said that a plugin is made from, not yet checked.

    Attributes:
        name: Its name.
        data: The values; texts of variables are `Word`s.
    """

    def __init__(self, name: str, loaded: Loaded, folder: str) -> None:
        self.name = name
        self.data = loaded.data
        self._loaded = loaded
        self._folder = folder

    def origin(self, path: Path) -> str:
        """Return who said the value at a path: `file:line`, a variable, or `the call`."""
        return str(self._loaded.origin(path))

    def configured(self, target: Any) -> Config[Any]:
        """Return the configuration of a class or function, checked against its signature.

        A text may be `{secret: env:NAME}` or `{secret: file:PATH}`, whatever takes it.

        Raises:
            ConfigInvalid: Something does not fit, is unknown or missing; every mistake is told
                with its place.
        """
        mistakes: Mistakes = []
        shape = shape_of(target)
        known = {folded(name): name for name in shape.schema.fields}
        data: dict[str, Any] = {}
        for key, value in self.data.items():
            # The name of a variable is in upper case, whatever the field's is.
            name = known.get(key, key) if isinstance(value, Word) else key
            field = shape.field(name)
            is_text = field is not None and _takes_text(field.type)
            data[name] = self._revealed(value, (key,), mistakes) if is_text else value
        config: Config[Any] = Config(target)
        if not mistakes:
            fill(config, data, mistakes)
        if not mistakes:
            mistakes += mistakes_of(config)
        self._raise(mistakes)
        place_all(config, (), self._folder_of)
        return config

    def values(self) -> dict[str, Any]:
        """Return the values as plain data, with secrets in the place of what says where they are.

        Raises:
            ConfigInvalid: A secret is not there.
        """
        mistakes: Mistakes = []
        found = {key: self._plain(value, (key,), mistakes) for key, value in self.data.items()}
        self._raise(mistakes)
        return found

    def check_none(self, why: str) -> None:
        """Refuse what was said, because it means nothing.

        Raises:
            ConfigInvalid: Something was said.
        """
        self._raise([Mistake(why, (key,)) for key in self.data])

    def _plain(self, value: Any, at: Path, mistakes: Mistakes) -> Any:
        if isinstance(value, Word):
            return guess(value)
        value = self._revealed(value, at, mistakes)
        if isinstance(value, dict):
            return {key: self._plain(one, (*at, str(key)), mistakes) for key, one in value.items()}
        if isinstance(value, list):
            return [self._plain(one, (*at, index), mistakes) for index, one in enumerate(value)]
        return value

    def _revealed(self, value: Any, at: Path, mistakes: Mistakes) -> Any:
        """Return the secret that a mapping says the place of; anything else as it is."""
        secret = value
        if isinstance(value, dict) and [*value] == ["secret"]:
            try:
                secret = Secret(value["secret"])
            except (UsageError, TypeError) as error:
                mistakes.append(Mistake(str(error), (*at, "secret")))
        if not isinstance(secret, Secret):
            return value
        try:
            return secret.relative_to(self._folder_of(at) or os.getcwd()).value()
        except RunbusError as error:
            mistakes.append(Mistake(str(error), at))
            return value

    def _folder_of(self, path: Path) -> str:
        origin = self._loaded.origin(path)
        return os.path.dirname(absolute_path(origin.source)) if origin.line else self._folder

    def _raise(self, mistakes: Mistakes) -> None:
        if mistakes:
            told = [one.told(*self._loaded.origin(one.path)) for one in mistakes]
            raise ConfigInvalid(f"plugin {self.name!r}", tuple(told))


def _takes_text(hint: Any) -> bool:
    """Whether a text is of a type, and a `Secret` is not: that stays what it is."""
    if get_origin(hint) is Annotated:
        return _takes_text(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        options = get_args(hint)
        return Secret not in options and any(map(_takes_text, options))
    return hint in (str, Any, object)


class PluginSettings:
    """Finds what plugins are made from; the file is read when something of it is wanted.

    What a call says goes before variables such as `RUNBUS_PLUGIN_JSONL_PATH`, and those before
    `runbus.yaml` in a folder or the nearest one above it in its repository.

    Args:
        folder: The folder; the current one if empty.
        environment: The variables; those of this process if None.
    """

    def __init__(self, folder: str = "", environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = os.environ if environment is None else environment
        self._file: tuple[Loaded, dict[str, dict[str, Any]]] | None = None
        self._own = sorted(
            name for name in self._environment if name.startswith(_PREFIX) and name not in _OTHERS
        )

    def of(
        self, name: str, given: Mapping[str, Any] | None = None, known: Collection[str] = ()
    ) -> SaidPlugin:
        """Return what is said of a plugin.

        Args:
            name: Its name; a dash and an underscore are the same in it, and so are cases.
            given: What the call says.
            known: The names of other plugins: a variable that could set something of two is of the
                one with the longer name.

        Raises:
            ConfigInvalid: The file cannot be read, or its section of plugins has another form.
            UsageError: Two variables set the same value.
        """
        loaded = self._of_file(name)
        for path, variable, text in self._variables(name, known):
            _assign(loaded.data, path, Word(text))
            loaded.set_origin(path, Origin(variable))
        for key, value in (given or {}).items():
            loaded.data[key] = value
            loaded.set_origin((key,), _CALL)
        return SaidPlugin(name, loaded, absolute_path(self._folder or "."))

    def unused_variables(self, known: Collection[str]) -> list[ConfigProblem]:
        """Return a problem for each variable that sets something of no plugin that there is."""
        used = {variable for name in known for _, variable, _ in self._variables(name, known)}
        return [
            ConfigProblem("", "there is no such plugin, so this sets nothing", origin=variable)
            for variable in self._own
            if variable not in used
        ]

    def _of_file(self, name: str) -> Loaded:
        if self._file is None:
            path = nearest_settings(self._folder)
            self._file = plugin_section(path) if os.path.lexists(path) else (Loaded(""), {})
        loaded, section = self._file
        same = [one for one in section if _alike(one, name)]
        said = name if name in section or not same else same[0]
        return part_of(loaded, ("plugins", said), dict(section.get(said, {})))

    def _variables(self, name: str, known: Collection[str]) -> Iterator[tuple[Path, str, str]]:
        """Yield what variables set of a plugin: path, variable and text.

        Raises:
            UsageError: Two of them set the same value.
        """
        if not self._own:
            return
        prefix = _prefix(name)
        longer = [one for one in map(_prefix, known) if one.startswith(prefix) and one != prefix]
        seen: dict[Path, str] = {}
        for variable in self._own:
            folded_name = folded(variable)
            if not folded_name.startswith(prefix):
                continue
            if any(folded_name.startswith(one) for one in longer):
                continue
            path = tuple(folded_name[len(prefix) :].split("__"))
            if not all(path):
                continue
            if (first := seen.setdefault(path, variable)) != variable:
                raise UsageError(f"{first} and {variable} set the same value; unset one of them")
            yield path, variable, self._environment[variable]


def _prefix(name: str) -> str:
    return folded(f"{_PREFIX}{name}_".replace(".", "_"))


def _alike(one: str, other: str) -> bool:
    """Whether two names are the same: `custom` is the extension of a class `CustomPlugin`."""
    first, second = (folded(name).removesuffix("_plugin") for name in (one, other))
    return first == second


def _assign(data: dict[str, Any], path: Path, value: Any) -> None:
    at = data
    for step in path[:-1]:
        inner = at.get(str(step))
        at[str(step)] = inner = dict(inner) if isinstance(inner, dict) else {}
        at = inner
    at[str(path[-1])] = value
