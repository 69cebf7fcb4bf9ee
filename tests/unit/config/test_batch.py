"""Batch files: every mistake is reported, with its own place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runbus.config import load_batch
from runbus.errors import BatchInvalid

WRONG = """\
project: p
executors:
  gpu-box:
    type: shs
  two:
    type: ssh
    hosts:
      - a
      - x:y:z
      - a
    packager:
      - type: git
        reff: x
  three:
    hosts: [a]
jobs:
  - name: a
    command: ["true"]
    env:
      A: 1
      B: null
      C: {secrt: A}
      1: x
    config:
      x: [1]
    retry_on: [exit, foo, 300]
"""


def problems(path: Path, text: str, *, with_secrets: bool = False) -> list[str]:
    """Return what is wrong with a file, each without the file's name."""
    path.write_text(text)
    with pytest.raises(BatchInvalid) as caught:
        load_batch(str(path), with_secrets=with_secrets)
    assert all(problem.startswith(f"{path}:") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_each_wrong_entry_of_a_field_is_told_at_its_own_line(tmp_path: Path) -> None:
    assert problems(tmp_path / "a.yaml", WRONG) == [
        "4: executors.gpu-box.type: there is no executor 'shs'; did you mean 'ssh'",
        "9: executors.two.hosts[1]: 'x:y:z' is not a host: write name, user@name or user@name:port",
        "10: executors.two.hosts[2]: 'a' is host 1, too",
        "13: executors.two.packager[0].reff: unknown key 'reff'; did you mean 'ref'",
        "14: executors.three: the key 'type' is missing; there are docker, local, slurm, ssh",
        "20: jobs[0].env.A: expected str | mapping, got int",
        "21: jobs[0].env.B: expected str | mapping, got null",
        "22: jobs[0].env.C.secrt: unknown key 'secrt'; did you mean 'secret'",
        "23: jobs[0].env.1: the key 1: expected str, got int",
        "25: jobs[0].config.x: expected bool | int | float | str | null, got list",
        (
            "26: jobs[0].retry_on[1]: invalid enum value 'foo'; there are 'exit', 'signal', 'oom', "
            "'timeout', 'lost', 'preempted', 'start'"
        ),
        "26: jobs[0].retry_on[2]: expected int <= 255",
    ]


def test_a_text_that_is_no_duration_is_told_as_one(tmp_path: Path) -> None:
    text = """\
project: p
executors:
  box: {type: ssh, hosts: [a], idle_timeout: soon}
jobs:
  - {name: a, command: ["true"], timeout: 5x}
  - {name: b, command: ["true"], timeout: "90"}
"""
    assert problems(tmp_path / "a.yaml", text) == [
        "3: executors.box.idle_timeout: 'soon' is not a duration: write 90s, 2h30m or 04:00:00",
        "5: jobs[0].timeout: '5x' is not a duration: write 90s, 2h30m or 04:00:00",
        "6: jobs[1].timeout: '90' is not a duration: it has no unit; write 90s, 15m or 2h",
    ]


def test_a_missing_secret_is_told_with_its_place_to_whoever_submits(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    text = (
        "project: p\njobs:\n- name: a\n  command: ['true']\n  env:\n"
        "    A: {secret: RUNBUS_TEST_NOT_SET}\n    B:\n      secret: file:none\n"
    )

    found = problems(path, text, with_secrets=True)

    assert load_batch(str(path)).project == "p"
    hint = "it is read by the process that submits the job: provide it there"
    a, b = "no secret at env:RUNBUS_TEST_NOT_SET", f"no secret at file:{tmp_path}/none"
    assert found == [
        f"6: jobs[0].env.A.secret: {a}: the variable is not set; {hint}",
        f"8: jobs[0].env.B.secret: {b}: no such file or directory; {hint}",
    ]


def test_a_key_with_dots_in_toml_has_its_own_line(tmp_path: Path) -> None:
    text = 'project = "p"\n[[jobs]]\nname = "a"\ncommand = ["true"]\nenv.A = "x"\nenv.B = 1\n'

    assert problems(tmp_path / "a.toml", text) == [
        "6: jobs[0].env.B: expected str | mapping, got int"
    ]


REPEATED = """\
project: p
common: &common {nice: 1}
jobs:
  - name: a
    command: ["true"]
    env: &env
      A: one
      "A": two
  - name: b
    <<: *common
    <<: {gpus: 0}
    nice: 2
    command: ["true"]
    env: *env
project: q
"""


def test_a_key_that_stands_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    found = problems(tmp_path / "a.yaml", REPEATED)
    assert [one for one in found if "same key" in one] == [
        "8: jobs[0].env.A: the same key stands in line 7, too",
        '11: jobs[1]["<<"]: the same key stands in line 10, too',
        "15: project: the same key stands in line 1, too",
    ]
    assert problems(
        tmp_path / "a.json",
        '{"project": "p",\n"jobs": [{"name":"a","command":["true"],\n"name":"b"}]}',
    ) == ["3: jobs[0].name: the same key stands in line 2, too"]


def test_no_time_out_is_longer_than_a_hundred_years(tmp_path: Path) -> None:
    text = """\
project: p
executor:
  type: local
  idle_timeout: 3155760001
jobs:
  - name: a
    command: ["true"]
    queue_timeout: 3155760000
    timeout: 99999999999999999999999
"""

    assert problems(tmp_path / "a.yaml", text) == [
        "4: executor.idle_timeout: expected int <= 3155760000, a hundred years",
        "9: jobs[0].timeout: expected int <= 3155760000, a hundred years",
    ]


def test_a_task_says_where_a_value_of_it_is_wrong(tmp_path: Path) -> None:
    text = "project: p\njobs:\n- {name: a, task: {type: command, argv: [[]]}}\n"
    (found,) = problems(tmp_path / "a.yaml", text)
    assert re.fullmatch(r"3: jobs\[0\]\.task: argv\[0?.*\]: expected str, got list", found)


def test_no_mistake_hides_another(tmp_path: Path) -> None:
    text = """\
project: p
max_paralel: 1
executors:
  box: {type: local, slots: 1}
jobs:
  - name: a
    nice: 20
    executor: boks
    cwd: nowhere
    script: none.py
    command: 1
    env:
      A-B: x
      C: {secret: "x y"}
"""

    found = problems(tmp_path / "a.yaml", text)

    assert [one.partition(" ")[2].partition(":")[0] for one in found] == [
        "max_paralel", "executors.box.slots", "jobs[0]", "jobs[0].nice", "jobs[0].executor",
        "jobs[0].cwd", "jobs[0].script", "jobs[0].command", "jobs[0].env.A-B",
        "jobs[0].env.C.secret",
    ]  # fmt: skip


def test_a_key_that_is_no_text_is_told(tmp_path: Path) -> None:
    text = "project: p\njobs:\n- name: a\n  command: ['true']\n  null: 1\n  1: 2\n"

    assert [one.partition(";")[0] for one in problems(tmp_path / "a.yaml", text)] == [
        "5: jobs[0].None: unknown key None",
        "6: jobs[0].1: unknown key 1",
    ]


@pytest.mark.parametrize("name", ["retry", "resources", "timeouts"])
def test_what_a_job_calls_its_values_is_no_key_of_a_file(name: str, tmp_path: Path) -> None:
    text = f"project: p\njobs:\n- name: a\n  command: ['true']\n  {name}: {{run_s: 5}}\n"

    (told,) = problems(tmp_path / "a.yaml", text)

    assert told.startswith(f"5: jobs[0].{name}: unknown key {name!r}")
