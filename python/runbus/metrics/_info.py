"""run.json: what a run is, apart from what it measured."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RunInfo"]

_FILE = "run.json"


class RunInfo(NamedTuple):
    """What a run is.

    Attributes:
        id: Its id; the experiment's id is part of it.
        name: What people call it.
        project: What it is gathered under.
        config: What it was started with: JSON values.
        created_ns: When it was made, Unix time in nanoseconds.
        job: The name of the job that it records; None for a run without one.
    """

    id: str
    name: str
    project: str
    config: dict[str, Any]
    created_ns: int
    job: str | None = None

    @classmethod
    def new(
        cls, run_id: str, name: str, project: str, config: Mapping[str, Any], job: str | None = None
    ) -> RunInfo:
        """Return the info of a run that is made now."""
        return cls(run_id, name, project, dict(config), time.time_ns(), job)

    @classmethod
    def read(cls, folder: str) -> RunInfo:
        """Read run.json in a run's folder.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged.
        """
        path = os.path.join(folder, _FILE)
        with open(path, encoding="utf-8") as file:
            return cls.parse(file.read(), path)

    @classmethod
    def parse(cls, text: str, path: str = _FILE) -> RunInfo:
        """Return what the text of a run.json says; `path` is what an error calls the file.

        Raises:
            ValueError: It is damaged.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"{path} is not a run's record: {error}") from error

    def write(self, folder: str) -> None:
        """Write run.json, whole or not at all: a reader never sees half of it.

        Raises:
            TypeError: The config holds a value that JSON has no word for.
        """
        text = json.dumps(self._asdict(), indent=2, allow_nan=True, default=_plain)
        path = os.path.join(folder, _FILE)
        temporary = f"{path}.{os.getpid()}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(temporary, path)


def _plain(value: object) -> object:
    """Turn what configs hold in practice (numpy scalars, paths) into JSON's own values."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise TypeError(f"config holds {value!r}, which is not a number, text, list or mapping")
