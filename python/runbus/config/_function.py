"""Functions as tasks: what travels is an import path and values, never code or a pickle."""

from __future__ import annotations

import json
import os
import shlex
import sys
import sysconfig
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from msgspec.structs import replace

from runbus._files import absolute_path
from runbus.config._calls import check_callable_to_end
from runbus.config._config import Partial, target_of
from runbus.config._data import finite, from_data, to_data
from runbus.config._node import Node, Word
from runbus.config._overrides import Override, apply_overrides
from runbus.config._paths import parse_path
from runbus.config._targets import import_target
from runbus.errors import ConfigInvalid, TargetUnusable, TaskInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "Function",
    "call_text",
    "function_named",
    "function_task",
    "import_folder_of",
    "import_from",
    "task_given",
]

_MOST_BYTES = 4 << 20
"""How long the values may be: each attempt writes them, and the experiment's record holds them."""

PLUGINS = "_plugins_"
"""The key of the plugins beside a function and its values."""

_RUNNER = "runbus.metrics.call"


class Function(msgspec.Struct, frozen=True):
    """A function and its arguments, as data: what a `Partial` is as a task.

    The job imports the function and calls it, with the values that it finds in a file of its
    attempt's folder. What it returns is kept in the run's record as the text `result`, if JSON can
    hold it; what it raises as the text `error`.

    Attributes:
        target: The import path of the function.
        values: Its arguments by name, as configuration files have them.
        folder: A folder that modules are imported from, before all others; none if empty.
        python: The interpreter; the one that runs this, if empty.
        plugins: What wraps it in its process: plugins as data, or by name.
    """

    tag: ClassVar[str] = "function"

    target: str
    values: dict[str, Any] = {}
    folder: str = ""
    python: str = ""
    plugins: tuple[Any, ...] = ()

    @property
    def title(self) -> str:
        """What a job of it is called if nothing says otherwise."""
        return self.target.rpartition(".")[2].rpartition(":")[2]

    @property
    def given(self) -> str:
        """The function and its values as a configuration in JSON: what the job reads.

        Raises:
            TaskInvalid: The values are too long, or JSON cannot hold them.
        """
        try:
            data = self._data | ({PLUGINS: [*self.plugins]} if self.plugins else {})
            text = json.dumps(finite(data), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskInvalid(self.target, f"its values are no data: {error}") from error
        if len(text) > _MOST_BYTES:
            reason = f"its values take more than {_MOST_BYTES:,} bytes: put them into a file"
            raise TaskInvalid(self.target, reason)
        return text

    @property
    def _data(self) -> dict[str, Any]:
        return {"_target_": self.target, "_partial_": True, **self.values}

    def command_line(self) -> tuple[str, ...]:
        """Return the interpreter, what calls the function, its name, and where it is imported from.

        The values are not among them: see `given`.
        """
        where = (self.folder,) if self.folder else ()
        return (self.python or sys.executable, "-m", _RUNNER, self.target, *where)

    def with_values(self, values: dict[str, str]) -> Function:
        """Return the same with values of a sweep, each at its path and read as the type there.

        Raises:
            ConfigInvalid: A value does not fit.
            TargetUnusable: The function cannot be imported.
        """
        if not values:
            return self
        config = self.configured()
        apply_overrides(
            config,
            [
                Override(parse_path(name), "=", Word(text), f"{name}={text}")
                for name, text in values.items()
            ],
        )
        return replace(function_task(config, self.folder, self.python), plugins=self.plugins)

    def relative_to(self, folder: str) -> Function:
        """Return the same with its folder, if it has one, starting from another."""
        if not self.folder:
            return self
        return replace(self, folder=os.path.normpath(os.path.join(folder, self.folder)))

    def configured(self) -> Any:
        """Return it as a `Partial`; imports the function.

        Raises:
            ConfigInvalid: A value does not fit, or the function cannot be imported.
        """
        import_from(self.folder)
        found, mistakes = from_data(self._data)
        if mistakes:
            raise ConfigInvalid(self.target, tuple(one.told() for one in mistakes))
        return found


def task_given(given: str) -> dict[str, Any]:
    """Return the configuration of a function from what its job was given; empty if it is none."""
    try:
        data = json.loads(given)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(data, dict) or not isinstance(data.get("_target_"), str):
        return {}
    data.pop(PLUGINS, None)
    return data


def call_text(argv: Sequence[str], values: Mapping[str, Any]) -> str | None:
    """Return the call of a function as people write it; None if a command line is another.

    Args:
        argv: The command line of the function's job.
        values: Its arguments, as data.
    """
    if tuple(argv[1:3]) != ("-m", _RUNNER) or len(argv) < 4:
        return None
    module, _, name = argv[3].replace(":", ".").rpartition(".")
    is_file = len(argv) > 4 and "." not in module
    words = [f"{module}.py:{name}" if is_file else f"{module}:{name}"]
    for key, value in values.items():
        words += _call_words(value, key)
    return shlex.join(words)


def _call_words(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            if key != "_target_":
                yield from _call_words(one, f"{path}.{key}")
    else:
        yield f"{path}={value if isinstance(value, str) else json.dumps(value)}"


def import_from(folder: str) -> None:
    """Have modules looked for in a folder before all others; nothing happens if it is empty."""
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)


def function_task(config: Node, folder: str = "", python: str = "") -> Function:
    """Return a `Partial` as a task.

    Args:
        config: The `Partial`.
        folder: The folder that its module is imported from; found by the module's file if empty,
            and none for what is installed.
        python: The interpreter; the one that runs this, if empty.

    Raises:
        TaskInvalid: It is a Config, or a generator, of which a call runs nothing; or its function,
            or something in its values, is of `__main__` or of a notebook: no other process could
            import it.
        TargetUnusable: Its function has no import path.
        ConfigInvalid: A value is missing or does not fit, or cannot be written as data.
    """
    if not isinstance(config, Partial):
        raise TaskInvalid(repr(config), "it is no function to call: give a Partial")
    config.complete()
    target = target_of(config)
    check_callable_to_end(target)
    data = to_data(config)
    del data["_partial_"]
    path = data.pop("_target_")
    if path.startswith("__main__."):
        raise _unimportable(path, target.__qualname__)
    for one in _imported(data):
        if one.startswith("__main__."):
            raise _unimportable(one, "FUNCTION")
    return Function(path, data, folder or import_folder_of(target), python)


_NAMES = ("_target_", "_import_", "_type_")


def _imported(data: Any) -> Iterator[str]:
    """Yield the import paths that the data of a configuration names."""
    if isinstance(data, list):
        for one in data:
            yield from _imported(one)
    elif isinstance(data, dict):
        for key, one in data.items():
            if key in _NAMES and isinstance(one, str):
                yield one
            else:
                yield from _imported(one)


def _unimportable(path: str, function: str) -> TaskInvalid:
    file = getattr(sys.modules["__main__"], "__file__", None)
    advice = "write it to a file such as tasks.py, and import it from there"
    if file:
        advice = f"put it into a module, or use runbus run {os.path.basename(file)}:{function}"
    name = path.removeprefix("__main__.")
    return TaskInvalid(f"{name} of __main__", "no other process can import it", advice)


def import_folder_of(target: Any) -> str:
    """Return the folder that the module of a target was imported from; empty if it is installed."""
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or not file:
        return ""
    folder = os.path.dirname(absolute_path(file))
    levels = module.__name__.count(".") + hasattr(module, "__path__")
    for _ in range(levels):
        folder = os.path.dirname(folder)
    installed = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    return "" if os.path.realpath(folder) in installed else folder


def function_named(text: str) -> Any:
    """Return the function that `file.py:name` or `package.module:name` names, as a `Partial`.

    Args:
        text: The name; a file is imported as a module, from its own folder.

    Returns:
        The `Partial`, and the folder that its module is imported from; empty for a package.

    Raises:
        TargetUnusable: There is no such function, or its module cannot be imported.
    """
    where, _, name = text.rpartition(":")
    folder = ""
    if where.endswith(".py"):
        folder = os.path.dirname(absolute_path(where))
        if not os.path.isfile(where):
            raise TargetUnusable(text, f"there is no file {where!r}")
        where = os.path.basename(where)[: -len(".py")]
        import_from(folder)
    elif os.path.isfile(f"{where}.py"):
        try:
            return Partial(import_target(f"{where}.{name}")), folder
        except TargetUnusable as error:
            file = f"{where}.py:{name}"
            advice = f"the function of a file is named with it: {file}"
            raise TargetUnusable(text, error.reason, advice) from None
    return Partial(import_target(f"{where}.{name}")), folder
