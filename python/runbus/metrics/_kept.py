"""What a run keeps beside its metrics: reading it, from any process, also while it is written."""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._files import read_file
from runbus.errors import FileUnreadable, RecordNotFound, near_matches
from runbus.metrics._artifacts import Content, copy_out, digest, path_of
from runbus.metrics._collected import Collected
from runbus.metrics._histograms import Histogram
from runbus.metrics._params import Note, ParamValue, notes_of, param_values, shown_names, tags_of
from runbus.metrics._records import RecordReader, merged

if TYPE_CHECKING:
    from typing import Self

    from runbus.metrics._info import RunInfo
    from runbus.metrics._records import Record

__all__ = ["Artifact", "Kept", "Text"]

_LONGEST_TEXT = 1 << 30


class Artifact(NamedTuple):
    """A file or folder that a run keeps.

    Attributes:
        name: What the run calls it.
        kind: "image", "table", "file", "folder", or what the run says.
        step: The step; None if none was given.
        time_ns: When it was logged, Unix time in nanoseconds.
        size: Bytes; of a folder, of all its files.
        sha256: The hash of the file; of a folder, of what `sha256sum` prints for its files in the
            order of their paths.
        path: Where it lies; it is not to be changed.
        caption: What to show with it; None if nothing.
    """

    name: str
    kind: str
    step: int | None
    time_ns: int
    size: int
    sha256: str
    path: str
    caption: str | None

    @classmethod
    def of(cls, folder: str, record: Record) -> Self | None:
        """Return the artifact of a record; None if the record cannot be true."""
        path = path_of(folder, _content(record))
        fields = {**record, "path": path}
        return None if path is None else cls._make(fields.get(field) for field in cls._fields)

    def is_whole(self) -> bool:
        """Whether it is what was logged, by its hash. Reads all of it.

        Raises:
            FileUnreadable: It, or a file in it, is not a regular file or may not be read.
            OSError: It is gone.
        """
        return digest(self.path) == self.sha256

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """Copy it, checked against its hash: the copy appears whole, or not at all.

        Args:
            path: Where the file or folder is to be; nothing is there, but its folder is.

        Raises:
            FileUnreadable: It is not what was logged, or is gone.
            OSError: The copy cannot be written.
        """
        copy_out(self.path, self.size, self.sha256, os.fspath(path))


class Text(NamedTuple):
    """A text that a run keeps.

    Attributes:
        name: What it is.
        step: The step; None if none was given.
        time_ns: When it was logged, Unix time in nanoseconds.
        path: The file of a long one; None if `short` is the text.
        short: The text, unless it has a file.
    """

    name: str
    step: int | None
    time_ns: int
    path: str | None
    short: str

    @classmethod
    def of(cls, folder: str, record: Record) -> Self:
        """Return the text of a record."""
        path = None if "text" in record else path_of(folder, _content(record))
        short = str(record.get("text", ""))
        return cls(record["name"], record.get("step"), record["time_ns"], path, short)

    @property
    def text(self) -> str:
        """The text; a long one is read anew each time.

        Raises:
            FileUnreadable: The file of a long one is not what was logged.
            OSError: It is gone.
        """
        if self.path is None:
            return self.short
        run, *below = self.path.rsplit("/", 3)
        data = read_file("/".join(below), within=run, limit=_LONGEST_TEXT)
        # A text lies in a folder that is called by its hash.
        if hashlib.sha256(data).hexdigest() != below[1]:
            raise FileUnreadable(self.path, "its content is not what was logged")
        return data.decode()


class Kept:
    """Reads the records of a run: what each call returns is what is recorded by then.

    Texts, histograms, images and tables come oldest first, those of several writers by time; with
    a name only those of that name.
    """

    folder: str
    info: RunInfo

    @cached_property
    def _recorded(self) -> _Recorded:
        return _Recorded(self.folder)

    @property
    def params(self) -> dict[str, Any]:
        """What the run was made with: its config, flattened, and the params that it logged."""
        return {name: values[-1].value for name, values in self.param_values().items()}

    def param_values(self) -> dict[str, list[ParamValue]]:
        """Return every value that each param was given, oldest first."""
        return param_values(self.info.config, self.info.created_ns, self._recorded.now())

    @property
    def tags(self) -> list[str]:
        """The tags that the run has now, in the order in which it got them."""
        return tags_of(self._recorded.now())

    @property
    def notes(self) -> list[Note]:
        """What was noted, oldest first."""
        return notes_of(self._recorded.now())

    @property
    def shown_names(self) -> dict[str, str | None]:
        """What views call params and metrics that have another name there; None hides one."""
        return shown_names(self._recorded.now())

    def artifacts(self, name: str | None = None, *, kind: str | None = None) -> list[Artifact]:
        """Return the files and folders that the run keeps, oldest first.

        Args:
            name: Only those of this name: what was logged under it again and again.
            kind: Only those of this kind, such as "image".

        Raises:
            RecordNotFound: There is none of that name.
        """
        records = self._of("artifact", name, kind)
        found = (Artifact.of(self.folder, record) for record in records)
        return [artifact for artifact in found if artifact is not None]

    @property
    def collected(self) -> list[Collected]:
        """What was collected when attempts of the run's job had ended, oldest first."""
        found = self._recorded.now()
        return [Collected.of(record) for record in found if record["what"] == "collected"]

    def images(self, name: str | None = None) -> list[Artifact]:
        """Return the images, as `artifacts` does."""
        return self.artifacts(name, kind="image")

    def tables(self, name: str | None = None) -> list[Artifact]:
        """Return the tables, as `artifacts` does: files of Parquet or of lines of JSON."""
        return self.artifacts(name, kind="table")

    def text(self, name: str | None = None) -> list[Text]:
        """Return the texts.

        Raises:
            RecordNotFound: There is none of that name.
        """
        return [Text.of(self.folder, record) for record in self._of("text", name)]

    def histograms(self, name: str | None = None) -> list[Histogram]:
        """Return the histograms.

        Raises:
            RecordNotFound: There is none of that name.
        """
        return [Histogram.of(record) for record in self._of("histogram", name)]

    def _reasons(self) -> dict[str, str]:
        """Return why writers have ended, as they recorded it."""
        return {
            name.removesuffix(".journal"): record["reason"]
            for name, records in self._recorded.by_writer().items()
            for record in records
            if record["what"] == "end"
        }

    def _damage_of_records(self) -> dict[str, list[tuple[int, int]]]:
        self._recorded.now()
        return self._recorded.damage

    def _of(self, what: str, name: str | None, kind: str | None = None) -> list[Record]:
        """Return the records of something, or only those of a name, of which there must be one."""
        found = [
            record
            for record in self._recorded.now()
            if record["what"] == what and kind in (None, record.get("kind"))
        ]
        of_name = [record for record in found if name in (None, record["name"])]
        if name is not None and not of_name:
            near = near_matches(name, dict.fromkeys(record["name"] for record in found))
            raise RecordNotFound(name, near, self.info.id, kind or what)
        return of_name


class _Recorded(RecordReader):
    """The records read so far: only what is new is read again."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self._writers: dict[str, list[Record]] = {}

    def now(self) -> list[Record]:
        """Return everything that is recorded now, by time."""
        return merged(self.by_writer().values())

    def by_writer(self) -> dict[str, list[Record]]:
        """Return everything that is recorded now, by the names of the files."""
        for writer, records in self.poll().items():
            self._writers.setdefault(writer, []).extend(records)
        return self._writers


def _content(record: Record) -> Content:
    return Content._make(record.get(field) for field in Content._fields)
