"""The fields of a `config_schema`, to be listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from runbus.plugins._config_schema import is_json_schema
from runbus.plugins._schema_words import hides

__all__ = ["SchemaField", "fields_of_schema"]


class SchemaField(NamedTuple):
    """A field that a configuration may have.

    Attributes:
        name: Its name.
        type: Its type, as the schema says it; empty if it says none.
        is_required: Whether it has to be given.
        default: What it is if nobody says anything; None if nothing.
        is_secret: Whether its values, the default among them, must not be shown.
    """

    name: str
    type: str = ""
    is_required: bool = False
    default: Any = None
    is_secret: bool = False


def fields_of_schema(schema: Mapping[str, Any] | None) -> tuple[SchemaField, ...]:
    """Return the outermost fields of a schema; what is wrong with that is told where it is used."""
    fields: Any = schema or {}
    required: Any = ()
    if is_json_schema(fields):
        required = fields.get("required")
        fields = fields.get("properties")
    if not isinstance(required, list | tuple):
        required = ()
    if not isinstance(fields, Mapping):
        return ()
    return tuple(_field(str(name), one, name in required) for name, one in fields.items())


def _field(name: str, field: Any, is_required: bool) -> SchemaField:
    if not isinstance(field, Mapping):
        return SchemaField(name, is_required=is_required)
    kind = field.get("type", "")
    text = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    default = field.get("default")
    # Of fields, what has a default need not be there; a JSON Schema's default is filled in, too.
    needed = (is_required or field.get("required") is True) and "default" not in field
    return SchemaField(name, text, needed, default, hides(name, field))
