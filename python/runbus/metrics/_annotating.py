"""What is said of a run after it was logged: tags, notes and other names."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runbus.errors import HomeUnusable
from runbus.metrics._folder import new_writer
from runbus.metrics._recorder import Recorder
from runbus.metrics._records import RecordWriter
from runbus.metrics._values import check_free, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runbus.metrics._info import RunInfo
    from runbus.metrics._kept import Kept

__all__ = ["Annotating"]


class Annotating:
    """Says something of a run that others have logged: of one that is over, too.

    How the run ended stays as it is. What is said is on the disk when a call returns.
    """

    folder: str
    info: RunInfo

    def tag(self, *names: str) -> None:
        """Give the run tags, for finding it.

        Raises:
            TypeError: A name is no text.
            ValueError: A name is empty.
            HomeUnusable: It cannot be written.
        """
        with self._recording() as recorder:
            recorder.tag(*names)

    def untag(self, *names: str) -> None:
        """Remove tags; unknown ones are ignored. Raises what `tag` does."""
        with self._recording() as recorder:
            recorder.untag(*names)

    def note(self, text: str) -> None:
        """Add a note.

        Raises:
            TypeError: It is no text.
            HomeUnusable: It cannot be written.
        """
        with self._recording() as recorder:
            recorder.note(text)

    def set_params(self, values: Mapping[str, Any]) -> None:
        """Record what the run was made with, as `Run.params` does: for what starts it.

        Raises:
            TypeError: A value cannot be kept.
            ValueError: A name is empty or occurs twice.
            HomeUnusable: It cannot be written.
        """
        with self._recording() as recorder:
            recorder.params(dict(values))

    def show_as(self, names: Mapping[str, str | None]) -> None:
        """Have views show params and metrics under other names, or not at all.

        What is logged and kept stays as it is, and the names that it was logged under go on to mean
        it.

        Args:
            names: Other names by those that they were logged under; None hides what has the name,
                its own name shows it as it was.

        Raises:
            TypeError: A name is no text.
            ValueError: A name is empty, too long or no Unicode.
            HomeUnusable: It cannot be written.
        """
        for name, shown in names.items():
            check_name(name, "a name")
            if shown is not None:
                check_name(shown, "another name")
        with self._recording() as recorder:
            recorder.show_as(dict(names))

    def take_over(self, other: Kept) -> None:
        """Take over what is said of another run: its tags, notes and names for views.

        Raises:
            FileUnreadable: The records of the other run cannot be read.
            HomeUnusable: It cannot be written.
        """
        tags, notes, names = other.tags, other.notes, other.shown_names
        if not tags and not notes and not names:
            return
        with self._recording() as recorder:
            recorder.tag(*tags)
            for note in notes:
                recorder.note(note.text)
            if names:
                recorder.show_as(names)

    def rename(self, name: str) -> None:
        """Call the run something else; its id stays, and so does the name of its job.

        Raises:
            TypeError: The name is no text.
            ValueError: It is empty, too long or no Unicode; or it is "latest" or the id of another
                run or of a batch, which mean those wherever one is named.
            HomeUnusable: It cannot be written.
        """
        if check_name(name, "a run") != os.path.basename(self.folder):
            check_free(name, "a run")
        info = type(self.info).read(self.folder)._replace(name=name)
        try:
            info.write(self.folder)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise HomeUnusable(self.folder, reason) from None
        self.info = info

    @contextmanager
    def _recording(self) -> Iterator[_Recorder]:
        if not os.path.isdir(self.folder):
            raise HomeUnusable(self.folder, os.strerror(errno.ENOENT).lower())
        writer = new_writer(self.folder, is_helper=True)
        recorder = _Recorder(RecordWriter(self.folder, writer))
        try:
            yield recorder
        finally:
            recorder.close()
        if recorder.lost_records:
            raise HomeUnusable(self.folder, "what was said could not be written")


class _Recorder(Recorder):
    """Records, as a process that logs does."""

    def __init__(self, records: RecordWriter) -> None:
        self._own_records = records

    def _tell_changes(self, new: dict[str, Any]) -> None:
        del new  # the values before are kept, and nobody is in the middle of a run

    def show_as(self, names: dict[str, str | None]) -> None:
        self._own_records.keep("names", lambda: {"names": names})

    @property
    def _records(self) -> RecordWriter:
        return self._own_records

    def close(self) -> None:
        self._own_records.close()
