"""run.json: what a run is, apart from what it measured."""

from __future__ import annotations

import json
import os
import time
from json.encoder import encode_basestring_ascii as _quoted
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._files import add_check, read_file, take_check, write_file
from runbus._secrets import redacted, redacted_text
from runbus.errors import FileUnreadable
from runbus.metrics._origin import Origin
from runbus.metrics._values import to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RunInfo"]

_FILE = "run.json"
_VERSION = 2
_LARGEST = 64 << 20
_KINDS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "name": str,
    "project": str,
    "config": dict,
    "created_ns": int,
    "job": (str, NoneType),
}


class RunInfo(NamedTuple):
    """What a run is.

    Attributes:
        id: Its id; the experiment's id is part of it.
        name: What people call it.
        project: What it is gathered under.
        config: What it was started with: JSON values; in run.json without its secrets.
        created_ns: When it was made, Unix time in nanoseconds.
        job: The name of the job that it records; None for a run without one.
        origin: Where it comes from: its command line, interpreter and commit.
    """

    id: str
    name: str
    project: str
    config: dict[str, Any]
    created_ns: int
    job: str | None = None
    origin: Origin = Origin()

    @classmethod
    def new(
        cls,
        run_id: str,
        name: str,
        project: str,
        config: Mapping[str, Any],
        job: str | None = None,
        origin: Origin | None = None,
    ) -> RunInfo:
        """Return the info of a run that is made now."""
        return cls(run_id, name, project, dict(config), time.time_ns(), job, origin or Origin())

    @classmethod
    def read(cls, folder: str) -> RunInfo:
        """Read run.json in a run's folder.

        Raises:
            FileNotFoundError: It does not exist.
            FileUnreadable: It cannot be read, is damaged, or is about another run.
        """
        path = os.path.join(folder, _FILE)
        return cls.parse(read_file(path, limit=_LARGEST), path)

    @staticmethod
    def version_of(folder: str) -> tuple[int, int]:
        """Return what is another each time that run.json is written: its inode, and when it was.

        Raises:
            OSError: It does not exist, or cannot be reached.
        """
        found = os.stat(os.path.join(folder, _FILE))
        return found.st_ino, found.st_mtime_ns

    @staticmethod
    def files_to_sync(folder: str) -> tuple[str, str]:
        """Return what must be on the disk so that a power failure leaves the run in the lists."""
        return os.path.join(folder, _FILE), folder

    @classmethod
    def parse(cls, data: bytes, path: str) -> RunInfo:
        """Return what the text of a run.json says.

        Args:
            data: The text.
            path: The file, whose folder is called by the run's id.

        Raises:
            FileUnreadable: It is damaged, or is about another run.
        """
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise FileUnreadable(path, "it is not valid UTF-8") from error
        try:
            fields = json.loads(take_check(data, path))
        except (ValueError, RecursionError) as error:
            raise FileUnreadable(path, f"it is not JSON that can be read: {error}") from error
        return cls._of(fields, path)

    @classmethod
    def _of(cls, fields: Any, path: str) -> RunInfo:
        version = fields.pop("version", None) if isinstance(fields, dict) else None
        if version != _VERSION:
            raise FileUnreadable(path, f"its version is {version!r}, this runbus reads {_VERSION}")
        origin = fields.pop("origin", None)
        if {*fields} != {*_KINDS} or not all(
            isinstance(fields[field], kind) for field, kind in _KINDS.items()
        ):
            raise FileUnreadable(path, "it does not describe a run")
        info = cls(**fields, origin=Origin.parse(origin))
        if info.id != (folder := os.path.basename(os.path.dirname(path))):
            raise FileUnreadable(path, f"it describes the run {info.id!r}, not {folder!r}")
        if not 0 <= info.created_ns < 1 << 63:
            raise FileUnreadable(path, f"it was created at {info.created_ns} ns")
        return info

    def write(self, folder: str) -> None:
        """Write run.json, whole or not at all; no secret is in it.

        It is on the disk when `files_to_sync` are: with what the run logs first, or with the record
        of its experiment.

        Args:
            folder: The run's folder.

        Raises:
            TypeError: The config holds a value that cannot be kept.
            OSError: The disk is full or failing.
        """
        config = redacted(to_plain(self.config, "config"))
        fields = self._replace(name=redacted_text(self.name), config=config)._asdict()
        fields["origin"] = self.origin._asdict()
        text = _laid_out({"version": _VERSION, **fields})
        write_file(os.path.join(folder, _FILE), add_check(text.encode()), is_durable=False)


def _laid_out(value: Any, margin: str = "\n") -> str:
    """Return data as JSON with a line for each field.

    The encoder's own layout is made in Python and costs a job as much as its folders.
    """
    if isinstance(value, str):
        return _quoted(value)  # as `dumps` does, which looks at its ten options first
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = margin + "  "
    fields = (f"{_quoted(key)}: {_laid_out(one, inner)}" for key, one in value.items())
    return "{" + inner + f",{inner}".join(fields) + margin + "}"
