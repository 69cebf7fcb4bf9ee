"""The folder of one attempt: the wrapper, its script, records and logs. For authors of executors.

Everything that a backend and its observers must agree on about the files of a running job;
nothing here knows an experiment, a supervisor or a state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.attempt._body import AttemptBody as AttemptBody
    from runbus.attempt._evidence import CANCELLED as CANCELLED
    from runbus.attempt._evidence import OUT_OF_MEMORY as OUT_OF_MEMORY
    from runbus.attempt._evidence import TIME_LIMIT as TIME_LIMIT
    from runbus.attempt._evidence import Pulse as Pulse
    from runbus.attempt._evidence import is_elsewhere as is_elsewhere
    from runbus.attempt._evidence import is_running as is_running
    from runbus.attempt._evidence import lost_output as lost_output
    from runbus.attempt._evidence import observe_folder as observe_folder
    from runbus.attempt._evidence import observe_start as observe_start
    from runbus.attempt._evidence import outlived as outlived
    from runbus.attempt._evidence import own_pid_namespace as own_pid_namespace
    from runbus.attempt._journal import Journal as Journal
    from runbus.attempt._journal import JournalReader as JournalReader
    from runbus.attempt._journal import Syncing as Syncing
    from runbus.attempt._journal import blobs as blobs
    from runbus.attempt._journal import has_writer as has_writer
    from runbus.attempt._journal import whole_records as whole_records
    from runbus.attempt._logs import LOOK_BACK as LOOK_BACK
    from runbus.attempt._logs import LogTail as LogTail
    from runbus.attempt._logs import Place as Place
    from runbus.attempt._logs import Written as Written
    from runbus.attempt._logs import log_state as log_state
    from runbus.attempt._logs import note_cut as note_cut
    from runbus.attempt._logs import read_cuts as read_cuts
    from runbus.attempt._logs import read_log as read_log
    from runbus.attempt._marks import LogMarks as LogMarks
    from runbus.attempt._marks import log_offset_at as log_offset_at
    from runbus.attempt._marks import read_marks as read_marks
    from runbus.attempt._program import CarriedProgram as CarriedProgram
    from runbus.attempt._program import carried_program as carried_program
    from runbus.attempt._program import carried_sampler as carried_sampler
    from runbus.attempt._program import program_digest as program_digest
    from runbus.attempt._program import program_names as program_names
    from runbus.attempt._program import sampler_program as sampler_program
    from runbus.attempt._program import wrapper_program as wrapper_program
    from runbus.attempt._program import wrapper_words as wrapper_words
    from runbus.attempt._rendezvous import MEETING_PORTS as MEETING_PORTS
    from runbus.attempt._rendezvous import at_a_free_port as at_a_free_port
    from runbus.attempt._rendezvous import on_one_node as on_one_node
    from runbus.attempt._rendezvous import rendezvous as rendezvous
    from runbus.attempt._request import render_request as render_request
    from runbus.attempt._script import WRAPPER as WRAPPER
    from runbus.attempt._script import check_job as check_job
    from runbus.attempt._script import redacted_job as redacted_job
    from runbus.attempt._script import render_script as render_script
    from runbus.attempt._script import secret_environment as secret_environment
    from runbus.attempt._spawn import Starting as Starting
    from runbus.attempt._spawn import spawn as spawn
    from runbus.attempt._work import FolderFiles as FolderFiles
    from runbus.attempt._work import as_it_worked as as_it_worked
    from runbus.attempt._work import note_work as note_work

__all__ = [
    "CANCELLED",
    "LOOK_BACK",
    "MEETING_PORTS",
    "OUT_OF_MEMORY",
    "TIME_LIMIT",
    "WRAPPER",
    "AttemptBody",
    "CarriedProgram",
    "FolderFiles",
    "Journal",
    "JournalReader",
    "LogMarks",
    "LogTail",
    "Place",
    "Pulse",
    "Starting",
    "Syncing",
    "Written",
    "as_it_worked",
    "blobs",
    "carried_program",
    "carried_sampler",
    "check_job",
    "has_writer",
    "is_elsewhere",
    "is_running",
    "log_offset_at",
    "log_state",
    "lost_output",
    "note_cut",
    "note_work",
    "observe_folder",
    "observe_start",
    "on_one_node",
    "outlived",
    "own_pid_namespace",
    "program_digest",
    "read_cuts",
    "read_log",
    "read_marks",
    "redacted_job",
    "render_request",
    "render_script",
    "rendezvous",
    "sampler_program",
    "secret_environment",
    "spawn",
    "whole_records",
    "wrapper_program",
    "wrapper_words",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._body": ("AttemptBody",),
        "._evidence": (
            "CANCELLED",
            "OUT_OF_MEMORY",
            "TIME_LIMIT",
            "Pulse",
            "is_elsewhere",
            "is_running",
            "lost_output",
            "observe_folder",
            "observe_start",
            "outlived",
            "own_pid_namespace",
        ),
        "._journal": (
            "Journal",
            "JournalReader",
            "Syncing",
            "blobs",
            "has_writer",
            "whole_records",
        ),
        "._logs": (
            "LOOK_BACK",
            "LogTail",
            "Place",
            "Written",
            "log_state",
            "note_cut",
            "read_cuts",
            "read_log",
        ),
        "._marks": ("LogMarks", "log_offset_at", "read_marks"),
        "._program": (
            "CarriedProgram",
            "carried_program",
            "carried_sampler",
            "program_digest",
            "program_names",
            "sampler_program",
            "wrapper_program",
            "wrapper_words",
        ),
        "._rendezvous": ("MEETING_PORTS", "at_a_free_port", "on_one_node", "rendezvous"),
        "._request": ("render_request",),
        "._script": ("WRAPPER", "check_job", "redacted_job", "render_script", "secret_environment"),
        "._spawn": ("Starting", "spawn"),
        "._work": ("FolderFiles", "as_it_worked", "note_work"),
    },
)
