"""Configuration files: what they build on, their sections, and where each value comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runbus.config._document import read_document
from runbus.config._node import Mistake, path_text
from runbus.config._paths import parse_path
from runbus.config._places import Origin, Places
from runbus.config._scalars import guess
from runbus.config._variables import variables
from runbus.errors import ConfigInvalid, ConfigProblem, near_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runbus.config._document import Document
    from runbus.config._node import Mistakes, Path

    Place = Origin | tuple[Document, Path]

__all__ = [
    "Loaded",
    "Origin",
    "folded",
    "leaves",
    "part_of",
    "read_source",
    "set_variables",
    "split_section",
]

_DEEPEST = 20
"""How many files may build on each other."""

SPECIAL = (
    "_target_",
    "_partial_",
    "_factory_",
    "_ref_",
    "_import_",
    "_type_",
    "_value_",
    "_sweep_",
)


class Loaded:
    """What files say together.

    Attributes:
        name: The file that was asked for.
        data: Its content, with all that it builds on.
        places: Where each value was said.
        axes: The sweep that is in it: values by paths.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.data: dict[str, Any] = {}
        self.places = Places()
        self.axes: dict[str, list[Any]] = {}

    def origin(self, path: Path) -> Origin:
        """Return where the value at a path was said."""
        place = self.place(path)
        if isinstance(place, Origin):
            return place
        document, where = place
        return Origin(document.path, document.line(where))

    def place(self, path: Path) -> Place:
        """Return where the value at a path was said, without looking for its line."""
        return self.places.find(path) or Origin(self.name, 1 if self.name else 0)

    def set_origin(self, path: Path, origin: Origin) -> None:
        """Note who set the value at a path."""
        self.places.set(path, origin)

    def raise_mistakes(self, mistakes: Mistakes) -> None:
        """Raise `ConfigInvalid` with the place of each mistake, if there is one."""
        if mistakes:
            told = [one.told(*self.origin(one.path)) for one in mistakes]
            raise ConfigInvalid(self.name, tuple(told))


def split_section(source: str) -> tuple[str, str]:
    """Return the file and the section of `file[:section]`; an empty one for the whole file."""
    path, colon, section = source.rpartition(":")
    if (
        colon
        and section
        and os.path.splitext(section)[1][1:] not in ("yaml", "yml", "toml", "json")
    ):
        return path, section
    return source, ""


def read_source(source: str, section: str = "", *, within: Sequence[str] = ()) -> Loaded:
    """Read a file, and the files that it builds on.

    Args:
        source: The file.
        section: The path of the part that is wanted; all of it if empty.
        within: The files that are being read already, for those that build on themselves.

    Raises:
        ConfigInvalid: A file cannot be read, builds on itself, or has no such section.
    """
    document = read_document(source)
    if document.repeated:
        raise ConfigInvalid(source, document.repeated)
    if not isinstance(document.data, (dict, type(None))):
        raise _wrong(source, "a configuration is a mapping", 1)
    own = dict(document.data or {})  # nothing at all says nothing
    bases = own.pop("extends", [])
    loaded = Loaded(source)
    # To look for a line reads the file a second time, exactly.
    line = 1 if bases == [] else document.line(("extends",))
    for base in _texts(bases, source, line):
        _merge_base(loaded, base, source, line, within)
    _merge_into(loaded, loaded.data, own, (), lambda path: (document, path))
    axes = loaded.data.pop("_sweep_", {})
    if not isinstance(axes, dict) or not all(
        isinstance(one, list) and one for one in axes.values()
    ):
        line = document.line(("_sweep_",))
        raise _wrong(source, "_sweep_ is a mapping from paths to lists of values", line)
    loaded.axes = {str(path): values for path, values in axes.items()}
    return _section(loaded, section) if section else loaded


def _texts(bases: Any, source: str, line: int) -> list[str]:
    listed = [bases] if isinstance(bases, str) else bases
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise _wrong(source, "extends is a file, or a list of files", line)
    return listed


def _merge_base(loaded: Loaded, base: str, source: str, line: int, within: Sequence[str]) -> None:
    path, section = split_section(base)
    path = os.path.join(os.path.dirname(source), path)
    above = [*within, os.path.realpath(source)]
    if os.path.realpath(path) in above:
        raise _wrong(source, f"extends: {base!r} builds on this file, in a circle", line)
    if len(above) > _DEEPEST:
        raise _wrong(source, f"extends: more than {_DEEPEST} files build on each other", line)
    try:
        found = read_source(path, section, within=above)
    except ConfigInvalid as error:
        if not error.problems[0].line:  # it cannot be read at all: told where it is asked for
            raise _wrong(source, f"extends: {error.problems[0]}", line) from error
        raise
    _merge_into(loaded, loaded.data, found.data, (), found.place)
    loaded.axes |= found.axes


def _wrong(source: str, reason: str, line: int) -> ConfigInvalid:
    return ConfigInvalid(source, (ConfigProblem("", reason, origin=source, line=line),))


def _merge_into(
    loaded: Loaded,
    base: dict[str, Any],
    over: Mapping[str, Any],
    at: Path,
    place: Callable[[Path], Place],
) -> None:
    for key, value in over.items():
        here = (*at, str(key))
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _goes_on(old, value):
            _merge_into(loaded, old, value, here, place)
            continue
        base[key] = _noted(loaded, value, here, place)


def _noted(loaded: Loaded, value: Any, here: Path, place: Callable[[Path], Place]) -> Any:
    """Return a copy of a value, with the places of all mappings that are within it noted."""
    loaded.places.set(here, place(here))
    if isinstance(value, dict):
        return {key: _noted(loaded, one, (*here, str(key)), place) for key, one in value.items()}
    return value


_CHOOSES = ("_target_", "_factory_", "type", "_type_")


def _goes_on(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a mapping changes a few keys of another one: it chooses no other class."""
    if any(key in one for one in (old, new) for key in ("_ref_", "_import_")):
        return False
    return all(key not in new or new[key] == old.get(key) for key in _CHOOSES)


def _section(loaded: Loaded, section: str) -> Loaded:
    try:
        path = parse_path(section)
    except ValueError as error:
        raise _wrong(loaded.name, str(error), 0) from None
    value: Any = loaded.data
    for at, step in enumerate(path):
        if not isinstance(value, dict) or step not in value:
            known = [str(one) for one in value] if isinstance(value, dict) else []
            near = near_matches(str(step), known)
            mistake = Mistake(f"there is no section {section!r}", near=near)
            if not near and known:
                mistake.reason += f"; there are {', '.join(known[:20])}"
            loaded.raise_mistakes([_moved(mistake, path[:at])])
        value = value[step]
    if not isinstance(value, dict):
        raise _wrong(
            loaded.name, f"the section {section!r} is not a mapping", loaded.origin(path).line
        )
    return part_of(loaded, path, value)


def part_of(loaded: Loaded, path: Path, value: dict[str, Any]) -> Loaded:
    """Return a mapping that lies at a path of what files say, with the places of what is in it."""
    found = Loaded(loaded.name)
    found.data = value
    found.axes = loaded.axes
    found.places = loaded.places.part(path)
    return found


def _moved(mistake: Mistake, path: Path) -> Mistake:
    mistake.path = path
    return mistake


def set_variables(
    loaded: Loaded,
    prefix: str,
    environ: Mapping[str, str],
    *,
    read: Callable[[str], Any] = guess,
) -> None:
    """Set what variables of the environment set in plain data, whose types nobody knows.

    Args:
        loaded: What files say; changed.
        prefix: What the variables' names begin with.
        environ: The environment.
        read: Makes a value of a text.

    Raises:
        ConfigInvalid: One names an item that there is not.
        UsageError: Two of them set the same value.
    """
    for name, text, value in variables(prefix, environ):
        at: Any = loaded.data
        path: list[str | int] = []
        *above, last = text.split(".")
        for step in above:
            key = _alike(at, step)
            path.append(key)
            at = _part(at, key)
        key = _alike(at, last)
        if isinstance(at, list) and not (isinstance(key, int) and key < len(at)):
            raise _wrong(name, f"there is no item {last} in a list of {len(at)}", 0)
        at[key] = read(value)
        loaded.set_origin((*path, key), Origin(name))


def _part(at: Any, key: str | int) -> Any:
    """Return the mapping or list at a key, a new mapping if neither is there."""
    if isinstance(at, list):
        if isinstance(key, int) and key < len(at) and isinstance(at[key], (dict, list)):
            return at[key]
        return {}
    if not isinstance(at.get(key), (dict, list)):
        at[key] = {}
    return at[key]


def _alike(known: Mapping[str, Any] | list[Any], name: str) -> str | int:
    """Return the key that a part of a variable's name means: no variable has a dash in its name."""
    if isinstance(known, list):
        return int(name) if name.isdecimal() and len(name) < 6 else name
    alike = [str(one) for one in known if folded(str(one)) == folded(name)]
    return alike[0] if len(alike) == 1 else name.lower()


def folded(name: str) -> str:
    """Return a name as variables of the environment have it, in lower case."""
    return name.lower().replace("-", "_")


def leaves(data: Any, at: Path = ()) -> Iterator[tuple[str, Path, Any]]:
    """Yield each value that has no parts, with its path as text and as steps."""
    if isinstance(data, dict) and data:
        for key, one in data.items():
            yield from leaves(one, (*at, str(key)))
    elif isinstance(data, list) and data:
        for index, one in enumerate(data):
            yield from leaves(one, (*at, index))
    else:
        yield path_text(at), at, data
