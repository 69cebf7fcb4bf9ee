"""Jobs: what was asked, where they stand, the journal that says so, and the policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.jobs._again import note_again as note_again
    from runbus.jobs._again import read_again as read_again
    from runbus.jobs._asked import Asked as Asked
    from runbus.jobs._asked import ChangedBy as ChangedBy
    from runbus.jobs._asked import sweeps_asked as sweeps_asked
    from runbus.jobs._current import current_record as current_record
    from runbus.jobs._current import unrecorded_end as unrecorded_end
    from runbus.jobs._early_stop import EarlyStopRules as EarlyStopRules
    from runbus.jobs._facts import Facts as Facts
    from runbus.jobs._given import merged as merged
    from runbus.jobs._given import note_settings as note_settings
    from runbus.jobs._given import read_settings as read_settings
    from runbus.jobs._intent import intend as intend
    from runbus.jobs._intent import intents as intents
    from runbus.jobs._lease import BEAT_S as BEAT_S
    from runbus.jobs._lease import TAKE_OVER_S as TAKE_OVER_S
    from runbus.jobs._lease import Leader as Leader
    from runbus.jobs._lease import handed_over_s as handed_over_s
    from runbus.jobs._lease import is_handed_over as is_handed_over
    from runbus.jobs._lease import is_left as is_left
    from runbus.jobs._lease import leader_of as leader_of
    from runbus.jobs._lease import note_unled as note_unled
    from runbus.jobs._lease import why_unled as why_unled
    from runbus.jobs._patience import Patience as Patience
    from runbus.jobs._patience import late_start as late_start
    from runbus.jobs._requests import CancelRequest as CancelRequest
    from runbus.jobs._requests import ask_to_cancel as ask_to_cancel
    from runbus.jobs._requests import read_requests as read_requests
    from runbus.jobs._requests import requests_stamp as requests_stamp
    from runbus.jobs._retry import attempt_heading as attempt_heading
    from runbus.jobs._retry import delay_s as delay_s
    from runbus.jobs._retry import gets_another as gets_another
    from runbus.jobs._retry import is_last as is_last
    from runbus.jobs._state import FAILURES as FAILURES
    from runbus.jobs._state import STOPPED_EARLY as STOPPED_EARLY
    from runbus.jobs._state import TERMINAL as TERMINAL
    from runbus.jobs._state import JobRecord as JobRecord
    from runbus.jobs._state import JobState as JobState
    from runbus.jobs._state import fold as fold
    from runbus.jobs._store import FactReader as FactReader
    from runbus.jobs._store import JobStore as JobStore
    from runbus.jobs._store import StoreSync as StoreSync
    from runbus.jobs._store import read_jobs as read_jobs
    from runbus.jobs._sweeps import SweepAsked as SweepAsked
    from runbus.jobs._sweeps import SweepPoint as SweepPoint
    from runbus.jobs._sweeps import common_name as common_name
    from runbus.jobs._sweeps import own_name as own_name
    from runbus.jobs._verdict import RAN_TOO_LONG as RAN_TOO_LONG
    from runbus.jobs._verdict import End as End
    from runbus.jobs._verdict import verdict as verdict

__all__ = [
    "BEAT_S",
    "FAILURES",
    "RAN_TOO_LONG",
    "STOPPED_EARLY",
    "TAKE_OVER_S",
    "TERMINAL",
    "Asked",
    "CancelRequest",
    "EarlyStopRules",
    "End",
    "FactReader",
    "Facts",
    "JobRecord",
    "JobState",
    "JobStore",
    "Leader",
    "Patience",
    "StoreSync",
    "SweepAsked",
    "SweepPoint",
    "ask_to_cancel",
    "attempt_heading",
    "common_name",
    "current_record",
    "delay_s",
    "fold",
    "gets_another",
    "handed_over_s",
    "intend",
    "intents",
    "is_handed_over",
    "is_last",
    "is_left",
    "late_start",
    "leader_of",
    "merged",
    "note_again",
    "note_settings",
    "note_unled",
    "own_name",
    "read_again",
    "read_jobs",
    "read_requests",
    "read_settings",
    "requests_stamp",
    "sweeps_asked",
    "unrecorded_end",
    "verdict",
    "why_unled",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._again": ("note_again", "read_again"),
        "._asked": ("Asked", "ChangedBy", "sweeps_asked"),
        "._current": ("current_record", "unrecorded_end"),
        "._early_stop": ("EarlyStopRules",),
        "._facts": ("Facts",),
        "._given": ("merged", "note_settings", "read_settings"),
        "._intent": ("intend", "intents"),
        "._lease": (
            "BEAT_S",
            "TAKE_OVER_S",
            "Leader",
            "handed_over_s",
            "is_handed_over",
            "is_left",
            "leader_of",
            "note_unled",
            "why_unled",
        ),
        "._patience": ("Patience", "late_start"),
        "._requests": ("CancelRequest", "ask_to_cancel", "read_requests", "requests_stamp"),
        "._retry": ("attempt_heading", "delay_s", "gets_another", "is_last"),
        "._state": ("FAILURES", "STOPPED_EARLY", "TERMINAL", "JobRecord", "JobState", "fold"),
        "._store": ("FactReader", "JobStore", "StoreSync", "read_jobs"),
        "._sweeps": ("SweepAsked", "SweepPoint", "common_name", "own_name"),
        "._verdict": ("RAN_TOO_LONG", "End", "verdict"),
    },
)
