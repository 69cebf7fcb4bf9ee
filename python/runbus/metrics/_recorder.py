"""What a run keeps beside its metrics: the calls that record it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runbus._secrets import redacted, redacted_text
from runbus.metrics._values import (
    check_name,
    check_step,
    clean_text,
    config_of,
    flatten,
    to_plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbus.metrics._artifacts import Content
    from runbus.metrics._kept import Artifact
    from runbus.metrics._records import Record, RecordWriter

__all__ = ["Recorder"]

_LONGEST_TEXT = 64 << 10
"""Bytes of UTF-8: longer ones become files, so that reading the index stays quick."""


class Recorder:
    """Records params, tags, notes, texts, histograms, images, tables and files.

    A wrong argument raises at once, names it, and records nothing. The disk never raises: on a full
    one a call counts what it lost (`lost_records`), tells the logger `runbus.metrics` once, and the
    next call tries again.

    What a call has recorded survives the death of the process. Threads may share a run.
    """

    __slots__ = ()

    # The run's own: annotations of a class without slots take no place.
    folder: str
    _own_records: RecordWriter

    @property
    def _records(self) -> RecordWriter:
        raise NotImplementedError

    @property
    def config(self) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def lost_records(self) -> int:
        """How many calls could not be kept: the disk was full, or the run has ended or is gone."""
        return self._own_records.lost

    def params(self, values: Any = None, /, **more: Any) -> None:
        """Record what the run was made with: `run.params(lr=0.1)`, `run.params({"opt": {...}})`.

        Names of nested mappings join with "/". The config is where params begin. One that gets
        another value has the newest one, which is reported to the logger `runbus.metrics`; the
        values before are kept, see `StoredRun.param_values`.

        What has a secret's name (`password`, `hf_token`) is recorded as `***`, and so are user and
        password, or a token, in a URL.

        Args:
            values: What `runbus.init` takes as the config.
            **more: The same.

        Raises:
            TypeError: A value cannot be kept.
            ValueError: A name is empty or occurs twice, or a mapping holds itself; or the run is
                finished.
        """
        flat: dict[str, Any] = {}
        given = to_plain({**config_of(values), **more}, "param")
        for name, value in flatten(redacted(given)):
            if check_name(name, "a param") in flat:
                raise ValueError(f"the param {name!r} occurs twice")
            flat[name] = value
        if flat and self._records.keep("params", lambda: {"params": flat}):
            self._tell_changes(flat)

    def _tell_changes(self, new: dict[str, Any]) -> None:
        known = self._records.params
        if known is None:
            config = redacted(to_plain(self.config, "config"))
            known = self._records.params = dict(flatten(config))
        for name, value in new.items():
            if name in known and repr(known[name]) != repr(value):
                self._records.warn(
                    f"param {name!r} was {known[name]!r} and is now {value!r}: "
                    "the newest counts, both are kept"
                )
        known.update(new)

    def tag(self, *names: str) -> None:
        """Give the run tags, for finding it: `runbus ls --tag baseline`.

        Raises:
            TypeError: A name is not a string.
            ValueError: A name is empty; or the run is finished.
        """
        self._tags(added=names)

    def untag(self, *names: str) -> None:
        """Remove tags, no matter which process added them; unknown ones are ignored.

        Raises:
            TypeError: A name is not a string.
            ValueError: A name is empty; or the run is finished.
        """
        self._tags(removed=names)

    def _tags(self, added: Sequence[str] = (), removed: Sequence[str] = ()) -> None:
        for name in (*added, *removed):
            check_name(name, "a tag")
        if added or removed:
            record = {"added": list(added), "removed": list(removed)}
            self._records.keep("tags", lambda: record)

    def note(self, text: str) -> None:
        """Add a note. User and password, or a token, in a URL of it become `***`.

        Raises:
            TypeError: It is not a string.
            ValueError: The run is finished.
        """
        text = redacted_text(_text(text, "a note"))
        self._records.keep("note", lambda: {"text": text})

    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """Record a text, such as what a model generated at a step.

        Args:
            name: What it is; the same for all steps.
            text: The text; one beyond 64 KiB becomes a file. A lone surrogate becomes a "?", and
                user and password, or a token, in a URL become `***`.
            step: A 64-bit integer; None for a text that belongs to no step.

        Raises:
            TypeError: Name or text is not a string, or the step no int.
            ValueError: The name is empty; or the run is finished.
        """
        about = _about("a text", name, step)
        text = redacted_text(_text(text, "a text"))
        data = text.encode()

        def make() -> Record:
            if len(data) <= _LONGEST_TEXT:
                return {**about, "text": text}
            return {**about, **self._records.store.keep_bytes(data, f"{name}.txt")._asdict()}

        self._records.keep("text", make)

    def log_result(self, value: Any) -> None:
        """Record the result of the run: what `RunRecord.result` is, and other jobs may be given.

        The last one counts, and what the function of a job returns is the last one.

        Args:
            value: Numbers, texts, lists and mappings; scalars of numpy and torch are numbers.

        Raises:
            TypeError: JSON cannot hold it.
            ValueError: The run is finished.
        """
        from runbus.metrics._result import NAME, result_text

        self.log_text(NAME, result_text(value))

    def log_histogram(
        self, name: str, values: Any, step: int | None = None, *, bins: int = 64
    ) -> None:
        """Record how values are distributed.

        Args:
            name: What the values are; the same for all steps.
            values: An array, tensor or list of any shape, which is counted (with numpy); NaN and
                the infinities are counted beside the bins. Or a tuple of counts and edges, as
                `numpy.histogram` returns them, which is kept as it is.
            step: A 64-bit integer; None for what belongs to no step.
            bins: How many bins of equal width to count in, 1 to 4096.

        Raises:
            ExtraMissing: Values are to be counted and numpy is not installed.
            TypeError: The values are no real numbers, or the step no int.
            ValueError: There are no values, counts and edges do not fit; or the run is finished.
        """
        from runbus.metrics._histograms import counted

        about = _about("a histogram", name, step)
        counts = counted(values, bins)
        self._records.keep("histogram", lambda: {**about, **counts})

    def log_image(
        self, name: str, image: Any, step: int | None = None, *, caption: str | None = None
    ) -> Artifact | None:
        """Record an image.

        Args:
            name: What it shows; the same for all steps.
            image: The path of an image file, the open file or its bytes, kept as they are. Or what
                becomes a PNG: a picture of Pillow; a figure of matplotlib; an array or tensor of
                the shape ``(height, width)``, ``(height, width, channels)`` or ``(channels, height,
                width)`` with 1 to 4 channels, of floats from 0 to 1 or integers from 0 to 255.
                Values beyond are cut, and reported to the logger `runbus.metrics`.
            step: A 64-bit integer; None for an image that belongs to no step.
            caption: What to show under it.

        Returns:
            What is kept; None if it could not be.

        Raises:
            ArtifactUnreadable: The file cannot be read.
            ExtraMissing: Pillow or numpy is needed and not installed.
            TypeError: The image is nothing of the above.
            ValueError: Its shape or the kind of its bytes is another; or the run is finished.
        """
        about = _about("an image", name, step, "image", caption)
        if isinstance(image, str | os.PathLike):
            path = os.fspath(image)
            return self._keep(about, lambda: self._records.store.keep_path(path))
        from runbus.metrics._images import encoded

        data, extension = encoded(image, self._records.warn)
        return self._keep(about, lambda: self._records.store.keep_bytes(data, name + extension))

    def log_table(
        self,
        name: str,
        data: Any,
        step: int | None = None,
        *,
        columns: Sequence[str] | None = None,
        caption: str | None = None,
    ) -> Artifact | None:
        """Record a table, as a file that DuckDB and pandas read as it lies.

        Args:
            name: What it holds; the same for all steps.
            data: A data frame of polars or pandas, or whatever else speaks Arrow's PyCapsule
                interface: it becomes Parquet (with pyarrow). Or rows, as mappings, or as lists
                under `columns`; or a mapping of names to columns: these become lines of JSON.
            step: A 64-bit integer; None for a table that belongs to no step.
            columns: The names of the columns, where rows are lists.
            caption: What to show beside it.

        Returns:
            What is kept; None if it could not be.

        Raises:
            ExtraMissing: pyarrow is needed and not installed.
            TypeError: The data are nothing of the above, or a cell cannot be kept as JSON.
            ValueError: Rows and columns do not fit; or the run is finished.
        """
        from runbus.metrics._table_files import table_file

        about = _about("a table", name, step, "table", caption)
        file, extension = table_file(data, columns)
        return self._keep(about, lambda: self._records.store.keep_bytes(file, name + extension))

    def log_artifact(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        kind: str | None = None,
        *,
        step: int | None = None,
        caption: str | None = None,
    ) -> Artifact | None:
        """Keep a copy of a file or folder, as it is now.

        What was kept before under the same name stays; the same content is stored once. Returns
        when all is copied and hashed: from another thread, a large file does not hold up the loop.

        Args:
            path: The file, or a folder, with all in it; links are followed.
            name: What to call it; the file's own name if None.
            kind: What it is, such as "model"; "file" or "folder" if None.
            step: A 64-bit integer; None for what belongs to no step.
            caption: What to show beside it.

        Returns:
            What is kept; None if it could not be.

        Raises:
            ArtifactUnreadable: It is missing, cannot be read, or holds the run itself.
            TypeError: A name is not a string, or the step no int.
            ValueError: A name is empty; or the run is finished.
        """
        source = os.path.abspath(os.fspath(path))
        kind = kind or ("folder" if os.path.isdir(source) else "file")
        name = os.path.basename(source) if name is None else name
        about = _about("an artifact", name, step, check_name(kind, "a kind"), caption)
        return self._keep(about, lambda: self._records.store.keep_path(source))

    def _keep(self, about: Record, store: Callable[[], Content]) -> Artifact | None:
        """Store a file, record it, and return what is kept."""
        record = self._records.keep("artifact", lambda: {**about, **store()._asdict()})
        if record is None:
            return None
        from runbus.metrics._kept import Artifact

        return Artifact.of(self.folder, record)


def _about(
    what: str, name: str, step: int | None, kind: str | None = None, caption: str | None = None
) -> Record:
    about: Record = {"name": check_name(name, what), "step": check_step(step)}
    if kind is None:
        return about
    return {**about, "kind": kind, "caption": caption and _text(caption, "a caption")}


def _text(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {text!r}")
    return clean_text(text)
