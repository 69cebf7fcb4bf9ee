"""Plugins as values, their order, those that are installed, and files that a sink appends to."""

import importlib
from typing import TYPE_CHECKING

from runbus.abc import PluginInfo, PluginState

if TYPE_CHECKING:
    from runbus._lines import LineFile, read_lines
    from runbus.plugins._about import about as about
    from runbus.plugins._admission import admit as admit
    from runbus.plugins._admission import admit_all as admit_all
    from runbus.plugins._blocking import LIMIT_S as LIMIT_S
    from runbus.plugins._blocking import call_blocking as call_blocking
    from runbus.plugins._check import wish_of as wish_of
    from runbus.plugins._collector_face import SampledRun as SampledRun
    from runbus.plugins._config_schema import check_config
    from runbus.plugins._discovery import Findings as Findings
    from runbus.plugins._discovery import find as find
    from runbus.plugins._extension import Extension
    from runbus.plugins._extension import name_from_class as name_from_class
    from runbus.plugins._extension_life import ExtensionLife as ExtensionLife
    from runbus.plugins._extension_settings import configure_plugins
    from runbus.plugins._extension_settings import settings_of as settings_of
    from runbus.plugins._faces import face_of as face_of
    from runbus.plugins._folders import ENV_PATH as ENV_PATH
    from runbus.plugins._found import FoundPlugin as FoundPlugin
    from runbus.plugins._hook_calls import client_hooks
    from runbus.plugins._image_script import image_script
    from runbus.plugins._integration import LoggedExperiment, LoggedResults, RunIntegration
    from runbus.plugins._loading import import_file as import_file
    from runbus.plugins._loading import import_found as import_found
    from runbus.plugins._loading import module_name as module_name
    from runbus.plugins._loading import plugin_file_of as plugin_file_of
    from runbus.plugins._managed import (
        BackendPlugin,
        CollectorPlugin,
        PluginBase,
        ProcessorPlugin,
        metadata_of,
    )
    from runbus.plugins._managed_faces import face_for as face_for
    from runbus.plugins._managed_faces import managed
    from runbus.plugins._managed_life import ManagedLife as ManagedLife
    from runbus.plugins._metadata import MetricType, PluginMetadata, PluginType
    from runbus.plugins._metadata import is_requirement as is_requirement
    from runbus.plugins._ops import Op, phase, render_ops
    from runbus.plugins._order import IN_THE_LIST as IN_THE_LIST
    from runbus.plugins._order import Place as Place
    from runbus.plugins._order import Wish as Wish
    from runbus.plugins._order import check_names as check_names
    from runbus.plugins._order import place_all as place_all
    from runbus.plugins._order import resolve_order as resolve_order
    from runbus.plugins._parts import PluginRegistry
    from runbus.plugins._plugin import Plugin
    from runbus.plugins._point import Metric
    from runbus.plugins._registry import Registry, discover
    from runbus.plugins._requirements import missing_distributions as missing_distributions
    from runbus.plugins._requirements import missing_plugins as missing_plugins
    from runbus.plugins._routing import Routing, RoutingRule
    from runbus.plugins._schema_fields import SchemaField as SchemaField
    from runbus.plugins._selection import Selection, selecting
    from runbus.plugins._service_face import ServiceAdapter
    from runbus.plugins._settings import with_settings as with_settings
    from runbus.plugins._shared_extensions import in_time as in_time
    from runbus.plugins._shared_extensions import register_plugin, unregister_plugin
    from runbus.plugins._source import Argument as Argument
    from runbus.plugins._source import Declared as Declared
    from runbus.plugins._task_plugin import JobOptions, TaskPlugin
    from runbus.plugins._task_plugin import changed_draft as changed_draft
    from runbus.plugins._task_plugin import changed_task as changed_task
    from runbus.plugins._task_plugin import task_plugins_of as task_plugins_of
    from runbus.plugins._task_plugin import told_end as told_end
    from runbus.plugins._travel import (
        is_for_workers,
        made_plugins,
        plugin_data,
        plugin_factory,
        plugin_from,
    )
    from runbus.plugins._worker import WorkerHooks, instance_info, worker_process

__all__ = [
    "BackendPlugin",
    "CollectorPlugin",
    "Extension",
    "JobOptions",
    "LineFile",
    "LoggedExperiment",
    "LoggedResults",
    "Metric",
    "MetricType",
    "Op",
    "Plugin",
    "PluginBase",
    "PluginInfo",
    "PluginMetadata",
    "PluginRegistry",
    "PluginState",
    "PluginType",
    "ProcessorPlugin",
    "Registry",
    "Routing",
    "RoutingRule",
    "RunIntegration",
    "Selection",
    "ServiceAdapter",
    "TaskPlugin",
    "WorkerHooks",
    "check_config",
    "client_hooks",
    "configure_plugins",
    "discover",
    "image_script",
    "instance_info",
    "is_for_workers",
    "made_plugins",
    "managed",
    "metadata_of",
    "phase",
    "plugin_data",
    "plugin_factory",
    "plugin_from",
    "read_lines",
    "register_plugin",
    "render_ops",
    "selecting",
    "unregister_plugin",
    "worker_process",
]

# The kernel admits and orders plugins; what finds installed ones loads importlib.metadata.
_LATER = {
    "admit": "runbus.plugins._admission",
    "admit_all": "runbus.plugins._admission",
    "wish_of": "runbus.plugins._check",
    "IN_THE_LIST": "runbus.plugins._order",
    "Place": "runbus.plugins._order",
    "Wish": "runbus.plugins._order",
    "check_names": "runbus.plugins._order",
    "place_all": "runbus.plugins._order",
    "resolve_order": "runbus.plugins._order",
    "Plugin": "runbus.plugins._plugin",
    "with_settings": "runbus.plugins._settings",
    "LIMIT_S": "runbus.plugins._blocking",
    "face_for": "runbus.plugins._managed_faces",
    "ManagedLife": "runbus.plugins._managed_life",
    "settings_of": "runbus.plugins._extension_settings",
    "SampledRun": "runbus.plugins._collector_face",
    "ENV_PATH": "runbus.plugins._folders",
    "FoundPlugin": "runbus.plugins._found",
    "face_of": "runbus.plugins._faces",
    "import_found": "runbus.plugins._loading",
    "is_requirement": "runbus.plugins._metadata",
    "missing_distributions": "runbus.plugins._requirements",
    "missing_plugins": "runbus.plugins._requirements",
    "Argument": "runbus.plugins._source",
    "BackendPlugin": "runbus.plugins._managed",
    "CollectorPlugin": "runbus.plugins._managed",
    "Declared": "runbus.plugins._source",
    "Extension": "runbus.plugins._extension",
    "ExtensionLife": "runbus.plugins._extension_life",
    "Findings": "runbus.plugins._discovery",
    "JobOptions": "runbus.plugins._task_plugin",
    "LineFile": "runbus._lines",
    "LoggedExperiment": "runbus.plugins._integration",
    "LoggedResults": "runbus.plugins._integration",
    "Metric": "runbus.plugins._point",
    "MetricType": "runbus.plugins._metadata",
    "Op": "runbus.plugins._ops",
    "PluginBase": "runbus.plugins._managed",
    "PluginMetadata": "runbus.plugins._metadata",
    "PluginRegistry": "runbus.plugins._parts",
    "PluginType": "runbus.plugins._metadata",
    "ProcessorPlugin": "runbus.plugins._managed",
    "Registry": "runbus.plugins._registry",
    "Routing": "runbus.plugins._routing",
    "RoutingRule": "runbus.plugins._routing",
    "RunIntegration": "runbus.plugins._integration",
    "SchemaField": "runbus.plugins._schema_fields",
    "Selection": "runbus.plugins._selection",
    "ServiceAdapter": "runbus.plugins._service_face",
    "TaskPlugin": "runbus.plugins._task_plugin",
    "WorkerHooks": "runbus.plugins._worker",
    "about": "runbus.plugins._about",
    "call_blocking": "runbus.plugins._blocking",
    "changed_draft": "runbus.plugins._task_plugin",
    "changed_task": "runbus.plugins._task_plugin",
    "check_config": "runbus.plugins._config_schema",
    "client_hooks": "runbus.plugins._hook_calls",
    "configure_plugins": "runbus.plugins._extension_settings",
    "discover": "runbus.plugins._registry",
    "find": "runbus.plugins._discovery",
    "image_script": "runbus.plugins._image_script",
    "import_file": "runbus.plugins._loading",
    "in_time": "runbus.plugins._shared_extensions",
    "instance_info": "runbus.plugins._worker",
    "is_for_workers": "runbus.plugins._travel",
    "made_plugins": "runbus.plugins._travel",
    "managed": "runbus.plugins._managed_faces",
    "metadata_of": "runbus.plugins._managed",
    "module_name": "runbus.plugins._loading",
    "name_from_class": "runbus.plugins._extension",
    "phase": "runbus.plugins._ops",
    "plugin_data": "runbus.plugins._travel",
    "plugin_factory": "runbus.plugins._travel",
    "plugin_file_of": "runbus.plugins._loading",
    "plugin_from": "runbus.plugins._travel",
    "read_lines": "runbus._lines",
    "register_plugin": "runbus.plugins._shared_extensions",
    "render_ops": "runbus.plugins._ops",
    "selecting": "runbus.plugins._selection",
    "task_plugins_of": "runbus.plugins._task_plugin",
    "told_end": "runbus.plugins._task_plugin",
    "unregister_plugin": "runbus.plugins._shared_extensions",
    "worker_process": "runbus.plugins._worker",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'runbus.plugins' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value
