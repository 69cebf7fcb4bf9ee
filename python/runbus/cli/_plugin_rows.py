"""What `runbus plugins` shows of each plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.abc import PluginState
from runbus.cli._facts import shown_path
from runbus.config import PluginSettings, leaves, shown_value
from runbus.errors import UsageError
from runbus.plugins import Registry, about

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.abc import PluginInfo
    from runbus.plugins import Argument, Declared, SchemaField

__all__ = ["PluginRow", "ShownField", "plugin_row", "plugin_rows"]


class ShownField(NamedTuple):
    """A value that a plugin is made from.

    Attributes:
        path: Where it is, such as `server.url`.
        value: The value, as data; a secret's place instead of the secret. None if it is needed.
        text: The value for a person to read.
        origin: Who said so: `file:line`, a variable, `default`, `needed`, or `optional`.
        type: Its type, where a schema says it.
    """

    path: str
    value: Any
    text: str
    origin: str
    type: str = ""


class PluginRow(NamedTuple):
    """A plugin that was found.

    Attributes:
        info: What is known of it.
        about: What its source says.
        needs: The arguments that it has to be given, and nobody has said.
        is_hidden: Whether another one of its name goes before.
        schema: The fields that a managed plugin's schema has, once it is loaded.
    """

    info: PluginInfo
    about: Declared
    needs: tuple[str, ...] = ()
    is_hidden: bool = False
    schema: tuple[SchemaField, ...] = ()

    @property
    def is_wrong(self) -> bool:
        """Whether it cannot be used."""
        return self.info.state is PluginState.FAILED and not self.is_hidden

    @property
    def state(self) -> str:
        """How far it is, in a word."""
        if self.is_hidden:
            return "hidden"
        is_off = self.info.error and self.info.state is PluginState.DISCOVERED
        return "off" if is_off else self.info.state.value

    @property
    def shown_origin(self) -> str:
        """Where it comes from, in few words."""
        kind, _, where = self.info.origin.partition(" ")
        if kind == "folder":
            return shown_path(where)
        return self.info.origin.removeprefix("entry point ")

    @property
    def why_not(self) -> str:
        """Why it is not loaded; empty if it is, or nothing keeps it from that."""
        if self.info.error:
            return self.info.error
        return f"needs {', '.join(self.needs)}" if self.needs else ""

    @property
    def note(self) -> str:
        """The same for a table, below which failures are told."""
        return "" if self.is_wrong else self.why_not

    def described(self) -> dict[str, Any]:
        """Return it as data."""
        info = self.info
        return {
            "name": info.name,
            "version": info.version,
            "face": info.face,
            "state": self.state,
            "origin": info.origin,
            "entry_point": info.entry_point,
            "distribution": info.distribution,
            "health": info.health,
            "why_not": self.why_not,
            "requires": info.requires,
            "arguments": [str(one) for one in self._arguments()],
            "load_s": info.load_s,
        }

    def _arguments(self) -> list[Argument]:
        """Return the arguments, without what may be a secret in their defaults."""
        return [
            one._replace(default=shown_value((one.name,), one.default))
            if one.default.strip("'\"") not in ("", "None")
            else one
            for one in self.about.arguments or ()
        ]

    def fields(self) -> list[ShownField]:
        """Return what it is made from: what was said, and the defaults for the rest.

        Raises:
            ConfigInvalid: `runbus.yaml` cannot be read.
        """
        said = PluginSettings().of(self.info.name, known=())
        of_schema = {one.name: one for one in self.schema}
        found = []
        for text, path, value in leaves(said.data) if said.data else ():
            field = of_schema.get(str(path[0]))
            shown = "***" if field and field.is_secret else shown_value(path, value)
            kind = field.type if field and len(path) == 1 else ""
            found.append(ShownField(text, shown, _text(shown), said.origin(path), kind))
        found += [_unsaid(one) for one in self.schema if one.name not in said.data]
        for one in self._arguments():
            if one.name in said.data or one.name.startswith("*"):
                continue
            origin = "default" if one.default else "needed"
            found.append(ShownField(one.name, one.default or None, one.default, origin))
        return found


def _unsaid(field: SchemaField) -> ShownField:
    """Return what a field is that nobody has said anything of."""
    if field.default is None:
        origin = "needed" if field.is_required else "optional"
        return ShownField(field.name, None, "", origin, field.type)
    shown = "***" if field.is_secret else shown_value((field.name,), field.default)
    return ShownField(field.name, shown, _text(shown), "default", field.type)


def _text(value: Any) -> str:
    from runbus.codec import encode_json

    return value if isinstance(value, str) else encode_json(value).decode()


def plugin_rows(*, load: bool) -> tuple[list[PluginRow], list[str]]:
    """Return all plugins in the order of their names, each loaded as far as it can be.

    Args:
        load: Whether to import those that nothing keeps from it.

    Returns:
        The plugins, those that are hidden after the one that hides them; and what is wrong with
        folders, metadata and variables.
    """
    registry = Registry()
    with registry.trying() as attempt:
        rows = [_row(registry, name, attempt if load else None) for name in [*registry.infos]]
    rows += [
        PluginRow(info, about(found), is_hidden=True)
        for info, found in zip(registry.hidden, registry.findings.hidden, strict=True)
    ]
    rows.sort(key=lambda row: row.info.name)
    unused = map(str, PluginSettings().unused_variables(registry.infos))
    return rows, [*registry.problems, *unused]


def plugin_row(name: str, *, load: bool) -> PluginRow:
    """Return the plugin of a name, loaded as far as it can be.

    Args:
        name: The name.
        load: Whether to import it if nothing keeps it from that.

    Raises:
        PluginNotFound: There is none.
    """
    registry = Registry()
    if name not in registry.infos:
        raise registry.findings.not_found(name)
    with registry.trying() as attempt:
        row = _row(registry, name, attempt if load else None)
    if load and row.info.face == "extension":  # another one may have its names
        rows, _ = plugin_rows(load=True)
        row = next((one for one in rows if one.info.name == name and not one.is_hidden), row)
    return row


def _row(registry: Registry, name: str, attempt: Callable[[str], None] | None) -> PluginRow:
    said_of = about(registry.findings.plugins[name])
    needs: tuple[str, ...] = ()
    if not registry.infos[name].error:
        needs = _needs(registry, name, said_of)
        if attempt is not None and not needs:
            attempt(name)
    schema = registry.schema_fields(name)
    return PluginRow(registry.infos[name], said_of, needs, schema=schema)


def _needs(registry: Registry, name: str, said_of: Declared) -> tuple[str, ...]:
    """Return what a plugin has to be given, where nobody has said anything of it."""
    try:
        if PluginSettings().of(name, known=registry.infos).data:
            return ()
    except UsageError:  # told when it is loaded
        return ()
    arguments = said_of.arguments or ()
    return tuple(one.name for one in arguments if not one.default and not one.name.startswith("*"))
