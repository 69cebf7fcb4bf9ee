"""Tasks and values, as people write them."""

from runbus.config._batch import Batch as Batch
from runbus.config._batch import BatchJob as BatchJob
from runbus.config._batch import SecretField as SecretField
from runbus.config._batch import batch_schema as batch_schema
from runbus.config._batch import load_batch as load_batch
from runbus.config._executors import ExecutorFields as ExecutorFields
from runbus.config._executors import GitFields as GitFields
from runbus.config._executors import LocalFields as LocalFields
from runbus.config._executors import PackagerFields as PackagerFields
from runbus.config._executors import PatternFields as PatternFields
from runbus.config._executors import SSHFields as SSHFields
from runbus.config._executors import parse_host as parse_host
from runbus.config._sweep import Value as Value
from runbus.config._sweep import expand_sweeps as expand_sweeps
from runbus.config._sweep import parse_sweep as parse_sweep
from runbus.config._sweep import parse_value as parse_value
from runbus.config._task import Command as Command
from runbus.config._task import Script as Script
from runbus.config._task import Task as Task
from runbus.config._task import check_task as check_task
from runbus.config._task import words_of as words_of
from runbus.config._task_kinds import TASK_GROUP as TASK_GROUP
from runbus.config._task_kinds import decode_task as decode_task
from runbus.config._task_kinds import task_kinds as task_kinds

__all__ = [
    "TASK_GROUP",
    "Batch",
    "BatchJob",
    "Command",
    "ExecutorFields",
    "GitFields",
    "LocalFields",
    "PackagerFields",
    "PatternFields",
    "SSHFields",
    "Script",
    "SecretField",
    "Task",
    "Value",
    "batch_schema",
    "check_task",
    "decode_task",
    "expand_sweeps",
    "load_batch",
    "parse_host",
    "parse_sweep",
    "parse_value",
    "task_kinds",
    "words_of",
]
