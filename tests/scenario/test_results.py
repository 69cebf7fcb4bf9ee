"""Results of jobs of any kind, and jobs that take them as words, variables and values."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Command, Experiment, Job, LocalTunnel, Output, Script, SSHExecutor
from runbus._files import read_file
from runbus.config import Function, load_batch
from runbus.errors import BatchInvalid, ExperimentFailed, ResultNotKept, TaskInvalid, UsageError
from runbus.experiment import ExperimentDraft, jobs_asked
from runbus.jobs import read_jobs

from .test_batch import command

WRITES = """echo '{"best": {"lr": 0.25, "name": "a b"}, "all": [1, 2]}' >"$RUNBUS_RESULT\""""


def writes(text: str) -> Command:
    return Command(("sh", "-c", 'printf %s "$1" >"$RUNBUS_RESULT"', "sh", text))


def test_what_a_program_writes_reaches_words_variables_and_values(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def train(lr: float):\n    return {'twice': 2 * lr}\n")
    (tmp_path / "tell.py").write_text("import sys; print(*sys.argv[1:], sep='|')\n")
    taken = {"from": "search", "key": "best.lr"}
    values = {"type": "function", "target": "steps.train", "folder": ".", "values": {"lr": taken}}
    args = ["--lr", taken, {"from": "search", "key": "all"}]
    batch = tmp_path / "b.json"
    batch.write_text(
        json.dumps(
            {
                "project": "results",
                "jobs": [
                    {"name": "train", "task": values},
                    {"name": "tell", "script": "tell.py", "args": args},
                    {
                        "name": "say",
                        "command": ["echo", {"from": "search", "key": "best.name"}],
                        "env": {"LR": taken},
                    },
                    {"name": "task", "task": {"type": "command", "argv": ["echo", taken]}},
                    {"name": "last", "command": ["echo", {"from": "train", "key": "twice"}]},
                    {"name": "search", "command": ["sh", "-c", WRITES]},
                ],
            }
        )
    )
    done = command("submit", str(batch))
    assert done.returncode == 0, done.stderr
    first = Experiment.from_title("results")
    said = {name: first.logs(name) for name in ("tell", "say", "task", "last")}
    assert said == {
        "tell": "--lr|0.25|[1, 2]\n", "say": "a b\n", "task": "0.25\n", "last": "0.5\n"
    }  # fmt: skip
    # As it was asked for, and again as it ran then.
    _, jobs = jobs_asked(first.folder)
    assert [job.task for job in jobs if job.name in ("say", "tell")] == [
        Script(str(tmp_path / "tell.py"), ("--lr", Output("search", "best.lr"),
                                           Output("search", "all"))),
        Command(("echo", Output("search", "best.name"))),
    ]  # fmt: skip
    done = command("rerun", first.id)
    assert done.returncode == 0, done.stderr
    assert Experiment.from_title("results").logs("tell") == said["tell"]


def test_handles_stand_for_results_in_words() -> None:
    experiment = Experiment("results")
    search = experiment.add(writes('{"best": {"lr": 0.25}}'), name="search")
    tell = experiment.add(Command(("echo", search.output("best.lr"), search.output())), name="tell")
    assert "echo '{from: search, key: best.lr}'" in experiment.dryrun()[1].render()
    experiment.run()
    assert experiment.logs(tell) == '0.25 {"best": {"lr": 0.25}}\n'
    assert experiment.results == {"search": {"best": {"lr": 0.25}}, "tell": None}


def test_a_script_logs_its_result_and_the_last_one_counts(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import os, runbus\n"
        "with runbus.init() as run:\n"
        "    run.log_result({'loss': 2.0})\n"
        "    run.log_result({'loss': 1.0})\n"
    )
    experiment = Experiment("results")
    train = experiment.add(Script(str(script)), name="train")
    experiment.add(Command(("echo", train.output("loss"))), name="tell")
    experiment.run()
    assert experiment.logs("tell") == "1.0\n"
    with runbus.init(project="alone") as run:
        run.log_result([1, None, "x"])
        with pytest.raises(TypeError, match="JSON cannot hold it: set is neither"):
            run.log_result({1, 2})
    assert runbus.open_run(run.id).result == [1, None, "x"]


def test_a_retry_has_a_result_of_its_own() -> None:
    script = 'echo "{\\"n\\": 1}" >"$RUNBUS_RESULT"; case $RUNBUS_ATTEMPT in */1) exit 1; esac'
    only = 'case $RUNBUS_ATTEMPT in */1) echo 1 >"$RUNBUS_RESULT"; exit 1; esac'
    experiment = Experiment("results")
    for name, line in (("both", script), ("first", only)):
        task = Command(("sh", "-c", line))
        retry = runbus.RetryPolicy(retries=1, backoff_s=0)
        experiment.add(Job(name=name, task=task, retry=retry))
    experiment.run()
    assert experiment.results == {"both": {"n": 1}, "first": None}


HOSTILE = {
    "no-json": ("echo { >$RUNBUS_RESULT", "result.json is no JSON"),
    "bytes": ("printf '\\377' >$RUNBUS_RESULT", "result.json is no JSON"),
    "deep": ("head -c 200000 /dev/zero | tr '\\0' [ >$RUNBUS_RESULT", "is no JSON"),
    "large": ("truncate -s 1T $RUNBUS_RESULT", "1,048,576 are the most that are read"),
    "pipe": ("mkfifo $RUNBUS_RESULT", "it is a pipe"),
    "link": ("ln -s /etc/passwd $RUNBUS_RESULT", "it is a symbolic link"),
    "folder": ("mkdir $RUNBUS_RESULT", "it is a directory"),
    "nothing": ("true", "ended as SUCCEEDED and has returned nothing: a result is what"),
    "null": ("echo null >$RUNBUS_RESULT", "has returned nothing"),
    "zero": ("printf '\"a\\\\u0000\"' >$RUNBUS_RESULT", "word 2 of its command: what job"),
    "surrogate": ("printf '\"a\\\\ud800\"' >$RUNBUS_RESULT", "is not valid Unicode"),
    "long": (
        'printf \'"%s"\' "$(head -c 140000 /dev/zero | tr \'\\0\' x)" >$RUNBUS_RESULT',
        "no program takes 128 KiB in one text",
    ),
}  # fmt: skip


def test_what_is_no_result_fails_the_jobs_that_take_it_and_says_why() -> None:
    experiment = Experiment("hostile")
    for name, (line, _) in HOSTILE.items():
        parent = experiment.add(Command(("sh", "-c", line)), name=name)
        experiment.add(Command(("echo", parent.output())), name=f"takes-{name}")
    with pytest.raises(ExperimentFailed) as failed:
        experiment.run()
    told = {one.job: one.reason for one in failed.value.failures}
    assert told.keys() == {f"takes-{name}" for name in HOSTILE}
    assert [n for n, (_, text) in HOSTILE.items() if text not in told[f"takes-{n}"]] == []
    with pytest.raises(ResultNotKept, match="is no JSON"):
        _ = experiment.runs[0].result
    shown = command("show", f"{experiment.id}-1")
    assert shown.returncode == 0, shown.stderr
    assert "is no JSON" in shown.stdout


async def test_a_result_comes_back_from_another_machine_and_goes_to_one(tmp_path: Path) -> None:
    far = SSHExecutor([LocalTunnel(job_dir=str(tmp_path / "far"))], name="far")
    experiment = runbus.AsyncExperiment("far")
    search = experiment.add(writes('{"lr": 0.25}'), name="search", executor=far)
    large = experiment.add(
        Command(("sh", "-c", "truncate -s 3M $RUNBUS_RESULT")), name="large", executor=far
    )
    experiment.add(Command(("echo", search.output("lr"))), name="here")
    experiment.add(Command(("echo", search.output("lr"))), name="there", executor=far)
    experiment.add(Command(("echo", large.output())), name="never")
    await experiment.run(check=False)
    assert [experiment.logs(name) for name in ("here", "there")] == ["0.25\n", "0.25\n"]
    ended = read_jobs(experiment.folder)
    assert "1,048,577 bytes or more, and 1,048,576 are the most" in ended["never"].reason
    # No more of it comes than is needed to see that.
    folder = f"{experiment.folder}/{ended['large'].folder}"
    assert len(read_file(f"{folder}/result.json")) == (1 << 20) + 1


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"command": [{"from": "a"}]}, "jobs[1].command[0]: the first word is the program"),
        ({"command": ["echo", {"from": "c"}]}, "there is no job 'c'"),
        ({"command": ["echo", {"from": "a", "key": "[1"}]}, "jobs[1].command[1]"),
        ({"command": ["echo", {"secret": "X"}]}, "jobs[1].command[1]"),
        ({"command": ["echo", {"from": 3}]}, "jobs[1].command[1]"),
        ({"script": "s.py", "args": [{"from": "b"}]}, "a job cannot wait for itself"),
        ({"task": {"type": "script", "path": "s.py", "args": [{"from": "c"}]}}, "no job 'c'"),
        ({"task": {"type": "command", "argv": ["echo", {"from": 3}]}}, "jobs[1].task"),
    ],
    ids=["program", "unknown", "path", "secret", "number", "itself", "task", "of-task"],
)
def test_words_that_no_job_can_return_are_refused_with_their_place(
    tmp_path: Path, job: dict[str, Any], told: str
) -> None:
    (tmp_path / "s.py").write_text("")
    first = {"name": "a", "command": ["true"]}
    batch = tmp_path / "b.json"
    batch.write_text(json.dumps({"project": "p", "jobs": [first, {"name": "b", **job}]}))
    with pytest.raises(BatchInvalid) as refused:
        load_batch(str(batch))
    assert told in "\n".join(refused.value.problems)


def test_the_program_itself_is_a_text_and_only_jobs_take_results() -> None:
    with pytest.raises(TaskInvalid, match="no other job can return the program itself"):
        Command((Output("a"), "x"))
    with pytest.raises(TaskInvalid, match=r"argv\[1\]: expected str, got int"):
        Command(("echo", 3))  # type: ignore[arg-type]
    takes = Job(name="b", task=Command(("echo", Output("a"))))
    with pytest.raises(UsageError, match="job 'b': there is no job 'a'"):
        ExperimentDraft("results", [takes])
    task = Function("os.getpid")
    assert Job(name="c", task=task).depends_on == ()
    assert sys.executable in task.command_line()
