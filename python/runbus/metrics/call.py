"""Calls the function of a task, and keeps what it returns or raises.

The program of such a job, `python -m runbus.metrics.call TARGET [FOLDER]`: the configuration of the
function lies in its attempt's folder.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from runbus._files import read_file
from runbus._home import ENV_ATTEMPT, ENV_RUN, GIVEN
from runbus.config import Function, call_to_end, import_from
from runbus.errors import RunbusError
from runbus.metrics._result import NAME, not_kept_text, result_text, told_text
from runbus.metrics._system import asked_by, sample, stop_sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["main"]

_ADVICE = "give the executor a packager, or install the module on that machine"

_NOT_OWN = (
    os.path.dirname(os.path.dirname(__file__)) + os.sep,  # ours
    os.path.join(os.path.dirname(os.__file__), "asyncio") + os.sep,  # what runs a coroutine
)
"""The folders of the code between the start of the process and the function."""


def main(words: list[str]) -> None:
    """Call the function that the attempt's folder describes, and record its result or its error."""
    folder = words[1] if len(words) > 1 else ""
    attempt = os.environ.get(ENV_ATTEMPT)
    if attempt is None:
        sys.exit(f"error: {ENV_ATTEMPT} is not set: only a job runs this")
    data = json.loads(read_file(os.path.join(attempt, GIVEN)))
    target = data.pop("_target_")
    del data["_partial_"]
    with ExitStack() as stack:
        try:
            wrap = _wrapper(stack, folder, data.pop("_plugins_", None))
            function = wrap(Function(target, data, folder).configured().build())
        except RunbusError as error:
            _keep_error(error)
            is_far = bool(folder) and not os.path.isdir(folder)
            hint = f"there is no {folder} here: {_ADVICE}" if is_far else error.hint
            sys.exit(f"error: {error}" + (f"\nhint: {hint}" if hint else ""))
        stack.enter_context(_sampled())
        _call(function)


@contextmanager
def _sampled() -> Iterator[None]:
    """Have the machine sampled while the function lasts, whether that logs or not."""
    folder = os.environ.get(ENV_RUN)
    try:
        sampler = sample(folder, asked_by(None), 100) if folder else None
    except ValueError as error:
        sys.exit(f"error: {error}")
    try:
        yield
    finally:
        if folder and sampler is not None:
            with suppress(OSError):  # the result is worth more than the last samples
                stop_sampling(folder, sampler)


def _wrapper(stack: ExitStack, folder: str, plugins: Any) -> Callable[[Any], Any]:
    """Return what wraps the function: the plugins of the job, which the stack leaves.

    Their process-wide hooks are entered now, since the function's arguments may need them.

    Raises:
        RunbusError: A plugin cannot be made here, or a hook of it failed.
    """
    if not plugins:
        return lambda function: function
    from runbus.plugins import worker_process  # costs what most jobs need not pay

    import_from(folder)
    hooks = stack.enter_context(worker_process(plugins))
    hooks.enter()
    return hooks.wrapped


def _call(function: Callable[[], Any]) -> None:
    try:
        result = call_to_end(function)
    except SystemExit as error:
        if error.code not in (None, 0):
            _show_own_frames(error)
            _keep_error(error)
        raise
    except KeyboardInterrupt as error:
        _show_own_frames(error)
        _keep_error(error)
        raise  # so that the interpreter ends by the signal, as it does of any program
    except BaseException as error:
        _show_own_frames(error)
        _keep_error(error)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    if result is not None:
        _keep_result(result)


def _show_own_frames(error: BaseException) -> None:
    """Have an error's traceback begin with the function's own frames, wherever it is printed."""
    here = error.__traceback__
    while here is not None and here.tb_frame.f_code.co_filename.startswith(_NOT_OWN):
        here = here.tb_next
    error.__traceback__ = here
    show = sys.excepthook

    def show_own(kind: type[BaseException], found: BaseException, trace: Any) -> None:
        if found is error:  # what has raised it again added its frames
            trace = found.__traceback__ = here
        show(kind, found, trace)

    sys.excepthook = show_own


def _keep_error(error: BaseException) -> None:
    """Record an error, by which the run ends."""
    shown = error.__traceback__
    told = {
        "type": type(error).__qualname__,
        "text": _text_of(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    with suppress(RunbusError, OSError), suppress(type(error)):
        _keep("error", told_text(told), error)
    error.__traceback__ = shown


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # of the class, which is not ours
        return f"its __str__ raises {type(broken).__qualname__}"


def _keep_result(result: Any) -> None:
    try:
        text = result_text(result)
    except TypeError as error:
        sys.stderr.write(f"the result is not kept: {error}\n")
        text = not_kept_text(str(error))
    _keep(NAME, text)


def _keep(name: str, text: str, error: BaseException | None = None) -> None:
    """Log what was told of this attempt to its run; an error ends the run, and is raised again."""
    from runbus.metrics import init  # costs what a run costs, which the function may not need

    with init(system=False) as run:
        run.log_text(name, text)
        if error is not None:
            raise error


if __name__ == "__main__":
    main(sys.argv[1:])
