"""From a plugin that was found to the plugin: its code is run, and whatever it does contained."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import threading
import zlib
from contextlib import contextmanager
from dis import opmap
from importlib.util import module_from_spec, spec_from_loader
from typing import TYPE_CHECKING, Any

from runbus._revealed import cause_of, unrevealed
from runbus.errors import PluginNotLoadable, RunbusError
from runbus.plugins._entry_points import target_parts
from runbus.plugins._folders import read_plugin_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from runbus.plugins._found import FoundPlugin

__all__ = ["broken", "contained", "import_file", "import_found", "module_name", "plugin_file_of"]

_importing = threading.RLock()
"""Held while a file is imported: two threads that want it get one module."""


def broken(found: FoundPlugin, problem: str) -> PluginNotLoadable:
    """Return the error of a plugin that cannot be loaded."""
    return PluginNotLoadable(found.name, found.path or found.target, found.by, problem)


def import_found(found: FoundPlugin) -> Any:
    """Import a plugin, and return the class, function or plugin that it is.

    Raises:
        PluginNotLoadable: It cannot be imported, or nothing of that name is in it.
        KeyboardInterrupt: A person pressed Ctrl-C.
    """
    if found.problem:
        raise broken(found, found.problem)
    if found.value is not None:
        return found.value
    with contained(found):
        if found.path:
            return getattr(import_file(found.path), found.target)
        parts = target_parts(found.target)
        assert parts is not None  # else it has a problem
        module, name = parts
        found_module: Any = importlib.import_module(module)
        return functools.reduce(getattr, filter(None, name.split(".")), found_module)


@contextmanager
def contained(found: FoundPlugin) -> Iterator[None]:
    """Turn whatever a plugin's code raises into an error, and undo its change of the folder.

    Raises:
        PluginNotLoadable: The code raised something, or asked for the interpreter's end.
        KeyboardInterrupt: A person pressed Ctrl-C; what the code itself raises is no such thing.
    """
    folder = _current_folder()
    try:
        yield
    except PluginNotLoadable:
        raise
    except BaseException as error:  # what an import runs may also call sys.exit()
        if isinstance(error, KeyboardInterrupt) and _is_typed(error):
            raise
        raise broken(found, unrevealed(_told(error))) from cause_of(error)
    finally:
        if folder and _current_folder() != folder:
            os.chdir(folder)


def _told(error: BaseException) -> str:
    if isinstance(error, RunbusError):
        return f"{error}; {error.hint}" if error.hint else str(error)
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been deleted
        return ""


def _is_typed(error: BaseException) -> bool:
    """Whether a person has pressed Ctrl-C: then no statement of the plugin has raised the error.

    It comes up between any two instructions of the main thread, or in what handles the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or place.tb_frame.f_code is _code_of(signal.getsignal(signal.SIGINT)):
        return True
    return place.tb_frame.f_code.co_code[place.tb_lasti] != opmap["RAISE_VARARGS"]


def _code_of(handler: Any) -> Any:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return getattr(getattr(handler, "__func__", handler), "__code__", None)


def module_name(path: str) -> str:
    """Return the name by which a file of a plugin is imported: the same in each process."""
    stem = os.path.basename(path).removesuffix(".py")
    return f"runbus_plugin_{stem}_{zlib.crc32(os.fsencode(path)):08x}"


def plugin_file_of(target: type) -> str:
    """Return the file or package of a plugin folder that a class is from; empty if of none."""
    module = sys.modules.get(target.__module__)
    file = getattr(module, "__file__", None) or ""
    for path in (file, os.path.dirname(file)):
        if path and module_name(path) == target.__module__:
            return path
    return ""


def import_file(path: str) -> ModuleType:
    """Return the module of a file or package, imported once for all plugins that are in it."""
    name = module_name(path)
    with _importing:
        if (known := sys.modules.get(name)) is not None:
            return known
        file = read_plugin_file(path)
        folder = os.path.dirname(file.path) if os.path.isdir(path) else None
        spec = spec_from_loader(name, loader=None, origin=file.path, is_package=folder is not None)
        assert spec is not None
        if folder is not None:
            spec.submodule_search_locations = [folder]
        module = module_from_spec(spec)
        module.__file__ = file.path
        before = {*sys.modules}
        sys.modules[name] = module  # data classes and pickle look for it there
        try:
            exec(compile(file.source, file.path, "exec", dont_inherit=True), vars(module))
        except BaseException:
            for one in {*sys.modules} - before:
                if one == name or one.startswith(f"{name}."):
                    del sys.modules[one]
            raise
        return module
