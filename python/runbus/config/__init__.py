"""From data to objects: configurations, tasks and batches, as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._lazy import lazy_names

if TYPE_CHECKING:
    from runbus.config._access import begun_at as begun_at
    from runbus.config._asking import accepts_text as accepts_text
    from runbus.config._asking import is_part_of as is_part_of
    from runbus.config._asking import members_of as members_of
    from runbus.config._asking import return_type as return_type
    from runbus.config._axis import MOST_POINTS as MOST_POINTS
    from runbus.config._batch import Batch as Batch
    from runbus.config._batch import BatchJob as BatchJob
    from runbus.config._batch import ValueField as ValueField
    from runbus.config._batch_file import load_batch as load_batch
    from runbus.config._batch_schema import batch_schema as batch_schema
    from runbus.config._bounds import Check as Check
    from runbus.config._calls import call_to_end as call_to_end
    from runbus.config._calls import check_callable_to_end as check_callable_to_end
    from runbus.config._config import Config as Config
    from runbus.config._config import Partial as Partial
    from runbus.config._config import as_config as as_config
    from runbus.config._config import fields_of as fields_of
    from runbus.config._config import make as make
    from runbus.config._config import target_of as target_of
    from runbus.config._data import from_data as from_data
    from runbus.config._data import literal as literal
    from runbus.config._data import to_data as to_data
    from runbus.config._diff import Change as Change
    from runbus.config._diff import Diff as Diff
    from runbus.config._diff import difference_of_data as difference_of_data
    from runbus.config._docs import summary_of as summary_of
    from runbus.config._draw import Choice as Choice
    from runbus.config._draw import IntUniform as IntUniform
    from runbus.config._draw import LogUniform as LogUniform
    from runbus.config._draw import Uniform as Uniform
    from runbus.config._executor_entry import ExecutorEntry as ExecutorEntry
    from runbus.config._executor_list import ListedExecutor as ListedExecutor
    from runbus.config._executor_list import list_executors as list_executors
    from runbus.config._executor_list import shown_value as shown_value
    from runbus.config._executor_names import ExecutorNames as ExecutorNames
    from runbus.config._executor_names import find_executor as find_executor
    from runbus.config._executors import executor_config as executor_config
    from runbus.config._executors import executor_data as executor_data
    from runbus.config._executors import executor_entry as executor_entry
    from runbus.config._executors import read_entry as read_entry
    from runbus.config._executors import split_times as split_times
    from runbus.config._first_word import script_or_program as script_or_program
    from runbus.config._flat import flat_keys as flat_keys
    from runbus.config._function import Function as Function
    from runbus.config._function import call_text as call_text
    from runbus.config._function import function_named as function_named
    from runbus.config._function import function_task as function_task
    from runbus.config._function import import_folder_of as import_folder_of
    from runbus.config._function import import_from as import_from
    from runbus.config._function import task_given as task_given
    from runbus.config._graph import GraphProblem as GraphProblem
    from runbus.config._graph import graph_problems as graph_problems
    from runbus.config._graph import members_by_group as members_by_group
    from runbus.config._graph import no_such_job as no_such_job
    from runbus.config._graph import stages as stages
    from runbus.config._graph import without_groups as without_groups
    from runbus.config._hosts import host_problems as host_problems
    from runbus.config._hosts import parse_host as parse_host
    from runbus.config._load import config_of as config_of
    from runbus.config._load import dumps as dumps
    from runbus.config._load import load as load
    from runbus.config._load import read_file as read_file
    from runbus.config._load import save as save
    from runbus.config._named import COMMANDS as COMMANDS
    from runbus.config._named import EXECUTORS as EXECUTORS
    from runbus.config._named import INTEGRATIONS as INTEGRATIONS
    from runbus.config._named import PACKAGERS as PACKAGERS
    from runbus.config._named import SERVICES as SERVICES
    from runbus.config._named import NamedParts as NamedParts
    from runbus.config._named import may_be_installed as may_be_installed
    from runbus.config._named import parts_of as parts_of
    from runbus.config._named import register_kind as register_kind
    from runbus.config._node import MISSING as MISSING
    from runbus.config._node import Ref as Ref
    from runbus.config._node import Word as Word
    from runbus.config._output import Argument as Argument
    from runbus.config._output import Output as Output
    from runbus.config._output import argument_text as argument_text
    from runbus.config._output import needed_for as needed_for
    from runbus.config._output import output_data as output_data
    from runbus.config._output import output_of as output_of
    from runbus.config._output import outputs_in as outputs_in
    from runbus.config._output import value_at as value_at
    from runbus.config._output import with_outputs as with_outputs
    from runbus.config._overrides import Override as Override
    from runbus.config._overrides import apply_overrides as apply_overrides
    from runbus.config._overrides import environment_overrides as environment_overrides
    from runbus.config._overrides import is_override as is_override
    from runbus.config._overrides import parse_override as parse_override
    from runbus.config._overrides import type_at as type_at
    from runbus.config._plugin_settings import PluginSettings as PluginSettings
    from runbus.config._plugin_settings import SaidPlugin as SaidPlugin
    from runbus.config._python import CodeWriter as CodeWriter
    from runbus.config._render import render_overrides as render_overrides
    from runbus.config._scalars import guess as guess
    from runbus.config._scalars import meant as meant
    from runbus.config._schema import Field as Field
    from runbus.config._schema import is_structured as is_structured
    from runbus.config._script import Script as Script
    from runbus.config._settings import default_plugins as default_plugins
    from runbus.config._shown import type_name as type_name
    from runbus.config._sources import Loaded as Loaded
    from runbus.config._sources import Origin as Origin
    from runbus.config._sources import leaves as leaves
    from runbus.config._sources import part_of as part_of
    from runbus.config._sources import read_source as read_source
    from runbus.config._sources import set_variables as set_variables
    from runbus.config._sources import split_section as split_section
    from runbus.config._space import Grid as Grid
    from runbus.config._space import Points as Points
    from runbus.config._space import Random as Random
    from runbus.config._space import Space as Space
    from runbus.config._space import Trials as Trials
    from runbus.config._space import Zip as Zip
    from runbus.config._space import value_text as value_text
    from runbus.config._space_data import load_space as load_space
    from runbus.config._space_data import read_space as read_space
    from runbus.config._space_data import space_of_words as space_of_words
    from runbus.config._spans import seconds_of as seconds_of
    from runbus.config._targets import import_target as import_target
    from runbus.config._targets import is_importing as is_importing
    from runbus.config._targets import module_of as module_of
    from runbus.config._targets import name_script as name_script
    from runbus.config._task import Command as Command
    from runbus.config._task import Task as Task
    from runbus.config._task import check_task as check_task
    from runbus.config._task import given_by as given_by
    from runbus.config._task import plain_words_of as plain_words_of
    from runbus.config._task import words_of as words_of
    from runbus.config._task_kinds import TASK_GROUP as TASK_GROUP
    from runbus.config._task_kinds import Recorded as Recorded
    from runbus.config._task_kinds import decode_task as decode_task
    from runbus.config._task_kinds import encode_task as encode_task
    from runbus.config._task_kinds import task_kinds as task_kinds
    from runbus.config._task_kinds import words_taken as words_taken
    from runbus.config._units import Duration as Duration
    from runbus.config._units import LocalFile as LocalFile
    from runbus.config._units import Size as Size
    from runbus.config._units import format_size as format_size
    from runbus.config._units import parse_size as parse_size
    from runbus.config._words import Call as Call
    from runbus.config._words import WordInvalid as WordInvalid
    from runbus.config._words import read_call as read_call
    from runbus.config._words import read_words as read_words
    from runbus.config._words import split_items as split_items
    from runbus.config._write import check_writable as check_writable
    from runbus.config._write import data_text as data_text

__all__ = [
    "COMMANDS",
    "EXECUTORS",
    "INTEGRATIONS",
    "MISSING",
    "MOST_POINTS",
    "PACKAGERS",
    "SERVICES",
    "TASK_GROUP",
    "Argument",
    "Batch",
    "BatchJob",
    "Call",
    "Change",
    "Check",
    "Choice",
    "CodeWriter",
    "Command",
    "Config",
    "Diff",
    "Duration",
    "ExecutorEntry",
    "ExecutorNames",
    "Field",
    "Function",
    "GraphProblem",
    "Grid",
    "IntUniform",
    "ListedExecutor",
    "Loaded",
    "LocalFile",
    "LogUniform",
    "NamedParts",
    "Origin",
    "Output",
    "Override",
    "Partial",
    "PluginSettings",
    "Points",
    "Random",
    "Recorded",
    "Ref",
    "SaidPlugin",
    "Script",
    "Size",
    "Space",
    "Task",
    "Trials",
    "Uniform",
    "ValueField",
    "Word",
    "WordInvalid",
    "Zip",
    "accepts_text",
    "apply_overrides",
    "argument_text",
    "as_config",
    "batch_schema",
    "begun_at",
    "call_text",
    "call_to_end",
    "check_callable_to_end",
    "check_task",
    "check_writable",
    "config_of",
    "data_text",
    "decode_task",
    "default_plugins",
    "difference_of_data",
    "dumps",
    "encode_task",
    "environment_overrides",
    "executor_config",
    "executor_data",
    "executor_entry",
    "fields_of",
    "find_executor",
    "flat_keys",
    "format_size",
    "from_data",
    "function_named",
    "function_task",
    "given_by",
    "graph_problems",
    "guess",
    "host_problems",
    "import_folder_of",
    "import_from",
    "import_target",
    "is_importing",
    "is_override",
    "is_part_of",
    "is_structured",
    "leaves",
    "list_executors",
    "literal",
    "load",
    "load_batch",
    "load_space",
    "make",
    "may_be_installed",
    "meant",
    "members_by_group",
    "members_of",
    "module_of",
    "name_script",
    "needed_for",
    "no_such_job",
    "output_data",
    "output_of",
    "outputs_in",
    "parse_host",
    "parse_override",
    "parse_size",
    "part_of",
    "parts_of",
    "plain_words_of",
    "read_call",
    "read_entry",
    "read_file",
    "read_source",
    "read_space",
    "read_words",
    "register_kind",
    "render_overrides",
    "return_type",
    "save",
    "script_or_program",
    "seconds_of",
    "set_variables",
    "shown_value",
    "space_of_words",
    "split_items",
    "split_section",
    "split_times",
    "stages",
    "summary_of",
    "target_of",
    "task_given",
    "task_kinds",
    "to_data",
    "type_at",
    "type_name",
    "value_at",
    "value_text",
    "with_outputs",
    "without_groups",
    "words_of",
    "words_taken",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "._write": ("check_writable", "data_text"),
        "._sources": (
            "Loaded",
            "Origin",
            "leaves",
            "part_of",
            "read_source",
            "set_variables",
            "split_section",
        ),
        "._access": ("begun_at",),
        "._asking": ("accepts_text", "is_part_of", "members_of", "return_type"),
        "._batch": ("Batch", "BatchJob", "ValueField"),
        "._batch_file": ("load_batch",),
        "._batch_schema": ("batch_schema",),
        "._bounds": ("Check",),
        "._calls": ("call_to_end", "check_callable_to_end"),
        "._config": ("Config", "Partial", "as_config", "fields_of", "make", "target_of"),
        "._data": ("from_data", "literal", "to_data"),
        "._diff": ("Change", "Diff", "difference_of_data"),
        "._docs": ("summary_of",),
        "._executors": (
            "executor_config",
            "executor_data",
            "executor_entry",
            "read_entry",
            "split_times",
        ),
        "._spans": ("seconds_of",),
        "._executor_entry": ("ExecutorEntry",),
        "._executor_list": ("ListedExecutor", "list_executors", "shown_value"),
        "._executor_names": ("ExecutorNames", "find_executor"),
        "._graph": (
            "GraphProblem",
            "graph_problems",
            "members_by_group",
            "no_such_job",
            "stages",
            "without_groups",
        ),
        "._flat": ("flat_keys",),
        "._function": (
            "Function",
            "call_text",
            "function_named",
            "function_task",
            "import_folder_of",
            "import_from",
            "task_given",
        ),
        "._hosts": ("host_problems", "parse_host"),
        "._load": ("config_of", "dumps", "load", "read_file", "save"),
        "._named": (
            "COMMANDS",
            "EXECUTORS",
            "INTEGRATIONS",
            "PACKAGERS",
            "SERVICES",
            "NamedParts",
            "may_be_installed",
            "parts_of",
            "register_kind",
        ),
        "._node": ("MISSING", "Ref", "Word"),
        "._output": (
            "Argument",
            "Output",
            "argument_text",
            "needed_for",
            "output_data",
            "output_of",
            "outputs_in",
            "value_at",
            "with_outputs",
        ),
        "._python": ("CodeWriter",),
        "._overrides": (
            "Override",
            "apply_overrides",
            "environment_overrides",
            "is_override",
            "parse_override",
            "type_at",
        ),
        "._plugin_settings": ("PluginSettings", "SaidPlugin"),
        "._render": ("render_overrides",),
        "._scalars": ("guess", "meant"),
        "._schema": ("Field", "is_structured"),
        "._shown": ("type_name",),
        "._first_word": ("script_or_program",),
        "._script": ("Script",),
        "._settings": ("default_plugins",),
        "._draw": ("Choice", "IntUniform", "LogUniform", "Uniform"),
        "._axis": ("MOST_POINTS",),
        "._space": (
            "Grid",
            "Points",
            "Random",
            "Space",
            "Trials",
            "Zip",
            "value_text",
        ),
        "._space_data": ("load_space", "read_space", "space_of_words"),
        "._targets": ("import_target", "is_importing", "module_of", "name_script"),
        "._task": ("Command", "Task", "check_task", "given_by", "plain_words_of", "words_of"),
        "._task_kinds": (
            "TASK_GROUP",
            "Recorded",
            "decode_task",
            "encode_task",
            "task_kinds",
            "words_taken",
        ),
        "._units": ("Duration", "LocalFile", "Size", "format_size", "parse_size"),
        "._words": ("Call", "WordInvalid", "read_call", "read_words", "split_items"),
    },
)
