"""Tasks of other people: found by their tags, checked, and run like ours."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from runbus import Command, Job, Kernel, LocalExecutor, Script, Task, sweep
from runbus.config import Function, decode_task, load_batch, task_kinds
from runbus.errors import BatchInvalid, TaskInvalid
from runbus.experiment import ExperimentDraft, jobs_of_batch

MODULE = """
from __future__ import annotations
import os
from typing import ClassVar
import msgspec

class Shout(msgspec.Struct, frozen=True):
    tag: ClassVar[str] = "shout"
    text: str
    times: int = 1
    file: str = "out"

    @property
    def title(self): return "shout"
    def command_line(self):
        if self.times > 9: raise ZeroDivisionError("too loud")
        return ("sh", "-c", 'echo "$0" >"$1"', self.text.upper() * self.times, self.file)
    def with_values(self, values): return msgspec.structs.replace(self, **values)
    def relative_to(self, folder):
        return msgspec.structs.replace(self, file=os.path.join(folder, self.file))

class Mute(Shout, frozen=True):
    tag: ClassVar[str] = "mute"
    def command_line(self): return "true"
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution that brings tasks, good and bad."""
    site = tmp_path / "site"
    info = site / "shouting-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "shouting.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[runbus.tasks]\nshout = shouting:Shout\nmute = shouting:Mute\nother = shouting:Shout\n"
        "gone = shouting:Gone\ncommand = shouting:Shout\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "shouting", raising=False)


@pytest.mark.usefixtures("installed")
async def test_an_installed_task_runs_from_a_batch_file(tmp_path: Path) -> None:
    batch = tmp_path / "batch.yaml"
    batch.write_text(
        "project: p\njobs:\n  - {name: a, task: {type: shout, text: hi, times: 2, file: told}}\n"
    )
    loaded = load_batch(str(batch))
    jobs = jobs_of_batch(loaded, str(tmp_path))
    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        (record,) = await ExperimentDraft("p", jobs, home=tmp_path / "home").run(kernel.bus)

    assert (tmp_path / "told").read_text() == "HIHI\n", record.reason


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ("{text: hi}", "there are command, function, gone, mute, other, script, shout"),
        ("{type: [1]}", "there are command, function, gone, mute, other, script, shout"),
        ("{type: shuot, text: hi}", "no task has that type; did you mean 'shout'"),
        ("{type: x}", "no task has that type; there are command, function, gone, mute, other"),
        ("{type: shout}", "the field 'text' is missing"),
        ("{type: shout, text: 3}", "text: expected str, got int"),
        ("{type: shout, text: a, txet: b}", "unknown key 'txet'; did you mean 'text'"),
        ("{type: shout, text: a, qqq: b}", "unknown key 'qqq'; there are file, text, times"),
        ("{type: shout, text: a, times: 10}", "ZeroDivisionError: too loud"),
        ("{type: mute, text: a}", "its command line is 'true' instead of a tuple of texts"),
        ("{type: other, text: a}", "shouting:Shout is not a class with the tag 'other'"),
        ("{type: gone}", "shouting:Gone cannot be loaded: AttributeError"),
        ("{type: script, path: nowhere.py}", "cannot run"),
        ("shout", "expected mapping"),
    ],
)
def test_what_is_wrong_with_a_task_is_told_with_its_place(
    task: str, problem: str, tmp_path: Path
) -> None:
    batch = tmp_path / "batch.yaml"
    batch.write_text(f"project: p\njobs:\n  - name: a\n    task: {task}\n")

    with pytest.raises(BatchInvalid) as caught:
        load_batch(str(batch))

    (told,) = caught.value.problems
    assert told.startswith(f"{batch}:4: jobs[0].task")
    assert problem.lower() in told.lower()


@pytest.mark.usefixtures("installed")
def test_nobody_takes_the_name_of_one_of_ours() -> None:
    assert decode_task({"type": "command", "argv": ["true"]}) == Command(("true",))
    assert task_kinds().count("command") == 1


def test_ours_are_found_by_their_tags(tmp_path: Path) -> None:
    script = decode_task({"type": "script", "path": "train.py", "args": ["-v"]}, str(tmp_path))

    assert script == Script(str(tmp_path / "train.py"), ("-v",))
    assert {Command.tag, Script.tag} <= {*task_kinds()}


@pytest.mark.parametrize("more", ["command: ['true']", "script: a.py"])
def test_a_job_has_one_thing_to_run(more: str, tmp_path: Path) -> None:
    batch = tmp_path / "batch.yaml"
    (tmp_path / "a.py").touch()
    batch.write_text(
        "project: p\njobs:\n  - name: a\n    task: {type: command, argv: [x]}\n    " + more + "\n"
    )

    with pytest.raises(BatchInvalid, match="a command, a script or a task, and one of them"):
        load_batch(str(batch))


@dataclass(frozen=True)
class Greet:
    """A task that nobody has installed."""

    name: str
    words: Any = None
    tag: ClassVar[str] = "greet"

    @property
    def title(self) -> str:
        return "greet"

    def command_line(self) -> tuple[str, ...]:
        return ("echo", self.name) if self.words is None else self.words

    def with_values(self, values: dict[str, str]) -> Task:
        return Greet(**{"name": self.name, **values})

    def relative_to(self, folder: str) -> Task:
        return self


@pytest.mark.parametrize(
    ("folder", "found"), [(".", "/x"), ("sub", "/x/sub"), ("../y/.", "/y"), ("/z", "/z"), ("", "")]
)
def test_the_folder_of_a_function_starts_from_another_and_stays_readable(
    folder: str, found: str
) -> None:
    assert Function("steps.train", folder=folder).relative_to("/x").folder == found


def test_an_object_of_ones_own_is_a_task_in_python() -> None:
    jobs = sweep(Greet("a"), ["name=b,c"])

    assert [job.task.command_line() for job in jobs] == [("echo", "b"), ("echo", "c")]
    assert [job.name for job in jobs] == ["greet-name=b", "greet-name=c"]


@pytest.mark.parametrize("words", ["true", (), ("echo", 3), 5])
def test_a_task_without_a_command_line_is_refused(words: object) -> None:
    with pytest.raises(TaskInvalid, match="its command line is"):
        ExperimentDraft("p", [Job(name="j", task=Greet("a", words))])


class Half(msgspec.Struct, frozen=True):
    tag: ClassVar[str] = "half"

    def command_line(self) -> tuple[str, ...]:
        return ("true",)


@pytest.mark.parametrize(
    ("given", "reason"),
    [(Half(), "it has no title, with_values, relative_to"), (Command, "it is a class")],
)
def test_what_lacks_a_part_of_a_task_is_told_which(given: Any, reason: str) -> None:
    with pytest.raises(TaskInvalid, match=reason):
        Job(name="j", task=given)
