"""What is said of a run after it was logged: tags, notes and another name."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runbus.errors import HomeUnusable
from runbus.metrics._folder import new_journal, writer_of
from runbus.metrics._recorder import Recorder
from runbus.metrics._records import RecordWriter
from runbus.metrics._values import check_free, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.metrics._info import RunInfo

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
        writer = writer_of(new_journal(self.folder, is_helper=True))
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

    @property
    def _records(self) -> RecordWriter:
        return self._own_records

    def close(self) -> None:
        self._own_records.close()
