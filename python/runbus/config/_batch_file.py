"""Batch files: what `runbus submit` takes, and every mistake in one, each with its place."""

from __future__ import annotations

import itertools
import os
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from runbus import codec
from runbus.config._batch import DEFAULT, TAKING, Batch, BatchJob, Name
from runbus.config._batch_jobs import check_meaning
from runbus.config._batch_types import check_struct
from runbus.config._document import read_document, read_input
from runbus.config._flat import nested
from runbus.config._graph import graph_problems
from runbus.config._named import EXECUTORS
from runbus.config._node import Mistake
from runbus.config._output import with_from
from runbus.config._spans import with_numbers
from runbus.errors import BatchInvalid, ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runbus.config._document import Document
    from runbus.config._executor_entry import ExecutorEntry
    from runbus.config._executor_names import ExecutorNames
    from runbus.config._node import Mistakes, Path
    from runbus.errors import ConfigProblem

__all__ = ["Settings", "load_batch"]


class Settings(msgspec.Struct, kw_only=True):
    """The keys of a batch file; those without a type here are read by what knows more of them."""

    project: Name
    jobs: Any
    executor: Any = "local"
    executors: Any = {}
    max_parallel: Annotated[int, msgspec.Meta(ge=1)] | None = None
    fail_fast: bool = False


def load_batch(path: str, *, executor: str | None = None, with_secrets: bool = False) -> Batch:
    """Read a batch file: YAML, TOML or JSON, by the end of its name. Blocks.

    Executors that it names and does not describe are those of other files, and of the registry:
    see `find_executor`.

    Args:
        path: The file; "-" is standard input, which brings JSON or YAML.
        executor: The executor of the jobs that name none, instead of the file's.
        with_secrets: Whether a secret that is not there counts as a mistake.

    Raises:
        BatchInvalid: It cannot be read, or something in it is wrong; every mistake is listed with
            file, line and key, in the order of the lines. Nothing was done.
    """
    try:
        document = read_input() if path == "-" else read_document(path)
    except ConfigInvalid as error:
        raise BatchInvalid(error.what, tuple(map(str, error.problems))) from error.__cause__
    path = document.path
    reading = _Reading(document, with_secrets)
    batch = reading.batch(executor)
    told = [one.told(path, document.line(one.path)) for one in reading.mistakes]
    if told := sorted((*document.repeated, *told), key=lambda one: one.line):
        raise BatchInvalid(path, tuple(map(str, [*told, *reading.elsewhere])))
    if reading.elsewhere:
        raise BatchInvalid(path, tuple(map(str, reading.elsewhere)))
    assert batch is not None
    return batch


class _Reading:
    """Reads one batch, and notes every mistake.

    Attributes:
        mistakes: Those of the file itself.
        elsewhere: Those of files that say what an executor's name means.
    """

    def __init__(self, document: Document, with_secrets: bool) -> None:
        self.mistakes: Mistakes = []
        self.elsewhere: list[ConfigProblem] = []
        self._data = document.data
        self._folder = os.path.dirname(document.path)
        self._with_secrets = with_secrets

    @cached_property
    def _names(self) -> ExecutorNames:
        from runbus.config._executor_names import ExecutorNames  # costs what most need not pay

        return ExecutorNames(self._folder)

    def batch(self, executor: str | None) -> Batch | None:
        data = self._data
        if not isinstance(data, dict):
            self._wrong("a batch is a mapping with the keys project and jobs", ())
            return None
        self.mistakes += check_struct(data, Settings, ())
        executors = self._described(data)
        chosen = data.get("executor", "local")
        listed = self._with_names(data.get("jobs"), executors, {str(chosen), str(executor)})
        jobs = self._jobs(listed)
        name = chosen if isinstance(chosen, str) else DEFAULT
        name = name if executor is None else executor
        if executor is not None:
            self._use(name, (), executors, f"--executor {executor}")
        elif isinstance(chosen, str):
            self._use(name, ("executor",), executors)
        if isinstance(listed, list):
            for index, job in enumerate(listed):
                if isinstance(job, dict) and isinstance(job.get("executor"), str):
                    self._use(job["executor"], ("jobs", index, "executor"), executors)
        if jobs is None or self.mistakes or self.elsewhere:
            return None
        return Batch(
            project=data["project"],
            jobs=jobs,
            executor=name,
            executors={key: one for key, one in executors.items() if one},
            max_parallel=data.get("max_parallel"),
            fail_fast=data.get("fail_fast", False),
        )

    def _wrong(self, reason: str, at: Path) -> None:
        self.mistakes.append(Mistake(reason, at))

    def _described(self, data: dict[str, Any]) -> dict[str, ExecutorEntry | None]:
        """Return the executors that the file itself describes; None for one that is wrong."""
        found: dict[str, ExecutorEntry | None] = {}
        given = data.get("executors", {})
        if not isinstance(given, dict):
            self._wrong("executors is a mapping from names to what they take", ("executors",))
            given = {}
        for name, one in given.items():
            found[str(name)] = self._entry(one, ("executors", str(name)))
        if not isinstance(data.get("executor", "local"), str):
            found[DEFAULT] = self._entry(data["executor"], ("executor",))
        return found

    def _with_names(
        self, jobs: Any, executors: dict[str, ExecutorEntry | None], taken: set[str]
    ) -> Any:
        """Return the jobs with a name in the place of an executor's fields; it is added.

        Jobs with the same fields run on the same executor: what it lends, such as GPUs, it lends
        once. It is called after the first of them.
        """
        own = [
            index
            for index, job in enumerate(jobs if isinstance(jobs, list) else ())
            if isinstance(job, dict) and isinstance(job.get("executor"), dict)
        ]
        if not own:
            return jobs
        taken |= {"local", *executors}
        taken |= {
            str(job["executor"]) for job in jobs if isinstance(job, dict) and "executor" in job
        }
        named = list(jobs)
        names: dict[str, str] = {}
        for index in own:
            fields = jobs[index]["executor"]
            name = names.get(repr(fields))
            if name is None:
                name = names[repr(fields)] = _free(str(jobs[index].get("name", "job")), taken)
                executors[name] = self._entry(fields, ("jobs", index, "executor"))
            named[index] = {**jobs[index], "executor": name}
        return named

    def _entry(self, given: Any, at: Path) -> ExecutorEntry | None:
        from runbus.config._executors import read_entry  # costs what most batches need not pay

        if isinstance(given, str) and given.startswith("@"):
            return self._found(given)
        wrong: Mistakes = []
        found = read_entry(given, wrong, lambda _: os.path.abspath(self._folder))
        for one in wrong:
            one.path = (*at, *one.path)
        self.mistakes += wrong
        return found

    def _found(
        self, name: str, wrong: Mistakes | None = None, also: Iterable[str] = ()
    ) -> ExecutorEntry | None:
        """Return what other files say of an executor; None if something is wrong."""
        try:
            return self._names.find(name, [] if wrong is None else wrong, also=also)
        except ConfigInvalid as error:
            self.elsewhere += [one for one in error.problems if one not in self.elsewhere]
            return None

    def _use(
        self, name: str, at: Path, known: dict[str, ExecutorEntry | None], who: str = ""
    ) -> None:
        """Find an executor that the file does not describe itself; tell if there is none.

        Args:
            name: Its name.
            at: Where the file names it.
            known: Those that are known already; it is added.
            who: Who names it, if not the file.
        """
        if name == "local" or name in known:
            return
        wrong: Mistakes = []
        entry = self._found(name, wrong, known)
        if entry is not None or not wrong or name in EXECUTORS:
            known[name] = entry
        for one in wrong:
            one.path = (*at, *one.path)
        if who:
            self.elsewhere += [one.told(who) for one in wrong]
        else:
            self.mistakes += wrong

    def _jobs(self, given: Any) -> list[BatchJob] | None:
        if "jobs" not in self._data:
            return None
        if not isinstance(given, list) or not given:
            self._wrong("jobs is a list of at least one job", ("jobs",))
            return None
        names: dict[str, int] = {}
        jobs = [_with_taken(with_numbers(job)) if isinstance(job, dict) else job for job in given]
        found = _converted(jobs)
        for index, job in enumerate(jobs):
            at = ("jobs", index)
            if not isinstance(job, dict):
                self._wrong("a job is a mapping with a name and a command or script", at)
                continue
            if found is None:
                self.mistakes += _check_job(job, at)
            self.mistakes += check_meaning(job, at, self._folder, with_secrets=self._with_secrets)
            name = job.get("name")
            if isinstance(name, str):
                first = names.setdefault(name, index)
                if first != index:
                    self._wrong(f"{name!r} is the name of job {first + 1}, too", (*at, "name"))
        if found is not None:
            self._check_graph(found, names)
        return found

    def _check_graph(self, jobs: list[BatchJob], places: dict[str, int]) -> None:
        groups = {job.name: job.group for job in jobs}
        for wrong in graph_problems({job.name: job.dependencies for job in jobs}, groups):
            index = places[wrong.job]
            is_said = wrong.at < len(jobs[index].depends_on)
            where = ("group",) if wrong.at < 0 else ("depends_on", wrong.at) if is_said else ()
            self._wrong(wrong.reason, ("jobs", index, *where))


def _with_taken(job: dict[Any, Any]) -> dict[Any, Any]:
    """Return what a file says of a job, with what other jobs return as its task is given it."""
    if not isinstance(task := job.get("task"), dict):
        return job
    return {**job, "task": {**task, **{k: with_from(task[k]) for k in TAKING if k in task}}}


def _free(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it."""
    free = next(one for one in _numbered(name) if one not in taken)
    taken.add(free)
    return free


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


def _converted(jobs: list[Any]) -> list[BatchJob] | None:
    """Return the jobs, all at once; None if something is wrong with the type of a value."""
    try:
        return codec.convert(nested(jobs, list[BatchJob]), list[BatchJob])
    except codec.DecodeError:
        return None


def _check_job(given: dict[Any, Any], at: Path) -> Mistakes:
    """Check the fields of a job; each by itself only if something is wrong."""
    # Of a command in one line `check_meaning` says more.
    job = given
    if isinstance(given.get("command"), str):
        job = {key: value for key, value in given.items() if key != "command"}
    try:
        codec.convert(nested(job, BatchJob), BatchJob)
    except codec.DecodeError:
        return check_struct(job, BatchJob, at)
    return []
