"""Whether a function that a file names is there, and takes the values that it is given."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runbus._files import absolute_path
from runbus.config._build import mistakes_of
from runbus.config._calls import check_callable_to_end
from runbus.config._config import target_of
from runbus.config._data import from_data
from runbus.config._node import Mistake, Node
from runbus.config._targets import import_target
from runbus.errors import TargetUnusable, TaskInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from runbus.config._function import Function
    from runbus.config._node import Mistakes, Path

__all__ = ["function_mistakes"]

logger = logging.getLogger("runbus.config")


def function_mistakes(task: Function, at: Path) -> Mistakes:
    """Return what is wrong with a function as a task; imports it.

    A module that cannot be imported on this machine may be there on the one that runs the job: a
    warning is logged that nothing of the task could be checked.

    Args:
        task: The task.
        at: Where it is in its file.
    """
    where, colon, name = task.target.rpartition(":")
    if colon and where.endswith(".py"):
        folder, file = os.path.split(where)
        advice = f"{file[:-3]}.{name} with the folder {folder or '.'!r}"
        return [Mistake(f"{task.target!r} is a file: write {advice}", (*at, "target"))]
    if task.folder and not os.path.isdir(task.folder):
        return [Mistake(f"{task.folder!r} is not a folder", (*at, "folder"))]
    with _imports_from(task.folder, task.target.replace(":", ".").partition(".")[0]):
        return _mistakes(task, at)


def _mistakes(task: Function, at: Path) -> Mistakes:
    try:
        target = import_target(task.target)
        check_callable_to_end(target)
    except TargetUnusable as error:
        if _is_elsewhere(task.target, error):
            told = "nothing of the task is checked before it runs"
            logger.warning("%s cannot be imported here (%s): %s", task.target, error.reason, told)
            return []
        return [Mistake(f"{error}; {error.hint}" if error.hint else str(error), (*at, "target"))]
    except TaskInvalid as error:
        return [Mistake(f"{error.reason}: {error.hint}", (*at, "target"))]
    found, wrong = from_data({**task.values, "_target_": task.target, "_partial_": True})
    if not wrong and isinstance(found, Node) and target_of(found) is target:
        wrong = mistakes_of(found, is_called=True)
    for one in wrong:
        one.path = (*at, "values", *one.path)
    return wrong


def _is_elsewhere(target: str, error: TargetUnusable) -> bool:
    """Whether a target is refused since its module, or one that this needs, is not installed."""
    module = target.replace(":", ".").rpartition(".")[0].partition(".")[0]
    if not module.isidentifier():
        return False
    if isinstance(error.__cause__, ImportError):
        return True
    with suppress(ValueError):  # of a module that says that it has no spec
        return module not in sys.modules and importlib.util.find_spec(module) is None
    return False


@contextmanager
def _imports_from(folder: str, package: str) -> Iterator[None]:
    """Have modules found in a folder before all others, and forget afterwards which these were.

    Jobs of one batch may take modules of the same name from different folders.
    """
    if not folder:
        yield
        return
    folder = absolute_path(folder)
    path, known = [*sys.path], {**sys.modules}
    for name, module in known.items():
        if name.partition(".")[0] == package and not _is_of(module, folder):
            del sys.modules[name]
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in [*sys.modules.items()]:
            if name not in known and _is_of(module, folder):
                del sys.modules[name]
        sys.modules.update(known)


def _is_of(module: ModuleType, folder: str) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and absolute_path(file).startswith(os.path.join(folder, ""))
