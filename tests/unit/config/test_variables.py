"""Variables of the environment that set values: two of one value, and those that set nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runbus.config import ExecutorNames, find_executor, list_executors, load
from runbus.errors import ConfigInvalid, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_two_variables_that_set_the_same_value_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: x\n")
    (tmp_path / "executors.yaml").write_text("gpu: {type: local}\n")
    with pytest.raises(UsageError, match="RUNBUS__NAME and RUNBUS__name set the same value"):
        load(tmp_path / "a.yaml", dict, environment={"RUNBUS__NAME": "5", "RUNBUS__name": "6"})
    said = {"RUNBUS_EXECUTORS__GPU__TIMEOUT": "1m", "RUNBUS_EXECUTORS__gpu__TIMEOUT": "2m"}
    with pytest.raises(UsageError, match="set the same value"):
        find_executor("gpu", str(tmp_path), home=str(tmp_path), environment=said)


def test_a_variable_of_an_executor_that_no_file_describes_is_told(tmp_path: Path) -> None:
    (tmp_path / "executors.yaml").write_text("a-b: {type: local}\n")
    names = ["A_B", "ZZ", "SSH"]
    said = {f"RUNBUS_EXECUTORS__{name}__TIMEOUT": "1m" for name in names}

    found = ExecutorNames(str(tmp_path), home=str(tmp_path), environment=said)
    _, problems = list_executors(found)

    assert [one.origin for one in problems] == [
        "RUNBUS_EXECUTORS__SSH__TIMEOUT",
        "RUNBUS_EXECUTORS__ZZ__TIMEOUT",
    ]
    with pytest.raises(ConfigInvalid, match="RUNBUS_EXECUTORS__SSH__TIMEOUT: no file describes"):
        find_executor("ssh", str(tmp_path), home=str(tmp_path), environment=said)
