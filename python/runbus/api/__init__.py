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
    from runbus.api._experiment import AsyncExperiment as AsyncExperiment
    from runbus.api._experiment import Experiment as Experiment
    from runbus.api._explain import Explanation as Explanation
    from runbus.api._explain import Happening as Happening
    from runbus.api._explain import explain as explain
    from runbus.api._failures import failure_of as failure_of
    from runbus.api._far_folders import FarFolder as FarFolder
    from runbus.api._far_folders import far_folders as far_folders
    from runbus.api._far_folders import idle_far_folders as idle_far_folders
    from runbus.api._fleet import Fleet as Fleet
    from runbus.api._job_lines import InTurn as InTurn
    from runbus.api._job_lines import JobLines as JobLines
    from runbus.api._lead import attach as attach
    from runbus.api._lead import cancel as cancel
    from runbus.api._lead import detach as detach
    from runbus.api._lead import follow as follow
    from runbus.api._lead import giving_up as giving_up
    from runbus.api._lead import lead as lead
    from runbus.api._lead import lead_new as lead_new
    from runbus.api._lead import submit as submit
    from runbus.api._plan import plan as plan
    from runbus.api._plan import prepare as prepare
    from runbus.api._plan import rerun as rerun
    from runbus.api._plan import retry as retry
    from runbus.api._planned import Plan as Plan
    from runbus.api._plugins_given import GivenPlugins as GivenPlugins
    from runbus.api._portal import Portal as Portal
    from runbus.api._portal import portal as portal
    from runbus.api._run import run as run
    from runbus.api._status import ExperimentList as ExperimentList
    from runbus.api._status import ExperimentStatus as ExperimentStatus
    from runbus.api._status import status as status
    from runbus.api._supervise import supervise as supervise
    from runbus.api._sync import run_sweep as run_sweep

__all__ = [
    "AsyncExperiment",
    "Experiment",
    "ExperimentList",
    "ExperimentStatus",
    "Explanation",
    "FarFolder",
    "Fleet",
    "GivenPlugins",
    "Happening",
    "InTurn",
    "JobLines",
    "Plan",
    "Portal",
    "ReadLog",
    "attach",
    "cancel",
    "detach",
    "executor_of",
    "executors_of",
    "explain",
    "failure_of",
    "far_folders",
    "follow",
    "giving_up",
    "idle_far_folders",
    "lead",
    "lead_new",
    "plan",
    "portal",
    "prepare",
    "reading_elsewhere",
    "rerun",
    "retry",
    "run",
    "run_sweep",
    "status",
    "submit",
    "supervise",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._elsewhere": ("ReadLog", "reading_elsewhere"),
        "._executors": ("executor_of", "executors_of"),
        "._experiment": ("AsyncExperiment", "Experiment"),
        "._explain": ("Explanation", "Happening", "explain"),
        "._failures": ("failure_of",),
        "._far_folders": ("FarFolder", "far_folders", "idle_far_folders"),
        "._fleet": ("Fleet",),
        "._job_lines": ("InTurn", "JobLines"),
        "._lead": (
            "attach",
            "cancel",
            "detach",
            "follow",
            "giving_up",
            "lead",
            "lead_new",
            "submit",
        ),
        "._plan": ("plan", "prepare", "rerun", "retry"),
        "._planned": ("Plan",),
        "._plugins_given": ("GivenPlugins",),
        "._portal": ("Portal", "portal"),
        "._status": ("ExperimentList", "ExperimentStatus", "status"),
        "._supervise": ("supervise",),
        "._run": ("run",),
        "._sync": ("run_sweep",),
    },
)
