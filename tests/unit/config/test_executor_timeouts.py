"""Every executor takes the time-outs of its jobs, wherever its fields are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runbus.cli._entry_launch import launch_asked
from runbus.config import executor_entry, load_batch, parse_override
from runbus.errors import BatchInvalid, ConfigInvalid
from runbus.events import Timeouts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["executor={type: local, timeout: 12h}"], Timeouts(run_s=43_200)),
        (["executor={type: local, gpus: [0], idle_timeout: 5}"], Timeouts(idle_s=5)),
        (["executor=local", "executor.timeout=1s"], Timeouts(run_s=1)),
        (["executor.queue_timeout=2m"], Timeouts(queue_s=120)),
        (
            ["executor=@ex.yaml:loc", "executor.timeout=1s"],
            Timeouts(run_s=1, idle_s=9),
        ),
        (["executor=@ex.yaml:loc", "executor=local"], Timeouts()),
    ],
)
def test_words_of_a_command_line_say_them(
    words: list[str], expected: Timeouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ex.yaml").write_text("loc: {type: local, timeout: 8h, idle_timeout: 9}\n")

    assert launch_asked([parse_override(one) for one in words], frozenset()).timeouts == expected


@pytest.mark.parametrize("word", ["executor.timeout=soon", "executor={type: local, timeout: soon}"])
def test_a_word_that_is_no_duration_is_refused(word: str) -> None:
    with pytest.raises(ConfigInvalid, match="timeout: 'soon' is not a duration"):
        launch_asked([parse_override(word)], frozenset())


def test_a_job_of_a_batch_has_the_fields_of_an_executor_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_text(
        "project: p\nexecutors: {b: {type: local, timeout: 3}}\njobs:\n"
        "- {name: a, command: [x], executor: {type: local, timeout: 12h}}\n"
        "- {name: b, command: [x], executor: {type: local, gpus: []}}\n"
        "- {name: c, command: [x], executor: {type: local, timeout: 12h}}\n"
        "- {name: d, command: [x], executor: b}\n"
    )
    batch = load_batch(str(file))

    assert [job.executor for job in batch.jobs] == ["a", "b-2", "a", "b"]
    assert {name: one.timeouts.run_s for name, one in batch.executors.items()} == {
        "a": 43_200,
        "b-2": None,
        "b": 3,
    }
    assert batch.executors["b-2"].data == {"type": "local", "gpus": []}


def test_a_mistake_in_them_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_text(
        "project: p\njobs:\n- name: a\n  command: [x]\n  executor: {type: local,\n    gups: 1}\n"
    )
    with pytest.raises(BatchInvalid, match=r"b.yaml:6: jobs\[0\]\.executor\.gups: unknown key"):
        load_batch(str(file))


def test_a_heartbeat_of_no_time_is_refused_when_the_executor_is_read() -> None:
    with pytest.raises(ConfigInvalid, match="heartbeat_s: expected at least 1"):
        executor_entry({"type": "local", "heartbeat_s": -1}, "x")
