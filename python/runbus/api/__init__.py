"""What one does with a home: submit, attach, detach, cancel, retry, plan, status.

Async functions, values in and values out; nothing here reads words or prints. The command line, a
page and a service call the same. `run` is the door for code that is not async.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.api._elsewhere import ReadLog as ReadLog
    from runbus.api._elsewhere import reading_elsewhere as reading_elsewhere
    from runbus.api._executors import executors_of as executors_of
    from runbus.api._lead import attach as attach
    from runbus.api._lead import cancel as cancel
    from runbus.api._lead import detach as detach
    from runbus.api._lead import follow as follow
    from runbus.api._lead import lead as lead
    from runbus.api._lead import submit as submit
    from runbus.api._plan import plan as plan
    from runbus.api._plan import prepare as prepare
    from runbus.api._plan import retry as retry
    from runbus.api._plan import status as status
    from runbus.api._supervise import supervise as supervise
    from runbus.api._sync import run as run

_HOMES = {
    "ReadLog": "_elsewhere",
    "attach": "_lead",
    "cancel": "_lead",
    "detach": "_lead",
    "executors_of": "_executors",
    "follow": "_lead",
    "lead": "_lead",
    "plan": "_plan",
    "prepare": "_plan",
    "reading_elsewhere": "_elsewhere",
    "retry": "_plan",
    "run": "_sync",
    "status": "_plan",
    "submit": "_lead",
    "supervise": "_supervise",
}

__all__ = [
    "ReadLog",
    "attach",
    "cancel",
    "detach",
    "executors_of",
    "follow",
    "lead",
    "plan",
    "prepare",
    "reading_elsewhere",
    "retry",
    "run",
    "status",
    "submit",
    "supervise",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'runbus.api' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"runbus.api.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
