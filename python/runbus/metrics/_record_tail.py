"""What a run records, as facts for the bus."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from runbus._secrets import redacted
from runbus.errors import FileUnreadable, RunbusError
from runbus.events import (
    ArtifactLogged,
    HistogramLogged,
    NoteAdded,
    ParamsLogged,
    RunRecorded,
    TagsChanged,
    TextLogged,
)
from runbus.metrics._folder import attempt_of
from runbus.metrics._info import RunInfo
from runbus.metrics._kept import Artifact, Text
from runbus.metrics._records import RecordReader, merged
from runbus.metrics._values import flatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.metrics._records import Record

__all__ = ["RecordTail"]

logger = logging.getLogger("runbus.metrics")


class RecordTail:
    """Follows the records of the run of a job, over all attempts; its config comes first.

    What the job adds to its config later, as it does in `init` where its machine was sampled
    before, follows when it is there.

    Args:
        run_id: The run.
        experiment_id: The experiment it belongs to.
        job: The name of its job.
        folder: The run's folder; it need not have any records yet.
        positions: Where to begin in the indexes of these writers: `positions` of an earlier
            follower. Others are read from their start.
    """

    def __init__(
        self,
        run_id: str,
        experiment_id: str,
        job: str,
        folder: str,
        positions: Mapping[str, int] | None = None,
    ) -> None:
        self._about = {"run_id": run_id, "experiment_id": experiment_id, "job": job}
        self._run_id = run_id
        self._folder = folder
        self._reader = RecordReader(folder, positions)
        self._told = False
        # A follower before has told what the config was: nothing but what changes is news.
        self._config: dict[str, Any] | None = None
        self._is_first = not positions
        self._read: tuple[int, int] | None = None

    @property
    def positions(self) -> dict[str, int]:
        """Where to continue in the index of each writer after what was polled."""
        return dict(self._reader.positions)

    def poll(self, attempt: int) -> list[RunRecorded]:
        """Return what is new as facts, by time; those of one process in their order.

        What cannot be read is reported to the logger `runbus.metrics`, once for the run's indexes;
        it hides nothing that can be.

        Args:
            attempt: The last attempt of the job to read of.
        """
        try:
            records = merged(
                self._reader.poll(lambda writer: attempt_of(writer) <= attempt).values()
            )
        except OSError as error:
            self._tell(error)
            return []
        for path, reason in self._reader.unread.items():
            self._tell(f"{path}: {reason}")
        facts = [fact for record in records if (fact := self._readable(record)) is not None]
        return [*self._started_with(), *facts]

    def _tell(self, problem: object) -> None:
        if not self._told:
            self._told = True
            logger.warning("records of run %s cannot be read: %s", self._run_id, problem)

    def _started_with(self) -> list[RunRecorded]:
        """Return what the run was started with and was not told, as the params that it is."""
        try:
            there = RunInfo.version_of(self._folder)
            if there == self._read:
                return []
            info = RunInfo.read(self._folder)
        except (RunbusError, OSError):
            return []  # it is read with the next ones
        self._read = there
        config = dict(flatten(redacted(info.config)))
        known, self._config = self._config, config
        if known is None:
            new, time_ns = config if self._is_first else {}, info.created_ns
        else:
            new = {name: value for name, value in config.items() if known.get(name, ...) != value}
            _, time_ns = there
        return [ParamsLogged(**self._about, time_ns=time_ns, params=new)] if new else []

    def _readable(self, record: Record) -> RunRecorded | None:
        try:
            return self._fact(record)
        except (FileUnreadable, OSError) as error:
            logger.warning("a text of run %s cannot be read: %s", self._run_id, error)
            return None

    def _fact(self, record: Record) -> RunRecorded | None:
        about: dict[str, Any] = {**self._about, "time_ns": record["time_ns"]}
        match record["what"]:
            case "params":
                return ParamsLogged(**about, params=record["params"])
            case "tags":
                return TagsChanged(
                    **about, added=tuple(record["added"]), removed=tuple(record["removed"])
                )
            case "note":
                return NoteAdded(**about, text=record["text"])
            case "text":
                text = Text.of(self._folder, record)
                return TextLogged(**about, name=text.name, step=text.step, text=text.text)
            case "histogram":
                about |= {"name": record["name"], "step": record.get("step")}
                return HistogramLogged(
                    **about,
                    counts=tuple(record["counts"]),
                    edges=tuple(record["edges"]),
                    not_finite=record["not_finite"],
                )
            case "artifact":
                artifact = Artifact.of(self._folder, record)
                if artifact is None:
                    return None
                fields = artifact._asdict()
                fields["artifact_kind"] = fields.pop("kind")
                return ArtifactLogged(**{**about, **fields})
        return None
