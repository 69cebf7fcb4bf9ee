"""What one does with a home: submit, attach, detach, cancel, retry, plan, status.

Async functions, values in and values out; nothing here reads words or prints. The command line, a
page and a service call the same. `run` is the door for code that is not async.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.api._elsewhere import ReadLog as ReadLog
    from runbus.api._elsewhere import reading_elsewhere as reading_elsewhere
    from runbus.api._executors import executor_of as executor_of
    from runbus.api._executors import executors_of as executors_of
    from runbus.api._explain import Explanation as Explanation
    from runbus.api._explain import Happening as Happening
    from runbus.api._explain import explain as explain
    from runbus.api._fleet import Fleet as Fleet
    from runbus.api._lead import attach as attach
    from runbus.api._lead import cancel as cancel
    from runbus.api._lead import detach as detach
    from runbus.api._lead import follow as follow
    from runbus.api._lead import lead as lead
    from runbus.api._lead import submit as submit
    from runbus.api._plan import plan as plan
    from runbus.api._plan import prepare as prepare
    from runbus.api._plan import retry as retry
    from runbus.api._status import status as status
    from runbus.api._supervise import supervise as supervise
    from runbus.api._sync import run as run

__all__ = [
    "Explanation",
    "Fleet",
    "Happening",
    "ReadLog",
    "attach",
    "cancel",
    "detach",
    "executor_of",
    "executors_of",
    "explain",
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._elsewhere": ("ReadLog", "reading_elsewhere"),
        "._executors": ("executor_of", "executors_of"),
        "._explain": ("Explanation", "Happening", "explain"),
        "._fleet": ("Fleet",),
        "._lead": ("attach", "cancel", "detach", "follow", "lead", "submit"),
        "._plan": ("plan", "prepare", "retry"),
        "._status": ("status",),
        "._supervise": ("supervise",),
        "._sync": ("run",),
    },
)
