"""Jobs: what they are, where they stand, and the record that outlives everyone."""

from runbus.jobs._evidence import Pulse as Pulse
from runbus.jobs._evidence import current_state as current_state
from runbus.jobs._evidence import is_elsewhere as is_elsewhere
from runbus.jobs._evidence import is_running as is_running
from runbus.jobs._evidence import observe_folder as observe_folder
from runbus.jobs._evidence import observe_start as observe_start
from runbus.jobs._follow import Follower as Follower
from runbus.jobs._intent import intend as intend
from runbus.jobs._logs import LogTail as LogTail
from runbus.jobs._logs import read_log as read_log
from runbus.jobs._marks import log_offset_at as log_offset_at
from runbus.jobs._requests import CancelRequest as CancelRequest
from runbus.jobs._requests import ask_to_cancel as ask_to_cancel
from runbus.jobs._requests import read_requests as read_requests
from runbus.jobs._script import WRAPPER as WRAPPER
from runbus.jobs._script import redacted_job as redacted_job
from runbus.jobs._script import render_script as render_script
from runbus.jobs._script import secret_environment as secret_environment
from runbus.jobs._state import TERMINAL as TERMINAL
from runbus.jobs._state import JobRecord as JobRecord
from runbus.jobs._state import JobState as JobState
from runbus.jobs._state import fold as fold
from runbus.jobs._store import JobStore as JobStore
from runbus.jobs._store import is_led as is_led
from runbus.jobs._store import read_jobs as read_jobs
from runbus.jobs._supervisor import Supervisor as Supervisor

__all__ = [
    "TERMINAL",
    "WRAPPER",
    "CancelRequest",
    "Follower",
    "JobRecord",
    "JobState",
    "JobStore",
    "LogTail",
    "Pulse",
    "Supervisor",
    "ask_to_cancel",
    "current_state",
    "fold",
    "intend",
    "is_elsewhere",
    "is_led",
    "is_running",
    "log_offset_at",
    "observe_folder",
    "observe_start",
    "read_jobs",
    "read_log",
    "read_requests",
    "redacted_job",
    "render_script",
    "secret_environment",
]
