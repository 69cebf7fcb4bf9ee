"""Calls the function of a task, and keeps what it returns or raises.

The program of such a job, `python -m runbus.metrics.call TARGET [FOLDER]`: the configuration of the
function lies in its attempt's folder.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import suppress
from typing import Any

from runbus._files import read_file
from runbus._home import ENV_ATTEMPT, GIVEN
from runbus.config import Function, call_to_end
from runbus.errors import RunbusError

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
    try:
        function = Function(target, data, folder).configured().build()
    except RunbusError as error:
        _keep_error(error)
        is_far = bool(folder) and not os.path.isdir(folder)
        hint = f"there is no {folder} here: {_ADVICE}" if is_far else error.hint
        sys.exit(f"error: {error}" + (f"\nhint: {hint}" if hint else ""))
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
        _keep("error", told, error)
    error.__traceback__ = shown


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # of the class, which is not ours
        return f"its __str__ raises {type(broken).__qualname__}"


def _keep_result(result: Any) -> None:
    try:
        json.dumps(result, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        reason = f"JSON cannot hold it: {error}"
        sys.stderr.write(f"the result is not kept: {reason}\n")
        _keep("result", {"not_kept": reason})
    else:
        _keep("result", {"value": result})


def _plain(value: Any) -> Any:
    """Return a scalar of numpy or torch as a number: JSON knows no others.

    Raises:
        TypeError: It is something else.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__qualname__} is neither text, number, list nor mapping")


def _keep(name: str, told: dict[str, Any], error: BaseException | None = None) -> None:
    """Log what was told of this attempt to its run; an error ends the run, and is raised again."""
    from runbus.metrics import init  # costs what a run costs, which the function may not need

    attempt = os.path.basename(os.environ[ENV_ATTEMPT])
    with init() as run:
        run.log_text(name, json.dumps({**told, "attempt": attempt}, default=_plain))
        if error is not None:
            raise error


if __name__ == "__main__":
    main(sys.argv[1:])
