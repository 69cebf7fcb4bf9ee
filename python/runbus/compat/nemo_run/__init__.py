"""NeMo Run's names: `import runbus.compat.nemo_run as run`.

`Config` and `Partial` are ours: `broadcast` and `walk` return new configurations instead of
changing the one at hand, `diff` returns data, and `clone` is called `copy`. `Plugin` changes tasks;
`plugins.Plugin` registers executors, packagers, integrations and commands.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from runbus import DockerExecutor, GitArchivePackager, LocalTunnel, SSHTunnel
from runbus import HybridPackager as _HybridPackager
from runbus import PatternPackager as _PatternPackager
from runbus import cli as _cli
from runbus.compat._autoconvert import as_partial, with_kept_calls
from runbus.compat.nemo_run._experiment import Experiment, run
from runbus.compat.nemo_run.executors import Executor, LocalExecutor, SlurmExecutor
from runbus.config import Config, Partial, as_config
from runbus.config import Script as _Script
from runbus.errors import UsageError
from runbus.packaging import FunctionPackager as Packager
from runbus.plugins import TaskPlugin as Plugin
from runbus.plugins import configure_plugins, register_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

__all__ = [
    "Config",
    "DockerExecutor",
    "Executor",
    "Experiment",
    "ExperimentPlugin",
    "GitArchivePackager",
    "HybridPackager",
    "LocalExecutor",
    "LocalTunnel",
    "Packager",
    "Partial",
    "PatternPackager",
    "Plugin",
    "SSHTunnel",
    "Script",
    "SlurmExecutor",
    "autoconvert",
    "cli",
    "configure_plugins",
    "register_plugin",
    "run",
]

ExperimentPlugin = Plugin

__version__ = "1.0.0"
"""The version of NeMo Run's plugin page that these names follow: what plugins compare with."""

_NOT_YET = (
    "DGXCloudExecutor", "KubeRayExecutor", "LeptonExecutor", "SkypilotExecutor",
    "SkypilotJobsExecutor", "SlurmRayRequest", "Torchrun", "FaultTolerance",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _NOT_YET:
        raise AttributeError(f"runbus has nothing like NeMo Run's {name} yet")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def PatternPackager(
    include_pattern: str | Sequence[str] = (),
    relative_path: str = "",
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
) -> _PatternPackager:
    """Return a packager of the files of patterns; see `runbus.PatternPackager`."""
    return _PatternPackager(include or include_pattern, exclude, relative_path)


def HybridPackager(
    sub_packagers: Mapping[str, Any] | Sequence[Any], extract_at_root: bool = False
) -> _HybridPackager:
    """Return a packager of what others package; see `runbus.HybridPackager`."""
    return _HybridPackager(sub_packagers, extract_at_root=extract_at_root)


def Script(
    path: str = "",
    inline: str = "",
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    entrypoint: str = "bash",
    m: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> _Script:
    """Return a script as a task; see `runbus.Script`.

    Args:
        path: The script.
        inline: The lines themselves, instead of a path.
        args: What it gets.
        env: What is added to its environment.
        entrypoint: The program that runs it.
        m: Whether `path` is the name of a module.
        metadata: Nothing reads it.

    Raises:
        TaskInvalid: These do not go together.
    """
    del metadata
    return _Script(path, tuple(args), "", inline, dict(env or {}), None, entrypoint, m)


def autoconvert(function: Callable[..., Any] | None = None, *, partial: bool = False) -> Any:
    """Make a function that returns an object with fields return the `Config` of it.

    The function runs as it is, so it may have loops and conditions.

    Args:
        function: The function, where this is a decorator without arguments.
        partial: Whether it returns a `Partial` instead: of what it calls in `return train(…)`,
            which is not called then. Of a class it is a `Partial` of the class.

    Raises:
        TargetUnusable: A `Partial` is asked for, and the function's source cannot be read.
        UsageError: What it returned does not say what it was made from.
    """
    if function is None:
        return functools.partial(autoconvert, partial=partial)

    if partial and isinstance(function, type):
        return functools.partial(Partial, function)
    called = with_kept_calls(function) if partial else function

    @functools.wraps(function)
    def convert(*args: Any, **values: Any) -> Any:
        returned = called(*args, **values)
        return as_partial(returned) if partial else as_config(returned)

    return convert


class cli:
    """`entrypoint`, `factory` and `main`, with the names of their arguments there."""

    @staticmethod
    def entrypoint(
        fn: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        namespace: str | None = None,
        help: str | None = None,
        skip_confirmation: bool = False,
        enable_executor: bool = True,
        default_factory: Callable[..., Any] | None = None,
        default_executor: Any = None,
        default_plugins: Any = None,
        type: str = "task",
    ) -> Any:
        """Say how a function looks as a command; see `runbus.cli.entrypoint`.

        Args:
            fn: The function, where this is a decorator without arguments.
            name: What the command is called.
            namespace: Nothing reads it.
            help: What it does.
            skip_confirmation: Whether it runs without asking.
            enable_executor: Nothing reads it: no word about an executor, no job.
            default_factory: What makes the configuration that the words change.
            default_executor: The executor that it runs on if no word names one; here if None.
            default_plugins: A plugin, or a list of them, for its job.
            type: `task`.

        Raises:
            UsageError: The type is another.
        """
        del namespace, enable_executor
        if type != "task":
            raise UsageError(f"an entrypoint of type {type!r} is not supported: a task is")
        settle = _cli.entrypoint(
            name=name,
            help=help,
            confirm=not skip_confirmation,
            default=default_factory,
            executor=default_executor,
            plugins=_listed(default_plugins),
        )
        return settle if fn is None else settle(fn)

    @staticmethod
    def factory(
        fn: Callable[..., Any] | None = None,
        target: Any = None,
        *,
        target_arg: str | None = None,
        is_target_default: bool = False,
        name: str | None = None,
        namespace: str | None = None,
    ) -> Any:
        """Give a function that makes a configuration a name; see `runbus.cli.factory`.

        Raises:
            TargetUnusable: It does not say what it makes.
        """
        del namespace
        register = _cli.factory(
            target=target, target_arg=target_arg, is_target_default=is_target_default, name=name
        )
        return register if fn is None else register(fn)

    @staticmethod
    def main(
        fn: Callable[..., Any],
        default_factory: Callable[..., Any] | None = None,
        default_executor: Any = None,
        default_plugins: Any = None,
        cmd_defaults: Mapping[str, Any] | None = None,
    ) -> NoReturn:
        """Run a function as a command, and exit; see `runbus.cli.main`.

        Args:
            fn: The function.
            default_factory: What makes the configuration that the words change, instead of what
                `entrypoint` said; so are the next two.
            default_executor: The executor that it runs on if no word names one.
            default_plugins: A plugin, or a list of them, for its job.
            cmd_defaults: `skip_confirmation`, whether it runs without asking.
        """
        skips = (cmd_defaults or {}).get("skip_confirmation")
        _cli.main(
            fn,
            default=default_factory,
            executor=default_executor,
            plugins=None if default_plugins is None else _listed(default_plugins),
            confirm=None if skips is None else not skips,
        )


def _listed(plugins: Any) -> Sequence[Any]:
    if plugins is None:
        return ()
    return plugins if isinstance(plugins, (list, tuple)) else [plugins]
