"""Every error that runbus raises on purpose, in one tree; docs/reference/errors.md draws it.

One module a topic; each is imported when one of its names is, so that a script that only logs
loads few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.errors._bus import BackpressureTimeout as BackpressureTimeout
    from runbus.errors._bus import BusClosed as BusClosed
    from runbus.errors._bus import BusError as BusError
    from runbus.errors._bus import InvalidHandler as InvalidHandler
    from runbus.errors._bus import InvalidOption as InvalidOption
    from runbus.errors._bus import MailboxFull as MailboxFull
    from runbus.errors._bus import NoHandler as NoHandler
    from runbus.errors._bus import RecursionLimit as RecursionLimit
    from runbus.errors._bus import Reentrant as Reentrant
    from runbus.errors._bus import StreamNotOpen as StreamNotOpen
    from runbus.errors._bus import TraceError as TraceError
    from runbus.errors._bus import WouldDeadlock as WouldDeadlock
    from runbus.errors._bus import WrongKind as WrongKind
    from runbus.errors._bus import WrongLoop as WrongLoop
    from runbus.errors._config import ConfigInvalid as ConfigInvalid
    from runbus.errors._config import ConfigProblem as ConfigProblem
    from runbus.errors._config import FieldUnknown as FieldUnknown
    from runbus.errors._config import FieldUnset as FieldUnset
    from runbus.errors._config import TargetUnusable as TargetUnusable
    from runbus.errors._files import FileUnreadable as FileUnreadable
    from runbus.errors._files import HomeUnusable as HomeUnusable
    from runbus.errors._files import JournalError as JournalError
    from runbus.errors._files import JournalHeld as JournalHeld
    from runbus.errors._files import LeaseLost as LeaseLost
    from runbus.errors._files import os_reason as os_reason
    from runbus.errors._groups import innermost as innermost
    from runbus.errors._hints import did_you_mean as did_you_mean
    from runbus.errors._hints import near_matches as near_matches
    from runbus.errors._hooks import PluginNotPortable as PluginNotPortable
    from runbus.errors._hosts import AnswerLost as AnswerLost
    from runbus.errors._hosts import ApiUnknown as ApiUnknown
    from runbus.errors._hosts import ConnectionLost as ConnectionLost
    from runbus.errors._hosts import ForwardFailed as ForwardFailed
    from runbus.errors._hosts import HostError as HostError
    from runbus.errors._hosts import HostKeyRefused as HostKeyRefused
    from runbus.errors._hosts import HostKeyUnknown as HostKeyUnknown
    from runbus.errors._hosts import HttpRefused as HttpRefused
    from runbus.errors._hosts import LoginRefused as LoginRefused
    from runbus.errors._hosts import RemoteFailed as RemoteFailed
    from runbus.errors._hosts import TokenRefused as TokenRefused
    from runbus.errors._hosts import Unreachable as Unreachable
    from runbus.errors._hub import DeliveryExpired as DeliveryExpired
    from runbus.errors._hub import HubClosed as HubClosed
    from runbus.errors._hub import HubError as HubError
    from runbus.errors._hub import HubExperimentNotFound as HubExperimentNotFound
    from runbus.errors._hub import InvalidService as InvalidService
    from runbus.errors._hub import ModelNotSaved as ModelNotSaved
    from runbus.errors._hub import ModelUnreadable as ModelUnreadable
    from runbus.errors._hub import NotOffered as NotOffered
    from runbus.errors._hub import NotTrained as NotTrained
    from runbus.errors._hub import QueueFull as QueueFull
    from runbus.errors._hub import QueueNotFound as QueueNotFound
    from runbus.errors._hub import ServiceMissing as ServiceMissing
    from runbus.errors._hub import ServiceUnavailable as ServiceUnavailable
    from runbus.errors._hub import ShutdownFailed as ShutdownFailed
    from runbus.errors._hub import StillRunning as StillRunning
    from runbus.errors._hub import TaskFailed as TaskFailed
    from runbus.errors._hub import TaskNotFound as TaskNotFound
    from runbus.errors._hub import TrainingFailed as TrainingFailed
    from runbus.errors._hub import UnknownExperimentType as UnknownExperimentType
    from runbus.errors._jobs import ExperimentFailed as ExperimentFailed
    from runbus.errors._jobs import JobError as JobError
    from runbus.errors._jobs import JobFailure as JobFailure
    from runbus.errors._jobs import JobNotStarted as JobNotStarted
    from runbus.errors._jobs import PartitionMissing as PartitionMissing
    from runbus.errors._jobs import SubmitUnknown as SubmitUnknown
    from runbus.errors._jobs import Unsupported as Unsupported
    from runbus.errors._managed import IllegalTransition as IllegalTransition
    from runbus.errors._managed import SchemaInvalid as SchemaInvalid
    from runbus.errors._missing import EventNotFound as EventNotFound
    from runbus.errors._missing import ExperimentNotFound as ExperimentNotFound
    from runbus.errors._missing import GitRefNotFound as GitRefNotFound
    from runbus.errors._missing import JobNotFound as JobNotFound
    from runbus.errors._missing import MetricNotFound as MetricNotFound
    from runbus.errors._missing import NoBatch as NoBatch
    from runbus.errors._missing import NoExecutor as NoExecutor
    from runbus.errors._missing import NotFound as NotFound
    from runbus.errors._missing import RecordNotFound as RecordNotFound
    from runbus.errors._missing import RunNotFound as RunNotFound
    from runbus.errors._packages import GitFailed as GitFailed
    from runbus.errors._packages import GitMissing as GitMissing
    from runbus.errors._packages import NotARepository as NotARepository
    from runbus.errors._packages import NothingToPackage as NothingToPackage
    from runbus.errors._packages import PackageChanged as PackageChanged
    from runbus.errors._packages import PackageUnreadable as PackageUnreadable
    from runbus.errors._packages import RepositoryNotTrusted as RepositoryNotTrusted
    from runbus.errors._packages import SubmoduleMissing as SubmoduleMissing
    from runbus.errors._packages import TreeDirty as TreeDirty
    from runbus.errors._plugins import DuplicatePlugin as DuplicatePlugin
    from runbus.errors._plugins import HandlerCancelled as HandlerCancelled
    from runbus.errors._plugins import HandlerTimeout as HandlerTimeout
    from runbus.errors._plugins import HookError as HookError
    from runbus.errors._plugins import InvalidPlugin as InvalidPlugin
    from runbus.errors._plugins import MissingPlugin as MissingPlugin
    from runbus.errors._plugins import OrderCycle as OrderCycle
    from runbus.errors._plugins import PluginCrashed as PluginCrashed
    from runbus.errors._plugins import PluginDenied as PluginDenied
    from runbus.errors._plugins import PluginError as PluginError
    from runbus.errors._plugins import PluginNotFound as PluginNotFound
    from runbus.errors._plugins import PluginNotLoadable as PluginNotLoadable
    from runbus.errors._plugins import PluginStuck as PluginStuck
    from runbus.errors._root import RunbusError as RunbusError
    from runbus.errors._runs import AmbiguousId as AmbiguousId
    from runbus.errors._runs import ArtifactUnreadable as ArtifactUnreadable
    from runbus.errors._runs import NoLogs as NoLogs
    from runbus.errors._runs import ResultNotKept as ResultNotKept
    from runbus.errors._runs import RunBusy as RunBusy
    from runbus.errors._runs import RunUnreadable as RunUnreadable
    from runbus.errors._tasks import BatchInvalid as BatchInvalid
    from runbus.errors._tasks import ExecutorNotPortable as ExecutorNotPortable
    from runbus.errors._tasks import ScriptUnusable as ScriptUnusable
    from runbus.errors._tasks import SpaceInvalid as SpaceInvalid
    from runbus.errors._tasks import SweepChanged as SweepChanged
    from runbus.errors._tasks import SweepInvalid as SweepInvalid
    from runbus.errors._tasks import TaskInvalid as TaskInvalid
    from runbus.errors._usage import ExtraMissing as ExtraMissing
    from runbus.errors._usage import FieldInvalid as FieldInvalid
    from runbus.errors._usage import NoCurrentFolder as NoCurrentFolder
    from runbus.errors._usage import QueryInvalid as QueryInvalid
    from runbus.errors._usage import SecretMissing as SecretMissing
    from runbus.errors._usage import UsageError as UsageError

__all__ = [
    "AmbiguousId",
    "AnswerLost",
    "ApiUnknown",
    "ArtifactUnreadable",
    "BackpressureTimeout",
    "BatchInvalid",
    "BusClosed",
    "BusError",
    "ConfigInvalid",
    "ConfigProblem",
    "ConnectionLost",
    "DeliveryExpired",
    "DuplicatePlugin",
    "EventNotFound",
    "ExecutorNotPortable",
    "ExperimentFailed",
    "ExperimentNotFound",
    "ExtraMissing",
    "FieldInvalid",
    "FieldUnknown",
    "FieldUnset",
    "FileUnreadable",
    "ForwardFailed",
    "GitFailed",
    "GitMissing",
    "GitRefNotFound",
    "HandlerCancelled",
    "HandlerTimeout",
    "HomeUnusable",
    "HookError",
    "HostError",
    "HostKeyRefused",
    "HostKeyUnknown",
    "HttpRefused",
    "HubClosed",
    "HubError",
    "HubExperimentNotFound",
    "IllegalTransition",
    "InvalidHandler",
    "InvalidOption",
    "InvalidPlugin",
    "InvalidService",
    "JobError",
    "JobFailure",
    "JobNotFound",
    "JobNotStarted",
    "JournalError",
    "JournalHeld",
    "LeaseLost",
    "LoginRefused",
    "MailboxFull",
    "MetricNotFound",
    "MissingPlugin",
    "ModelNotSaved",
    "ModelUnreadable",
    "NoBatch",
    "NoCurrentFolder",
    "NoExecutor",
    "NoHandler",
    "NoLogs",
    "NotARepository",
    "NotFound",
    "NotOffered",
    "NotTrained",
    "NothingToPackage",
    "OrderCycle",
    "PackageChanged",
    "PackageUnreadable",
    "PartitionMissing",
    "PluginCrashed",
    "PluginDenied",
    "PluginError",
    "PluginNotFound",
    "PluginNotLoadable",
    "PluginNotPortable",
    "PluginStuck",
    "QueryInvalid",
    "QueueFull",
    "QueueNotFound",
    "RecordNotFound",
    "RecursionLimit",
    "Reentrant",
    "RemoteFailed",
    "RepositoryNotTrusted",
    "ResultNotKept",
    "RunBusy",
    "RunNotFound",
    "RunUnreadable",
    "RunbusError",
    "SchemaInvalid",
    "ScriptUnusable",
    "SecretMissing",
    "ServiceMissing",
    "ServiceUnavailable",
    "ShutdownFailed",
    "SpaceInvalid",
    "StillRunning",
    "StreamNotOpen",
    "SubmitUnknown",
    "SubmoduleMissing",
    "SweepChanged",
    "SweepInvalid",
    "TargetUnusable",
    "TaskFailed",
    "TaskInvalid",
    "TaskNotFound",
    "TokenRefused",
    "TraceError",
    "TrainingFailed",
    "TreeDirty",
    "UnknownExperimentType",
    "Unreachable",
    "Unsupported",
    "UsageError",
    "WouldDeadlock",
    "WrongKind",
    "WrongLoop",
    "did_you_mean",
    "innermost",
    "near_matches",
    "os_reason",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._bus": (
            "BackpressureTimeout",
            "BusClosed",
            "BusError",
            "InvalidHandler",
            "InvalidOption",
            "MailboxFull",
            "NoHandler",
            "RecursionLimit",
            "Reentrant",
            "StreamNotOpen",
            "TraceError",
            "WouldDeadlock",
            "WrongKind",
            "WrongLoop",
        ),
        "._config": (
            "ConfigInvalid",
            "ConfigProblem",
            "FieldUnknown",
            "FieldUnset",
            "TargetUnusable",
        ),
        "._files": (
            "FileUnreadable",
            "HomeUnusable",
            "JournalError",
            "JournalHeld",
            "LeaseLost",
            "os_reason",
        ),
        "._groups": ("innermost",),
        "._hints": ("did_you_mean", "near_matches"),
        "._hooks": ("PluginNotPortable",),
        "._hosts": (
            "AnswerLost",
            "ConnectionLost",
            "ForwardFailed",
            "HostError",
            "HostKeyRefused",
            "HostKeyUnknown",
            "ApiUnknown",
            "HttpRefused",
            "TokenRefused",
            "LoginRefused",
            "RemoteFailed",
            "Unreachable",
        ),
        "._hub": (
            "DeliveryExpired",
            "HubClosed",
            "HubError",
            "HubExperimentNotFound",
            "InvalidService",
            "ModelNotSaved",
            "ModelUnreadable",
            "NotOffered",
            "NotTrained",
            "QueueFull",
            "QueueNotFound",
            "ServiceMissing",
            "ServiceUnavailable",
            "ShutdownFailed",
            "StillRunning",
            "TaskFailed",
            "TaskNotFound",
            "TrainingFailed",
            "UnknownExperimentType",
        ),
        "._jobs": (
            "ExperimentFailed",
            "JobError",
            "JobFailure",
            "JobNotStarted",
            "PartitionMissing",
            "SubmitUnknown",
            "Unsupported",
        ),
        "._managed": ("IllegalTransition", "SchemaInvalid"),
        "._missing": (
            "EventNotFound",
            "ExperimentNotFound",
            "GitRefNotFound",
            "JobNotFound",
            "MetricNotFound",
            "NoBatch",
            "NoExecutor",
            "NotFound",
            "RecordNotFound",
            "RunNotFound",
        ),
        "._packages": (
            "GitFailed",
            "GitMissing",
            "NotARepository",
            "NothingToPackage",
            "PackageChanged",
            "PackageUnreadable",
            "RepositoryNotTrusted",
            "SubmoduleMissing",
            "TreeDirty",
        ),
        "._plugins": (
            "DuplicatePlugin",
            "HandlerCancelled",
            "HandlerTimeout",
            "HookError",
            "InvalidPlugin",
            "MissingPlugin",
            "OrderCycle",
            "PluginCrashed",
            "PluginDenied",
            "PluginError",
            "PluginNotFound",
            "PluginNotLoadable",
            "PluginStuck",
        ),
        "._root": ("RunbusError",),
        "._runs": (
            "AmbiguousId",
            "ArtifactUnreadable",
            "NoLogs",
            "ResultNotKept",
            "RunBusy",
            "RunUnreadable",
        ),
        "._tasks": (
            "BatchInvalid",
            "ScriptUnusable",
            "SpaceInvalid",
            "SweepChanged",
            "SweepInvalid",
            "ExecutorNotPortable",
            "TaskInvalid",
        ),
        "._usage": (
            "ExtraMissing",
            "FieldInvalid",
            "NoCurrentFolder",
            "QueryInvalid",
            "SecretMissing",
            "UsageError",
        ),
    },
)
