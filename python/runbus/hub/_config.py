"""`hub_config.yaml`: which services a hub has, and which types of experiments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._files import absolute_path
from runbus.config import (
    SERVICES,
    Origin,
    config_of,
    fields_of,
    import_from,
    import_target,
    part_of,
    read_source,
    set_variables,
)
from runbus.errors import (
    ConfigInvalid,
    ConfigProblem,
    ExtraMissing,
    RunbusError,
    TargetUnusable,
    near_matches,
)
from runbus.hub._values import Values
from runbus.plugins import check_config

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from runbus.config import Config, Loaded

    Path = tuple[str | int, ...]

__all__ = [
    "BUILT_IN_TYPES",
    "LEVELS",
    "Globals",
    "HubConfig",
    "ServiceEntry",
    "TypeEntry",
    "read_hub_config",
]

VERSIONS = ("1.0",)
LEVELS = ("debug", "info", "warning", "error", "critical")

BUILT_IN_TYPES = {
    "time_series": "runbus.hub.experiments:TimeSeriesExperiment",
    "fault_detection": "runbus.hub.experiments:FaultDetectionExperiment",
}
"""The types of experiments of a hub that no file describes."""

_METHODS = ("format_data", "create_model", "run", "predict", "score", "save", "load")


class Globals(NamedTuple):
    """What holds for the whole hub.

    Attributes:
        log_level: From which level on the hub and its jobs log: a word of `logging`, in lower case.
        environment: What its runs record as their `environment`; empty for nothing.
    """

    log_level: str = "warning"
    environment: str = ""


class ServiceEntry(NamedTuple):
    """A service of the file.

    Attributes:
        kind: Its kind: `mlops`, `datastream`, `taskqueue` or another one.
        type: Which one it is: its name, or the import path of its class.
        enabled: Whether the hub has it.
        config: What makes it; None if it is not enabled.
        place: Where the file says so.
    """

    kind: str
    type: str
    enabled: bool
    config: Config[Any] | None
    place: Origin


class TypeEntry(NamedTuple):
    """A type of experiments of the file.

    Attributes:
        name: What the hub calls it.
        target: The import path of its class.
        enabled: Whether the hub has it.
        place: Where the file says so.
    """

    name: str
    target: str
    enabled: bool
    place: Origin


class HubConfig(NamedTuple):
    """What a file says, once it is checked.

    Attributes:
        source: The file.
        globals: What holds for the whole hub.
        services: The services, in the order of the file.
        types: The types of experiments, in the order of the file.
        hints: What is no mistake, but hardly meant.
    """

    source: str
    globals: Globals
    services: tuple[ServiceEntry, ...]
    types: tuple[TypeEntry, ...]
    hints: tuple[ConfigProblem, ...]


def read_hub_config(
    source: str | os.PathLike[str],
    *,
    environment: Mapping[str, str] | None = None,
    moved: Mapping[str, str] | None = None,
) -> HubConfig:
    """Read and check a file; classes of what is enabled are imported, nothing is made. Blocks.

    Args:
        source: The file: YAML, TOML or JSON.
        environment: Where `{env: NAME}` looks, and variables such as
            `RUNBUS_HUB__PLUGINS__DATASTREAM__ENABLED`; that of this process if None.
        moved: Classes that lie elsewhere here, by import path, if they are not found.

    Raises:
        ConfigInvalid: Something in it does not fit; every mistake is reported with its line.
    """
    environ = os.environ if environment is None else environment
    loaded = read_source(os.fspath(source))
    set_variables(loaded, "RUNBUS_HUB", environ)
    reading = _Reading(loaded, environ, moved or {})
    found = reading.whole()
    if reading.values.problems:
        problems = sorted(reading.values.problems, key=lambda one: (one.origin, one.line))
        raise ConfigInvalid(loaded.name, tuple(problems))
    return found


class _Reading:
    """Reads the parts of a file; collects what is wrong with them."""

    def __init__(
        self, loaded: Loaded, environment: Mapping[str, str], moved: Mapping[str, str]
    ) -> None:
        self._loaded = loaded
        self._moved = moved
        self.values = Values(loaded, environment)

    def whole(self) -> HubConfig:
        data = self._loaded.data
        self._check_keys(data, (), ("version", "global", "plugins", "experiments"))
        self._version()
        globals_ = self._global()
        services = [
            self._service(str(kind), fields) for kind, fields in self._section("plugins").items()
        ]
        listed = enumerate(self._listed("experiments"))
        types = [self._type(at, fields) for at, fields in listed]
        self._check_twice(types)
        return HubConfig(
            self._loaded.name,
            globals_,
            tuple(one for one in services if one is not None),
            tuple(one for one in types if one is not None),
            tuple(self.values.hints),
        )

    # -- parts

    def _version(self) -> None:
        if "version" not in self._loaded.data:
            self._wrong((), "the key 'version' is missing: write version: \"1.0\"")
            return
        version = self.values.read(self._loaded.data["version"], ("version",))
        if str(version) not in VERSIONS:
            self._wrong(("version",), f"version {version} is not read here: it is {VERSIONS[0]}")

    def _global(self) -> Globals:
        given = self._section("global")
        self._check_keys(given, ("global",), ("log_level", "environment"))
        level = self._text(given, ("global", "log_level"), "warning").lower()
        environment = self._text(given, ("global", "environment"), "")
        if level not in LEVELS:
            near = near_matches(level, LEVELS)
            reason = f"there is no level {level!r}; there are {', '.join(LEVELS)}"
            self._wrong(("global", "log_level"), reason, near)
        return Globals(level, environment)

    def _service(self, kind: str, fields: Any) -> ServiceEntry | None:
        at: Path = ("plugins", kind)
        if not isinstance(fields, dict):
            self._wrong(at, "a service is a mapping with enabled, type and config")
            return None
        is_known = kind in SERVICES
        if not is_known and "class" not in fields:
            there = f"there is no kind of service {kind!r}; there are {', '.join(SERVICES)}"
            self._wrong(at, there, near_matches(kind, SERVICES))
            return None
        if not self._check_keys(fields, at, ("enabled", "type", "module", "class", "config")):
            return None
        enabled = self._flag(fields, (*at, "enabled"), default=False)
        target, name = self._service_target(kind, fields, at, enabled=enabled)
        config = self._configured(kind, target, fields, at) if target is not None else None
        return ServiceEntry(kind, name, enabled, config, self._loaded.origin(at))

    def _service_target(
        self, kind: str, fields: dict[str, Any], at: Path, *, enabled: bool
    ) -> tuple[Any, str]:
        """Return the class of a service and its name; no class if none is wanted, or found."""
        if "class" in fields or "module" in fields:
            if "type" in fields:
                self._wrong((*at, "type"), "it has both a type and a class: write one of them")
            path = self._path(fields, at)
            return (self._imported(path, (*at, "class"))[0] if enabled and path else None), path
        if "type" not in fields:
            if enabled:
                self._wrong(at, "the key 'type' is missing: which one it is")
            return None, ""
        name = self._text(fields, (*at, "type"), "")
        if not enabled:  # what is not installed need not be there
            return None, name
        parts = SERVICES[kind]
        if name not in parts:
            self._wrong((*at, "type"), *_not_there(kind, name, parts))
            return None, name
        try:
            return parts.find(name), name
        except (TargetUnusable, ExtraMissing) as error:
            self._wrong((*at, "type"), _told(error))
            return None, name

    def _configured(
        self, kind: str, target: Any, fields: dict[str, Any], at: Path
    ) -> Config[Any] | None:
        """Return what makes a service, checked against its constructor."""
        said = getattr(target, "plugin_type", None)
        if said != kind:
            where = "class" if "class" in fields else "type"
            self._wrong((*at, where), f"its plugin_type is {said!r}, not {kind!r}")
            return None
        given = fields.get("config", {})
        here = (*at, "config")
        if given is None:  # the key alone
            given = {}
        if not isinstance(given, dict):
            self._wrong(here, "expected a mapping of what its constructor takes")
            return None
        known = len(self.values.problems)
        values = self.values.read(given, here, takes=target)
        if len(self.values.problems) > known:
            return None
        return self._made(target, values, here)

    def _made(self, target: Any, values: dict[str, Any], at: Path) -> Config[Any] | None:
        part = part_of(self._loaded, at, values)
        try:
            config: Config[Any] = config_of(part, target, allowed=())
        except ConfigInvalid as error:
            for one in error.problems:
                self._add_problem(one, at)
            return None
        except TargetUnusable as error:
            self._wrong(at, _told(error))
            return None
        try:
            config.complete()
        except ConfigInvalid as error:
            place = self._loaded.origin(at)
            for one in error.problems:
                self._add_problem(one._replace(origin=place.source, line=place.line), at)
            return None
        return config if self._fits_schema(target, config, at) else None

    def _fits_schema(self, target: Any, config: Config[Any], at: Path) -> bool:
        """Check what the class says of its configuration besides its constructor, if it does."""
        values = {name: config[name] for name in fields_of(config) if name in config}
        try:
            wrong = check_config(getattr(target, "config_schema", None), values)
        except RunbusError as error:  # of the schema itself
            self._wrong(at, str(error))
            return False
        for one in wrong:
            key = one.path.partition(".")[0].partition("[")[0]
            place = self._loaded.origin((*at, key) if key in values else at)
            self._add_problem(one._replace(origin=place.source, line=place.line), at)
        return not wrong

    def _type(self, index: int, fields: Any) -> TypeEntry | None:
        at: Path = ("experiments", index)
        if not isinstance(fields, dict):
            self._wrong(at, "a type of experiments is a mapping with name, module and class")
            return None
        if not self._check_keys(fields, at, ("name", "module", "class", "enabled")):
            return None
        enabled = self._flag(fields, (*at, "enabled"), default=True)
        name = self._text(fields, (*at, "name"), "")
        if not name and "name" not in fields:
            self._wrong(at, "the key 'name' is missing")
        path = self._path(fields, at)
        if path and enabled:
            found, path = self._imported(path, (*at, "class"))
            lacks = [one for one in _METHODS if not callable(getattr(found, one, None))]
            if found is not None and lacks:
                reason = f"{path} is no type of experiments: it has no {', '.join(lacks)}"
                self._wrong((*at, "class"), reason)
        return TypeEntry(name, path, enabled, self._loaded.origin(at))

    def _check_twice(self, types: list[TypeEntry | None]) -> None:
        seen: dict[str, TypeEntry] = {}
        for at, entry in enumerate(types):
            if entry is None:
                continue
            first = seen.setdefault(entry.name, entry)
            if entry.name and first is not entry:
                told = f"line {first.place.line} names a type {entry.name!r}, too"
                self._wrong(("experiments", at, "name"), told)

    # -- values

    def _section(self, name: str) -> dict[str, Any]:
        given = self._loaded.data.get(name)
        if given is None:  # not there, or the key alone
            return {}
        if not isinstance(given, dict):
            self._wrong((name,), "expected a mapping")
            return {}
        return given

    def _listed(self, name: str) -> list[Any]:
        given = self._loaded.data.get(name)
        if given is None:
            return []
        if not isinstance(given, list):
            self._wrong((name,), "expected a list")
            return []
        return given

    def _text(self, fields: dict[str, Any], at: Path, default: str) -> str:
        if at[-1] not in fields:
            return default
        value = self.values.read(fields[str(at[-1])], at)
        if not isinstance(value, str) or not value:
            self._wrong(at, "expected a text")
            return default
        return str(value)

    def _flag(self, fields: dict[str, Any], at: Path, *, default: bool) -> bool:
        value = self.values.read(fields.get(str(at[-1]), default), at)
        if isinstance(value, str) and value.lower() in ("true", "false"):  # of a variable
            return value.lower() == "true"
        if not isinstance(value, bool):
            self._wrong(at, "expected true or false")
            return default
        return value

    def _path(self, fields: dict[str, Any], at: Path) -> str:
        """Return the import path that module and class make; empty if one of them is wrong."""
        texts = []
        for key in ("module", "class"):
            if key not in fields:
                self._wrong(at, f"the key {key!r} is missing")
            texts.append(self._text(fields, (*at, key), ""))
        return ":".join(texts) if all(texts) else ""

    def _imported(self, path: str, at: Path) -> tuple[Any, str]:
        """Return a class, None if there is none, and its import path.

        Modules beside the file count, as those beside a script do.
        """
        import_from(os.path.dirname(absolute_path(self._loaded.origin(at).source)))
        try:
            return import_target(path), path
        except (TargetUnusable, ExtraMissing) as error:
            if path in self._moved:
                return import_target(self._moved[path]), self._moved[path]
            self._wrong(at, _told(error))
            return None, path

    # -- mistakes

    def _check_keys(self, fields: Mapping[Any, Any], at: Path, known: Collection[str]) -> bool:
        unknown = [str(key) for key in fields if key not in known]
        for key in unknown:
            near = near_matches(key, known)
            there = "" if near else f"; there are {', '.join(known)}"
            self._wrong((*at, key), f"unknown key {key!r}{there}", near)
        return not unknown

    def _wrong(self, at: Path, reason: str, near: tuple[str, ...] = ()) -> None:
        self.values.wrong(at, reason, near)

    def _add_problem(self, problem: ConfigProblem, at: Path) -> None:
        """Add what the constructor's own schema has found, without what is secret."""
        self.values.wrong_value(problem, at)


def _told(error: TargetUnusable | ExtraMissing) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


def _not_there(kind: str, name: str, parts: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return why there is no service of a name, and the names that may have been meant."""
    reason = f"no {kind} service is named {name!r}"
    if near := near_matches(name, parts):
        return reason, near
    missing = f"none that is installed brings one (as {name!r} in the group runbus.{kind})"
    return f"{reason}: {missing}; there are {', '.join(parts)}, or set enabled: false", ()
