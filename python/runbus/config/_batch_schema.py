"""The JSON Schema of batch files, from the jobs' fields and the registry of executors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runbus.codec import json_schema
from runbus.config._batch import BatchJob
from runbus.config._batch_file import Settings
from runbus.config._executor_entry import TIMES
from runbus.config._executors import GIVEN
from runbus.config._flat import flat_schema
from runbus.config._json_schema import Schemas
from runbus.config._named import EXECUTORS
from runbus.events import Timeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["batch_schema"]


class _Job(msgspec.Struct):
    """Has the same values as an executor."""

    timeouts: Timeouts = Timeouts()


_TIMES_SAID: Mapping[str, str] = {
    "timeout": "Seconds that a job may run which says nothing else; or a text such as `2h`.",
    "queue_timeout": "Seconds that it may wait for its start.",
    "idle_timeout": "Seconds that it may run without output.",
}


def batch_schema(*, built_in: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of a batch file. Imports the executors and packagers.

    Args:
        built_in: Whether to leave out those of other distributions, and those registered in Python.

    Raises:
        TargetUnusable: One cannot be imported.
    """
    schemas = Schemas(built_in=built_in)
    part = schemas.part(EXECUTORS, without=GIVEN, beside=_times())
    (_, *described) = part["anyOf"]
    batch = json_schema(Settings)["$defs"]["Settings"]
    batch["title"] = "Batch"
    batch["description"] = "A batch file."
    batch["properties"] |= {
        "jobs": {"type": "array", "items": {"$ref": "#/$defs/BatchJob"}, "minItems": 1},
        "executor": {
            "anyOf": [{"type": "string"}, *described],
            "default": "local",
            "description": "The executor of the jobs that name none: a name, or its fields.",
        },
        "executors": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, *described]},
            "default": {},
            "description": "Executors by the names that jobs use.",
        },
    }
    batch["additionalProperties"] = False
    jobs = flat_schema(BatchJob)
    one = jobs["BatchJob"]["properties"]["executor"]
    one["anyOf"] = [*one["anyOf"], *described]
    return {
        "$ref": "#/$defs/Batch",
        "$defs": {"Batch": batch, **jobs, **schemas.definitions},
    }


def _times() -> dict[str, Any]:
    shapes = flat_schema(_Job)["_Job"]["properties"]
    return {key: {**shapes[key], "description": _TIMES_SAID[key]} for key in TIMES if key in shapes}
