"""What should be a list or a mapping and is none: told where it is given, with what would do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import (
    Command,
    GitArchivePackager,
    HybridPackager,
    Job,
    Kernel,
    LocalExecutor,
    PatternPackager,
    Plugin,
    RetryPolicy,
    Script,
    SSHExecutor,
    api,
    sweep,
)
from runbus.errors import InvalidPlugin, RunbusError, WrongKind
from runbus.events import JobEnded
from runbus.experiment import ExperimentDraft

TASK = Command(("true",))


def nothing(event: JobEnded) -> None:
    del event


def opened(columns: Any) -> object:
    with runbus.init() as run:
        return run.log_table("t", [[1]], columns=columns)


def measured(names: Any) -> object:
    with runbus.init() as run:
        run.log("loss", 1.0, step=0)
    return list(runbus.open_run(run.id).metrics(names))


LISTS: dict[str, Callable[[Any], object]] = {
    "Command": lambda given: Command(given),
    "Script.args": lambda given: Script("train.py", args=given),
    "sweep": lambda given: sweep(TASK, given),
    "ExperimentDraft.jobs": lambda given: ExperimentDraft("p", given),
    "api.run_sweep.sweeps": lambda given: api.run_sweep(TASK, sweeps=given),
    "api.run.plugins": lambda given: api.run(TASK, plugins=given),
    "Kernel": lambda given: Kernel(plugins=given),
    "Plugin.placed": lambda given: Plugin("x").placed(after=given),
    "Plugin.requires": lambda given: Kernel(plugins=[Plugin("x", requires=given)]),
    "RetryPolicy.on": lambda given: RetryPolicy(on=given),
    "LocalExecutor.gpus": lambda given: LocalExecutor(gpus=given),
    "LocalExecutor.env_inherit": lambda given: LocalExecutor(env_inherit=given),
    "SSHExecutor.hosts": lambda given: SSHExecutor(given),
    "SSHExecutor.gpus": lambda given: SSHExecutor(["box"], gpus=given),
    "HybridPackager": lambda given: HybridPackager(given),
    "log_table.columns": opened,
}
MAPPINGS: dict[str, Callable[[Any], object]] = {
    "Script.env": lambda given: Script("train.py", env=given),
    "Job.env": lambda given: Job(name="a", task=TASK, env=given),
    "Job.config": lambda given: Job(name="a", task=TASK, config=given),
    "ExperimentDraft.executors": lambda given: ExperimentDraft(
        "p", [Job(name="a", task=TASK)], executors=given
    ),
}
ONE_OR_MORE: dict[str, Callable[[Any], object]] = {
    "PatternPackager.include": lambda given: PatternPackager(given),
    "PatternPackager.exclude": lambda given: PatternPackager("*.py", given),
    "GitArchivePackager": lambda given: GitArchivePackager(include_pattern=given),
    "metrics": measured,
}

OPTIONAL = {"LocalExecutor.gpus", "SSHExecutor.gpus", "ExperimentDraft.executors"}


@pytest.mark.parametrize("given", ["ab", b"ab", {"a": 1}, None, 3, [object()]], ids=type)
@pytest.mark.parametrize("name", [*LISTS, *ONE_OR_MORE])
def test_what_is_no_list_is_refused_where_it_is_given(name: str, given: Any) -> None:
    if (given is None and name in OPTIONAL) or (isinstance(given, str) and name in ONE_OR_MORE):
        return
    if given is None and name == "log_table.columns":
        return  # rows may be mappings
    make = LISTS.get(name) or ONE_OR_MORE[name]

    with pytest.raises((RunbusError, TypeError)) as caught:
        make(given)
    if isinstance(caught.value, TypeError):
        assert any(word in str(caught.value) for word in ("must be", "instance"))
    assert runbus.runs() == [] or name in {"log_table.columns", "metrics"}


@pytest.mark.parametrize("given", ["ab", b"ab", ["a"], None, 3, iter("a")], ids=type)
@pytest.mark.parametrize("name", MAPPINGS)
def test_what_is_no_mapping_is_refused_where_it_is_given(name: str, given: Any) -> None:
    if given is None and name in OPTIONAL:
        return
    with pytest.raises(RunbusError, match="expected a mapping of names to"):
        MAPPINGS[name](given)


def test_a_generator_is_read_once_and_kept() -> None:
    def words() -> Iterator[str]:
        yield from ("echo", "hi")

    assert Command(tuple(words())) == Command(words())  # type: ignore[arg-type]
    assert Script("train.py", args=words()).args == ("echo", "hi")  # type: ignore[arg-type]
    assert LocalExecutor(gpus=words()).gpus == ["echo", "hi"]  # type: ignore[arg-type]
    assert PatternPackager(words()).include == ("echo", "hi")  # type: ignore[arg-type]
    assert Plugin("x").placed(after=words()).after == ("echo", "hi")  # type: ignore[arg-type]
    with pytest.raises(InvalidPlugin, match="instead of a tuple of names"):
        Kernel(plugins=[Plugin("x", requires=words())])  # type: ignore[arg-type]


def test_a_text_that_stands_where_a_list_does_is_answered_with_the_list() -> None:
    with pytest.raises(RunbusError) as caught:
        SSHExecutor("box")

    assert str(caught.value) == "hosts is 'box': expected a list of texts or tunnels"
    assert caught.value.hint == "write hosts=['box']"


def test_the_name_of_an_event_is_answered_with_its_class() -> None:
    with pytest.raises(WrongKind) as caught:
        Plugin("x").on("JobEnded", nothing)  # type: ignore[call-overload]

    assert caught.value.hint == ("pass the class, not its name: from runbus.events import JobEnded")
    with pytest.raises(WrongKind) as caught:
        Plugin("x").on(3, nothing)  # type: ignore[call-overload]
    assert caught.value.hint == "pass a class of events, such as runbus.events.JobEnded"


def test_a_run_is_named_by_a_text(tmp_path: Path) -> None:
    with runbus.init() as run:
        pass

    with pytest.raises(RunbusError) as caught:
        runbus.open_run(runbus.open_run(run.id))  # type: ignore[arg-type]
    assert caught.value.hint == "write run.id, or its name"


def test_to_go_on_with_a_run_takes_an_id_and_a_name_is_answered_with_it() -> None:
    for _ in range(2):
        with runbus.init(name="baseline") as run:
            pass

    with pytest.raises(RunbusError) as caught:
        runbus.init(id="baseline")
    assert str(caught.value) == "'baseline' is the name of a run, and an id is needed here"
    assert caught.value.hint == f"the newest run of that name is {run.id}"
    with runbus.init(id=run.id.split("-", 2)[2]) as again:
        assert os.path.samefile(again.folder, run.folder)
