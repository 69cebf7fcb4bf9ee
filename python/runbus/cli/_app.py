"""The command `runbus`: finds a subcommand, and turns every error into words and a status."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from runbus.cli._exit import ExitStatus
from runbus.cli._printer import escaping, print_error, refusal
from runbus.errors import RunbusError, UsageError, near_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runbus.cli._diverted import OwnProcess

__all__ = ["COMMANDS", "app", "run_command"]

COMMANDS = {
    "run": "Run a Python script, a function or a program as a job, once or as a sweep.",
    "submit": "Run the jobs of a batch file and follow them to the end.",
    "plan": "Show what a batch file would do: its graph, its code and every request.",
    "attach": "Follow a batch to its end, and lead it if no other process does.",
    "status": "Show where the jobs of a batch stand.",
    "retry": "Run the jobs of a batch that did not succeed once more, as a new batch.",
    "rerun": "Run a job or a batch once more, as a new batch, with the packaged code of then.",
    "cancel": "End a job, a sweep, or all jobs of a batch, and wait until they have ended.",
    "ls": "List runs.",
    "compare": "Compare runs: their params and metrics side by side.",
    "show": "Show a run: what it is, where it stands, what it logged.",
    "logs": "Print what a run's job has written.",
    "metrics": "Print what a run logged.",
    "artifacts": "List the files that a run keeps, or copy them.",
    "plot": "Draw the metric NAME of one run or several in the terminal.",
    "tag": "Give a run tags, also long after it has ended.",
    "note": "Add a note to a run.",
    "rename": "Give a run another name.",
    "rm": "Remove runs that are over, with their files and logs.",
    "gc": "Move old runs to the trash, and remove for good what has been there as long.",
    "query": "Ask all runs a question in SQL.",
    "export": "Write runs and all that they logged as tables: Parquet, CSV or JSON.",
    "seal": "Turn the journals of finished runs into Parquet files.",
    "top": "Show what this machine, its GPUs and the runs that are going on do.",
    "why": "Say why a run stands where it stands, and what happened to it.",
    "replay": "Feed the events of a trace to a fresh kernel and show what goes another way.",
    "executors": "List the executors that have names, and check what is said of them, or show one.",
    "plugins": "List the plugins that can be found and check each, show one, or begin a new one.",
    "config": "Show, compare and convert configurations of files and past runs.",
    "hub": "Check the file of a hub, and ask its services how they are.",
    "doctor": "Check that jobs can run here and that nothing was left behind.",
    "completion": "Print what makes a shell complete commands, runs, projects and metrics.",
    "version": "Print the version.",
}
"""Each subcommand and its summary: `runbus --help` imports none of them."""

_MEANT = {
    "delete": ("rm",), "describe": ("show",), "diff": ("compare",), "info": ("show",),
    "kill": ("cancel",), "launch": ("run",), "ps": ("status",), "remove": ("rm",),
    "resume": ("attach",), "again": ("rerun", "retry"), "sql": ("query",), "stop": ("cancel",),
    "htop": ("top",), "nvtop": ("top",), "gpu": ("top",), "monitor": ("top",),
}  # fmt: skip
"""What other programs call some commands."""

_IN_BATCH = "a batch file says it: {}, for runbus submit"
_ELSEWHERE = {
    **dict.fromkeys(("timeout", "time_limit"), _IN_BATCH.format("timeout: 5m")),
    **dict.fromkeys(("retries", "retry"), _IN_BATCH.format("retries: 1")),
    **dict.fromkeys(("cpus", "cpu"), _IN_BATCH.format("cpus: 0-3")),
    **dict.fromkeys(("gpus", "gpu"), _IN_BATCH.format("gpus: 1")),
    **dict.fromkeys(("detach", "background"), "runbus submit BATCH --detach leaves jobs to run on"),
    "env": _IN_BATCH.format("env: {NAME: value}"),
}
"""What `runbus run` has no option for, and what says it."""

_HIDDEN = ("supervise",)


def _others() -> dict[str, str]:
    """Return the commands that other distributions bring, or a program: names, and who does.

    Looks at what is installed, which takes a while: only where a name is not one of ours.
    """
    from runbus.config import COMMANDS as PARTS

    return {name: PARTS.origin_of(name) for name in PARTS if name not in COMMANDS}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *_others()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS and cmd_name not in _HIDDEN:
            return _command_of_others(cmd_name)
        module = importlib.import_module(f"runbus.cli.commands.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        if others := _others():
            with formatter.section("Commands of others"):
                formatter.write_dl([(name, f"Of {origin}.") for name, origin in others.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = not args or args[0].startswith("-") or args[0] in {*COMMANDS, *_HIDDEN}
        if not known and args[0] not in (others := _others()):
            near = _MEANT.get(args[0]) or near_matches(args[0], [*COMMANDS, *others])
            hint = f"did you mean {near[0]!r}" if near else "runbus --help lists the commands"
            raise _NoSuchCommand(args[0], hint)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _telling_of_closed_pipes():  # help is printed here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _telling_of_closed_pipes():
                return super().invoke(ctx)
        except (click.UsageError, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            name = ctx.invoked_subcommand
            is_ours = name is None or name in COMMANDS or name in _HIDDEN
            if is_ours or isinstance(error, RunbusError):
                raise
            raise _CommandFailed(str(name), error) from error


@contextmanager
def _telling_of_closed_pipes() -> Iterator[None]:
    """Exit with the status that is for it where nobody reads any more: click's own is 1."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(ExitStatus.BROKEN_PIPE) from None


def _command_of_others(name: str) -> click.Command | None:
    from runbus.config import COMMANDS as PARTS

    if name not in PARTS:
        return None
    command = PARTS.find(name)
    if isinstance(command, click.Command):
        return command
    if callable(command) and not isinstance(command, type):
        return _command_of_function(name, command)
    told = f"the command {name!r} of {PARTS.origin_of(name)} is none: "
    raise UsageError(f"{told}{PARTS.import_path(name)} is not a command of click, nor a function")


def _command_of_function(name: str, function: Callable[..., Any]) -> click.Command:
    """Return a typed function as a subcommand: its words and its help are those of its own."""
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}

    @click.command(name, context_settings=settings, add_help_option=False)
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> int:
        from runbus.cli._entrypoint import run_entrypoint

        return run_entrypoint(function, words, f"runbus {name}")

    return command


class _NoSuchCommand(click.UsageError):
    def __init__(self, name: str, hint: str) -> None:
        super().__init__(f"there is no command {name!r}")
        self.hint = hint


class _CommandFailed(click.ClickException):
    """A command that others bring raised what only its author can explain."""

    def __init__(self, name: str, error: Exception) -> None:
        from runbus.config import COMMANDS as PARTS

        origin = PARTS.origin_of(name)
        told = f"raised {type(error).__name__}: {error}".removesuffix(": ")
        if isinstance(error, click.ClickException):  # written for people to read
            told = f"failed: {error.format_message()}"
        super().__init__(f"the command {name!r} of {origin} {told}")
        self.hint = f"that is code of {origin}, not of runbus; runbus --debug {name} … shows where"


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    del param
    if wanted and not ctx.resilient_parsing:
        from runbus.cli.commands import version

        ctx.invoke(version.command, verbose=False)
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def app(debug: bool) -> None:
    """Launch ML runs and keep everything they measure.

    Everything is kept under $RUNBUS_HOME (default ~/.runbus).
    """


def run_command(args: Sequence[str], process: OwnProcess | None = None) -> int:
    """Run a command line and return its exit status; prints errors to standard error.

    Args:
        args: The words.
        process: The process, if it ends with the command; None if it goes on.
    """
    with escaping():
        if "_RUNBUS_COMPLETE" in os.environ:
            from runbus.cli._completion import answer_shell

            answer_shell(app)
            return ExitStatus.OK
        return _run(args, process)


def _run(args: Sequence[str], process: OwnProcess | None) -> int:
    debug = "--debug" in args[:1]
    try:
        status = app.main(args=list(args), prog_name="runbus", standalone_mode=False, obj=process)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        _print_usage_error(error)
        return ExitStatus.USAGE
    except click.Abort as error:
        # A command that was interrupted has said what that means; a question has not.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            sys.stderr.write("\naborted\n")
        return ExitStatus.INTERRUPTED
    except (KeyboardInterrupt, BrokenPipeError) as error:
        if isinstance(error, KeyboardInterrupt):
            return ExitStatus.INTERRUPTED
        # Nobody reads any more: let the interpreter's own flush at exit find nothing to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.BROKEN_PIPE
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exception(error)
            return _status_of(error)
        _print_error(error)
        return _status_of(error)
    return status if isinstance(status, int) else ExitStatus.OK


def _print_error(error: Exception) -> None:
    if isinstance(error, RunbusError):
        print_error(str(error), error.hint)
    elif isinstance(error, OSError):
        print_error(refusal(error), _hint_at(error))
    elif isinstance(error, _CommandFailed):
        print_error(error.message, error.hint)
    else:
        print_error(
            f"{type(error).__name__}: {error}",
            "this is a defect of runbus; runbus --debug … shows where",
        )


def _hint_at(error: OSError) -> str | None:
    """Return what to do about an error that says too little of itself."""
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            return "the current folder has been deleted; cd to one that is there"
    return None


def _status_of(error: Exception) -> ExitStatus:
    """Return what an error means for the caller."""
    if isinstance(error, UsageError):
        return ExitStatus.USAGE
    is_known = isinstance(error, (RunbusError, OSError, _CommandFailed))
    return ExitStatus.FAILED if is_known else ExitStatus.UNEXPECTED


def _print_usage_error(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    elif isinstance(error, click.NoSuchOption):  # its own guess is left out: the hint makes one
        print_error(f"no such option {error.option_name!r}", _usage_hint(error))
    else:
        print_error(_sentence(error.format_message()), _usage_hint(error))


def _sentence(text: str) -> str:
    """Bring the parser's messages into the form of ours: no capital, no full stop."""
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _usage_hint(error: click.UsageError) -> str:
    if isinstance(error, _NoSuchCommand):
        return error.hint
    path = error.ctx.command_path if error.ctx else "runbus"
    if isinstance(error, click.NoSuchOption):
        if path == "runbus ls" and error.option_name in {"--failed", "--state"}:
            return "write --where state=FAILED"
        near = sorted(set(error.possibilities or ()) - {"--help"})
        hints = [f"did you mean {' or '.join(near)}"] if near else []
        if path == "runbus run":
            own = error.option_name.lstrip("-").replace("-", "_")
            if told := _ELSEWHERE.get(own):
                hints.append(told)
            hints.append("arguments of the script go after --")
        if hints:
            return "; ".join(hints)
    if path == "runbus query":
        return "the question is one word: put it in quotes, as in runbus query 'SELECT 1'"
    return f"{path} --help shows what it takes"
