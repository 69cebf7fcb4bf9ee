"""`runbus.cli.entrypoint` and `main`: any typed function as a command."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from runbus.cli._arguments import parse_arguments, split_launch
from runbus.cli._exit import ExitStatus
from runbus.errors import ConfigInvalid, RunbusError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn, TextIO

    from runbus.config import Space
    from runbus.errors import ConfigProblem

__all__ = ["entrypoint", "main", "run_as_job", "run_entrypoint"]

F = TypeVar("F", bound="Callable[..., Any]")

_SETTINGS = "__runbus_entrypoint__"


class _Settings(NamedTuple):
    name: str | None = None
    help: str | None = None
    prefix: str = "RUNBUS"
    confirm: bool = False
    default: Any = None
    executor: Any = None
    plugins: Sequence[Any] = ()


@overload
def entrypoint(function: F, /) -> F: ...
@overload
def entrypoint(
    *,
    name: str | None = None,
    help: str | None = None,
    prefix: str = "RUNBUS",
    confirm: bool = False,
    default: Any = None,
    executor: Any = None,
    plugins: Sequence[Any] = (),
) -> Callable[[F], F]: ...
def entrypoint(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    help: str | None = None,
    prefix: str = "RUNBUS",
    confirm: bool = False,
    default: Any = None,
    executor: Any = None,
    plugins: Sequence[Any] = (),
) -> Any:
    """Say how a function looks as a command; it stays the function that it is.

    Args:
        function: The function, where this is a decorator without arguments.
        name: What the command is called in its help; as the program if None.
        help: What it does; the first paragraph of the function's docstring if None.
        prefix: What variables of the environment begin with that set values, as in
            `RUNBUS__MODEL__WIDTH`.
        confirm: Whether to ask before it runs, on a terminal and without `--yes`.
        default: What its configuration begins with: a `Config` or `Partial` of the function, or a
            function that makes one; the function's own defaults if None.
        executor: Where it runs as a job if no word says otherwise: a name, or a `Config` of an
            executor. If None it runs here.
        plugins: What hooks into the bus of its job: plugins, configurations of them, and names.
    """

    def settle(function: Any) -> Any:
        setattr(
            function, _SETTINGS, _Settings(name, help, prefix, confirm, default, executor, plugins)
        )
        return function

    return settle if function is None else settle(function)


def main(
    function: Callable[..., Any],
    words: Sequence[str] | None = None,
    *,
    default: Any = None,
    executor: Any = None,
    plugins: Sequence[Any] | None = None,
    confirm: bool | None = None,
) -> NoReturn:
    """Run a function as a command, with the words of the command line as its arguments, and exit.

    Exits with 0 once it has returned, 2 if the words are wrong (nothing has run then), 130 after
    Ctrl-C. What the function raises continues.

    Args:
        function: Any typed function; `entrypoint` may have said how it looks.
        words: The words; those of the process if None.
        default: As `entrypoint` takes it; what that said if None, and so for the others.
        executor: As `entrypoint` takes it.
        plugins: As `entrypoint` takes it.
        confirm: As `entrypoint` takes it.
    """
    told = {"default": default, "executor": executor, "plugins": plugins, "confirm": confirm}
    settings = getattr(function, _SETTINGS, None) or _Settings()
    changes = {name: value for name, value in told.items() if value is not None}
    setattr(function, _SETTINGS, settings._replace(**changes))
    from runbus.config import name_script

    if getattr(function, "__module__", "") == "__main__":
        name_script()
    sys.exit(run_entrypoint(function, sys.argv[1:] if words is None else words))


def run_entrypoint(function: Callable[..., Any], words: Sequence[str], program: str = "") -> int:
    """Run a function as a command and return its exit status; prints errors to standard error.

    Args:
        function: The function.
        words: Its words.
        program: What the command is called; as `entrypoint` said, or as the program, if empty.
    """
    settings = getattr(function, _SETTINGS, None) or _Settings()
    program = program or settings.name or os.path.basename(sys.argv[0])
    if "_RUNBUS_ENTRY_COMPLETE" in os.environ:
        from runbus.cli._entry_completion import answer_entry_shell

        answer_entry_shell(function, program)
        return ExitStatus.OK
    try:
        runs = _prepared(function, words, settings, program)
    except ConfigInvalid as error:
        _print_problems(error, program)
        return ExitStatus.USAGE
    except RunbusError as error:
        text, _, meant = str(error).partition("; did you mean ")
        hint = f"did you mean {meant}" if meant else f"{program} --help shows what it takes"
        _print_error(text, error.hint or hint)
        return ExitStatus.USAGE
    except OSError as error:
        _print_error(f"{error.filename}: {(error.strerror or str(error)).lower()}", None)
        return ExitStatus.FAILED
    try:
        ended = [run() for run in runs]
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except RunbusError as error:
        _print_error(str(error), error.hint)
        return ExitStatus.USAGE if isinstance(error, UsageError) else ExitStatus.FAILED
    return next((one for one in ended if isinstance(one, ExitStatus)), ExitStatus.OK)


class _Asked(NamedTuple):
    """What `runbus run` says beside the words of a function; as a job it runs in any case."""

    launch: tuple[str, ...] = ()
    space: Space | None = None
    each: Mapping[str, Any] | None = None
    again: bool = False
    goal: str | None = None
    max_parallel: int | None = None
    json_out: TextIO | None = None


def run_as_job(
    text: str,
    words: Sequence[str],
    *,
    executor: str | None = None,
    plugins: Sequence[str] = (),
    launch: Sequence[str] = (),
    space: Space | None = None,
    each: Mapping[str, Any] | None = None,
    again: bool = False,
    goal: str | None = None,
    max_parallel: int | None = None,
    json_out: TextIO | None = None,
) -> ExitStatus:
    """Run a function as a job, with words as its own command line takes them.

    Args:
        text: The function, as `file.py:name` or `package.module:name`.
        words: The words.
        executor: Where it runs if no word says otherwise.
        plugins: The names of plugins to load, beside those of the function.
        launch: Words of the form `run.name=…`, which go before all others.
        space: What is swept; nothing if None.
        each: Further fields of each `Job`: when it is to end early, what its run keeps.
        again: Whether points that have run already run again.
        goal: Of what the best is printed at the end; of nothing if None.
        max_parallel: How many jobs run at a time.
        json_out: Where the result goes as JSON; printed for a person if None.

    Raises:
        UsageError: A word means nothing here, or the function cannot be imported.
    """
    from runbus.config import function_named, target_of

    function = target_of(function_named(text)[0])
    settings = getattr(function, _SETTINGS, None) or _Settings()
    settings = settings._replace(
        executor=executor or settings.executor, plugins=[*settings.plugins, *plugins]
    )
    where = text.rpartition(":")[0]
    file = os.path.basename(where) if where.endswith(".py") else where.rpartition(".")[2]
    asked = _Asked(tuple(launch), space, each, again, goal, max_parallel, json_out)
    try:
        runs = _prepared(function, words, settings, settings.name or file, asked)
    except ConfigInvalid as error:
        _print_problems(error, "")
        return ExitStatus.USAGE
    ended = [run() for run in runs]
    return next((one for one in ended if isinstance(one, ExitStatus)), ExitStatus.OK)


def _prepared(
    function: Any,
    words: Sequence[str],
    settings: _Settings,
    program: str,
    asked_for: _Asked | None = None,
) -> Sequence[Callable[[], Any]]:
    """Return what is to be run: nothing if the words only ask for something to be shown."""
    from runbus.config import call_to_end, check_callable_to_end, fields_of

    check_callable_to_end(function)
    names = [*fields_of(function)]
    arguments, launch = split_launch(parse_arguments(words, names), names)
    job = asked_for or _Asked()
    launch = (*split_launch(parse_arguments(job.launch, ()), ())[1], *launch)
    out = job.json_out or sys.stdout
    if "--help" in arguments.flags:
        from runbus.cli._entry_help import entry_help

        out.write(entry_help(function, program, settings.help))
        return []
    if shell := dict(arguments.options).get("--completion"):
        from runbus.cli._entry_completion import completion_script

        out.write(completion_script(shell, function, os.path.basename(sys.argv[0])))
        return []
    from runbus.cli._configuring import Configured, configure

    found = configure(
        function,
        arguments,
        os.environ,
        settings.prefix,
        default=settings.default,
        space=job.space,
    )
    written = [one for one in arguments.options if one[0].startswith("--to-")]
    for option, destination in written:
        _write(found, option, destination)
    if written:
        return []
    calls = [partial(call_to_end, one.config.complete().build()) for one in found]
    flags = arguments.flags
    if asked_for or launch or "--detach" in flags or settings.executor is not None:
        from runbus.cli._entry_launch import launch_asked, launch_on

        project = os.path.splitext(program)[0]
        asked = launch_asked(launch, flags, executor=settings.executor, plugins=settings.plugins)
        found_too = [*found, Configured("run", asked.config)]
        flags = flags | {"--dryrun"} if asked.is_dry else flags
        run = partial(
            launch_on,
            asked,
            found,
            project,
            space=job.space,
            each=job.each,
            again=job.again,
            goal=job.goal,
            max_parallel=job.max_parallel,
            json_out=job.json_out,
        )
        return _chosen([run], found_too, flags, settings, out)
    return _chosen(calls, found, flags, settings, out)


def _chosen(
    calls: Sequence[Callable[[], Any]],
    found: Sequence[Any],
    flags: frozenset[str],
    settings: _Settings,
    out: TextIO,
) -> Sequence[Callable[[], Any]]:
    """Return what is to be run in the end: what there is, unless it should only be shown."""
    if flags & {"--dryrun", "--verbose"} or settings.confirm:
        for one in found:
            out.write((f"{one.title}\n" if one.title else "") + one.config.visualize())
    if "--dryrun" in flags:
        return []
    if "--repl" in flags:
        return [lambda: _prompt(found[0].config)]
    if settings.confirm and "--yes" not in flags and not _confirmed():
        return []
    return calls


def _write(found: Sequence[Any], option: str, destination: str) -> None:
    from runbus.config import save

    if len(found) > 1:
        raise UsageError(f"{option} writes one configuration, and --sweep makes {len(found)}")
    save(found[0].config, destination, form=option.removeprefix("--to-"))
    sys.stderr.write(f"{destination} is written\n")


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        return True
    sys.stderr.write("run it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _prompt(config: Any) -> None:
    names = {"config": config}
    try:
        from IPython import start_ipython
    except ImportError:
        import code

        code.interact("`config` is the configuration; config.build()() runs it", local=names)
    else:
        start_ipython(argv=[], user_ns=names)


def _print_problems(error: ConfigInvalid, program: str) -> None:
    is_hinted = False
    for problem in error.problems:
        told = problem._replace(path="") if "=" in problem.origin else problem
        text = str(told._replace(near=(), origin=_short(told.origin)))
        _print_error(text, hint := _hint_to(told))
        is_hinted |= hint is not None
    if not is_hinted and program:
        sys.stderr.write(f"hint: {program} --help shows what it takes\n")


def _hint_to(problem: ConfigProblem) -> str | None:
    from runbus.config import split_items

    if problem.near:
        return f"did you mean {' or '.join(map(repr, problem.near))}"
    name, equals, value = problem.origin.partition("=")
    if equals and len(items := split_items(value)) > 1:
        return f"with --sweep it runs {len(items)} times, with a {name} each"
    return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _print_error(text: str, hint: str | None) -> None:
    printable = "".join(one if one.isprintable() or one == "\n" else "?" for one in text)
    sys.stderr.write(f"error: {printable}\n" + (f"hint: {hint}\n" if hint else ""))
