"""Jobs: what was asked, where they stand, the journal that says so, and the policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.jobs._asked import Asked as Asked
    from runbus.jobs._current import current_record as current_record
    from runbus.jobs._current import unrecorded_end as unrecorded_end
    from runbus.jobs._facts import Facts as Facts
    from runbus.jobs._intent import intend as intend
    from runbus.jobs._intent import intents as intents
    from runbus.jobs._lease import BEAT_S as BEAT_S
    from runbus.jobs._lease import TAKE_OVER_S as TAKE_OVER_S
    from runbus.jobs._lease import Leader as Leader
    from runbus.jobs._lease import is_handed_over as is_handed_over
    from runbus.jobs._lease import leader_of as leader_of
    from runbus.jobs._patience import Patience as Patience
    from runbus.jobs._patience import late_start as late_start
    from runbus.jobs._requests import CancelRequest as CancelRequest
    from runbus.jobs._requests import ask_to_cancel as ask_to_cancel
    from runbus.jobs._requests import read_requests as read_requests
    from runbus.jobs._retry import delay_s as delay_s
    from runbus.jobs._retry import gets_another as gets_another
    from runbus.jobs._state import TERMINAL as TERMINAL
    from runbus.jobs._state import JobRecord as JobRecord
    from runbus.jobs._state import JobState as JobState
    from runbus.jobs._state import fold as fold
    from runbus.jobs._store import FactReader as FactReader
    from runbus.jobs._store import JobStore as JobStore
    from runbus.jobs._store import read_jobs as read_jobs
    from runbus.jobs._verdict import RAN_TOO_LONG as RAN_TOO_LONG
    from runbus.jobs._verdict import End as End
    from runbus.jobs._verdict import verdict as verdict

__all__ = [
    "BEAT_S",
    "RAN_TOO_LONG",
    "TAKE_OVER_S",
    "TERMINAL",
    "Asked",
    "CancelRequest",
    "End",
    "FactReader",
    "Facts",
    "JobRecord",
    "JobState",
    "JobStore",
    "Leader",
    "Patience",
    "ask_to_cancel",
    "current_record",
    "delay_s",
    "fold",
    "gets_another",
    "intend",
    "intents",
    "is_handed_over",
    "late_start",
    "leader_of",
    "read_jobs",
    "read_requests",
    "unrecorded_end",
    "verdict",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._asked": ("Asked",),
        "._current": ("current_record", "unrecorded_end"),
        "._facts": ("Facts",),
        "._intent": ("intend", "intents"),
        "._lease": ("BEAT_S", "TAKE_OVER_S", "Leader", "is_handed_over", "leader_of"),
        "._patience": ("Patience", "late_start"),
        "._requests": ("CancelRequest", "ask_to_cancel", "read_requests"),
        "._retry": ("delay_s", "gets_another"),
        "._state": ("TERMINAL", "JobRecord", "JobState", "fold"),
        "._store": ("FactReader", "JobStore", "read_jobs"),
        "._verdict": ("RAN_TOO_LONG", "End", "verdict"),
    },
)
