"""What a managed plugin says of itself."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from runbus._listed import listed
from runbus.errors import FieldInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MetricType", "PluginMetadata", "PluginType", "is_requirement"]

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_WORD = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"


class _OpenEnum(StrEnum):
    """An enumeration of words to which others may add theirs by using them."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        if not isinstance(value, str) or not re.fullmatch(_WORD, value):
            return None
        if (known := cls._value2member_map_.get(value.lower())) is not None:
            return known
        member = str.__new__(cls, value)
        member._name_ = value.upper().replace("-", "_").replace(".", "_")
        member._value_ = value
        return cls._value2member_map_.setdefault(value, member)

    # By its value: before Python 3.11.4 one is pickled by its name, which another process lacks.
    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        del protocol
        return type(self), (self.value,)


class PluginType(_OpenEnum):
    """What kind of plugin one is; `PluginType("exporter")` is a further kind, without more ado.

    A member is a text, too: `PluginType.BACKEND == "backend"`.
    """

    BACKEND = "backend"
    COLLECTOR = "collector"
    FRAMEWORK = "framework"
    PROCESSOR = "processor"


class MetricType(_OpenEnum):
    """What kind of thing comes to a sink: what `can_handle_type` is asked about.

    SCALAR is a point of a metric, SYSTEM one that a collector measured, or a sample of the machine
    of a run, PARAMETER a param of a run, ARTIFACT a file or folder of it; TEXT and HISTOGRAM are
    what they say.
    """

    SCALAR = "scalar"
    SYSTEM = "system"
    PARAMETER = "parameter"
    ARTIFACT = "artifact"
    TEXT = "text"
    HISTOGRAM = "histogram"


class PluginMetadata:
    """What a managed plugin says of itself; a value.

    Attributes:
        name: Its name: letters, digits, `.`, `_` and `-`.
        version: Its version, as it is shown.
        type: Its kind.
        description: What it is for, in a sentence.
        author: Who made it.
        dependencies: What it needs, as it was given: names of plugins, and distributions by their
            form (`requests>=2.25`). `plugins` and `distributions` tell them apart.
        config_schema: What its configuration must look like; see `check_config`. None for
            anything.
        capabilities: Free words that tell what it can do.
        entry_point: Where its class is, as `package.module.Class` or `package.module:Class`; empty
            where that goes without saying.
        requires: Further distributions that it needs, also such without a version (`requests`).
    """

    __slots__ = (
        "author", "capabilities", "config_schema", "dependencies", "description", "entry_point",
        "name", "requires", "type", "version",
    )  # fmt: skip
    __match_args__ = ("name", "version", "type")

    def __init__(
        self,
        name: str,
        version: str = "0",
        type: PluginType | str | None = None,
        description: str = "",
        author: str = "",
        dependencies: Iterable[str] = (),
        config_schema: Mapping[str, Any] | None = None,
        capabilities: Iterable[str] = (),
        *,
        plugin_type: PluginType | str | None = None,
        entry_point: str = "",
        requires: Iterable[str] = (),
    ) -> None:
        """Check what is said; see the class for the arguments.

        Args:
            name: As above, as for the others.
            version: As above.
            type: The kind, as a member of `PluginType` or a word.
            description: As above.
            author: As above.
            dependencies: As above.
            config_schema: As above.
            capabilities: As above.
            plugin_type: Another name of `type`; if both are given, they must agree.
            entry_point: As above.
            requires: As above.

        Raises:
            FieldInvalid: A field cannot be what was given for it.
        """
        self.name = _checked("name", name, _NAME)
        self.version = _text("version", version)
        self.type = _kind(type, plugin_type)
        self.description = _text("description", description)
        self.author = _text("author", author)
        self.dependencies: tuple[str, ...] = listed(dependencies, "dependencies", of="names")
        if config_schema is not None and not hasattr(config_schema, "keys"):
            raise FieldInvalid("config_schema", repr(config_schema), "is no mapping")
        self.config_schema = config_schema
        self.capabilities = frozenset(
            listed(
                sorted(capabilities) if isinstance(capabilities, set | frozenset) else capabilities,
                "capabilities",
                of="names",
            )
        )
        self.entry_point = _text("entry_point", entry_point)
        self.requires: tuple[str, ...] = listed(requires, "requires", of="names")

    @property
    def plugin_type(self) -> PluginType:
        """Its kind, by the other name."""
        return self.type

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of the plugins that it depends on."""
        return tuple(one for one in self.dependencies if not is_requirement(one))

    @property
    def distributions(self) -> tuple[str, ...]:
        """The distributions that it needs, each as pip takes it."""
        return (*filter(is_requirement, self.dependencies), *self.requires)

    def _key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PluginMetadata) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.type))

    def __repr__(self) -> str:
        return f"PluginMetadata({self.name!r}, {self.version!r}, type={self.type.value!r})"


def is_requirement(text: str) -> bool:
    """Tell whether a dependency is a distribution by its form: it has more than a name."""
    return re.fullmatch(_NAME, text) is None


def _kind(kind: PluginType | str | None, same: PluginType | str | None) -> PluginType:
    given = [one for one in (kind, same) if one is not None]
    if not given:
        raise FieldInvalid("type", "None", "is missing", "write type='backend'")
    try:
        kinds = {PluginType(one) for one in given}
    except ValueError:
        advice = "write a word, such as 'backend' or 'collector'"
        raise FieldInvalid("type", repr(given[0]), "is no kind of plugin", advice) from None
    if len(kinds) > 1:
        raise FieldInvalid("plugin_type", repr(same), f"but type is {kind!r}", "give one of them")
    return kinds.pop()


def _checked(field: str, value: object, pattern: str) -> str:
    if not isinstance(value, str) or re.fullmatch(pattern, value) is None or len(value) > 200:
        advice = "write letters, digits, '.', '_' and '-', beginning with a letter or digit"
        raise FieldInvalid(field, repr(value)[:80], f"is no {field} of a plugin", advice)
    return value


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise FieldInvalid(field, repr(value)[:80], "is no text")
    return value
