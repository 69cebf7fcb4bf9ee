"""Configurations from files and texts, and into them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._files import write_file
from runbus.config._access import NothingThere, get_at
from runbus.config._build import mistakes_of
from runbus.config._config import Config  # noqa: F401 - it brings the classes of all nodes
from runbus.config._data import Reading, to_data
from runbus.config._node import Mistake, Node
from runbus.config._overrides import apply_override, environment_overrides
from runbus.config._paths import parse_path
from runbus.config._python import to_python
from runbus.config._shape import new_node, raise_mistakes
from runbus.config._sources import Loaded, Origin, read_source, split_section
from runbus.config._write import WRITERS, check_writable
from runbus.errors import ConfigInvalid, ConfigProblem, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config._node import Mistakes

__all__ = ["FileValue", "config_of", "dumps", "load", "read_file", "save"]

_FORMATS = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".py": "python",
}
"""The forms of files, by the ends of their names."""


def load(
    source: str | os.PathLike[str],
    target: Any = None,
    *,
    allowed: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    prefix: str = "RUNBUS",
) -> Any:
    """Return the configuration that a file holds. Blocks.

    What counts, weakest first: defaults of the target, the files that it builds on (`extends`), the
    file itself, variables of the environment. Only what `_target_`, `_factory_`, `_import_` and
    `_type_` name is imported, and only factories are called.

    Args:
        source: A file of YAML, TOML or JSON, as `file` or `file:section`.
        target: What it configures; what its `_target_` says if None.
        allowed: The modules that it may name, each with all that is below it; any if None. `target`
            and the types of its fields need not be among them.
        environment: Variables that set values, such as `RUNBUS__MODEL__WIDTH`; none if None.
        prefix: What their names begin with.

    Raises:
        ConfigInvalid: A file cannot be read, or something in it does not fit; every mistake is
            reported with its file and line. What is missing is only told by `build`.
    """
    loaded = read_source(*split_section(os.fspath(source)))
    node = config_of(loaded, target, allowed=allowed)
    if environment is not None:
        apply_environment(node, loaded, prefix, environment)
    return node


def apply_environment(
    node: Node, loaded: Loaded, prefix: str, environment: Mapping[str, str]
) -> None:
    """Set what variables of the environment set, and note that they did.

    Raises:
        ConfigInvalid: One does not fit; every one is reported.
    """
    problems: list[ConfigProblem] = []
    for override in environment_overrides(prefix, environment):
        mistakes: Mistakes = []
        path = apply_override(node, override, mistakes)
        problems += [one.told(override.origin) for one in mistakes]
        loaded.set_origin(path, Origin(override.origin))
    if problems:
        raise ConfigInvalid(loaded.name, tuple(problems))


def config_of(loaded: Loaded, target: Any = None, *, allowed: Sequence[str] | None = None) -> Any:
    """Return the configuration of what files say together.

    Raises:
        ConfigInvalid: Something in it does not fit.
    """
    reading = Reading(allowed)
    data = dict(loaded.data)
    if "_target_" in data or "_factory_" in data:
        node = reading.value(data)
        mistakes = reading.mistakes
        if not mistakes and not isinstance(node, Node):
            mistakes.append(Mistake("its factory returned nothing that can be configured"))
    elif target is None:
        node, mistakes = None, [Mistake("it has no _target_: say what it configures")]
    else:
        partial = isinstance(target, Node) and target._is_partial
        node = new_node(
            target._shape.target if isinstance(target, Node) else target, partial=partial
        )
        reading.fill(node, data)
        mistakes = reading.mistakes
    if isinstance(node, Node):
        told = {one.path for one in mistakes}
        wrong = mistakes_of(node, is_whole=False)
        mistakes += [one for one in wrong if not any(one.path[: len(p)] == p for p in told if p)]
    loaded.raise_mistakes(mistakes)
    return node


def dumps(config: Any, form: str = "yaml") -> str:
    """Return a configuration as a text that `load` reads, or as code that makes it again.

    Args:
        config: The configuration.
        form: `yaml`, `toml`, `json` or `python`.

    Raises:
        ConfigInvalid: A value cannot be written.
        TargetUnusable: A class or function has no import path.
        UsageError: There is no such form.
    """
    if form == "python":
        return to_python(config)
    if form not in _FORMATS.values():
        raise UsageError(f"there is no form {form!r}: yaml, toml, json or python")
    data = to_data(config)
    check_writable(data, config._shape.schema.name)
    return WRITERS[f".{form}"](data)


class FileValue(NamedTuple):
    """What a file holds as a value: its type is decided where it is put.

    Attributes:
        value: The data, with configurations in the place of mappings that name targets.
        axes: The sweep that is in it: values by paths.
    """

    value: Any
    axes: Mapping[str, list[Any]]


def read_file(source: str, *, allowed: Sequence[str] | None = None) -> FileValue:
    """Return what `file[:section]` holds. Blocks.

    Raises:
        ConfigInvalid: It cannot be read, or names what cannot be imported.
    """
    loaded = read_source(*split_section(source))
    reading = Reading(allowed)
    value = reading.value(loaded.data)
    loaded.raise_mistakes(reading.mistakes)
    return FileValue(value, loaded.axes)


def save(config: Any, destination: str | os.PathLike[str], *, form: str | None = None) -> None:
    """Write a configuration, or a part of one, to a file, whole or not at all. Blocks.

    Args:
        config: The configuration.
        destination: The file, as `file`, or as `file:path` for the part at a path of it. The end of
            its name says the form: .yaml, .toml, .json or .py.
        form: `yaml`, `toml`, `json` or `python`; what the name of the file says if None.

    Raises:
        ConfigInvalid: A value cannot be written, or nothing is at the path.
        TargetUnusable: A class or function has no import path.
        UsageError: The name ends in none of these, or the part is a plain value.
        OSError: The file cannot be written.
    """
    path, section = _destination(os.fspath(destination))
    part = config
    if section:
        try:
            part = get_at(config, parse_path(section))
        except NothingThere as error:
            raise_mistakes(config, [error.mistake])
        except ValueError as error:
            raise UsageError(str(error)) from None
        if not isinstance(part, Node):
            raise UsageError(f"{section} is a plain value: write the whole, or a part with fields")
    end = os.path.splitext(path)[1].lower()
    form = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".py": "python"}.get(
        end
    )
    if form is None:
        raise UsageError(f"{path}: its name must end in .yaml, .toml, .json or .py")
    write_file(path, dumps(part, form).encode())


def _destination(destination: str) -> tuple[str, str]:
    path, colon, section = destination.rpartition(":")
    if colon and os.path.splitext(path)[1].lower() in _FORMATS:
        return path, section
    return destination, ""
