"""Calls the function of a task, and keeps what it returns: `python -m runbus.metrics.call DATA`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from runbus._home import ENV_RUN
from runbus.config import Function

__all__ = ["main"]


def main(words: list[str]) -> None:
    """Call the function that data describes, and record its result or its error."""
    data = json.loads(words[0])
    target = data.pop("_target_")
    data.pop("_partial_", None)
    task = Function(target, data, words[1] if len(words) > 1 else "")
    function = task.configured().build()
    if not os.environ.get(ENV_RUN):
        function()
        return
    try:
        result = function()
    except BaseException as error:
        if not isinstance(error, SystemExit):
            _keep_error(error)
        raise
    if result is not None:
        _keep_result(result)


def _keep_error(error: BaseException) -> None:
    """Record an error, whose run ends by it."""
    from runbus.metrics import init

    lines = "".join(traceback.format_exception(error))
    told = {"type": type(error).__qualname__, "text": str(error), "traceback": lines}
    with init() as run:
        run.log_text("error", json.dumps(told, ensure_ascii=False))
        raise error


def _keep_result(result: Any) -> None:
    try:
        text = json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        sys.stderr.write(f"the result is not kept: JSON cannot hold it: {error}\n")
    else:
        from runbus.metrics import init

        with init() as run:
            run.log_text("result", text)


if __name__ == "__main__":
    main(sys.argv[1:])
