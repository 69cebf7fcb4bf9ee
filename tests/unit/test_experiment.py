"""What an experiment refuses before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from runbus import AsyncExperiment, Command, Job
from runbus.errors import UsageError


def test_a_variable_that_is_no_text_is_refused_and_not_left_out() -> None:
    env: dict[str, Any] = {"SEED": 1}

    with pytest.raises(UsageError, match="'a': SEED must be a text or a Secret, not int"):
        AsyncExperiment("p", [Job(name="a", task=Command(("true",)), env=env)])
