"""The program of a job of a `FunctionExecutor`: `python -m runbus.executors.execute`.

Its arguments are the folder that the executor's class is imported from, or the file of a plugin
folder, what the executor is made from as JSON, and the command line of the job itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from runbus._home import ENV_RUN
from runbus.config import Command, from_data, import_from
from runbus.errors import ConfigInvalid, RunbusError

__all__ = ["main"]


def main(words: list[str]) -> int:
    """Make the executor, and let it execute the job."""
    folder, text, *argv = words
    try:
        _import_from(folder, text)
        config, mistakes = from_data(json.loads(text))
        if mistakes:
            raise ConfigInvalid("the executor", tuple(one.told() for one in mistakes))
        executor = config.build()
    except RunbusError as error:
        sys.exit(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))
    return _exit_code(executor.execute(Command(tuple(argv)), _config()))


def _import_from(place: str, text: str) -> None:
    """Let the module of the executor's class be found.

    Raises:
        RunbusError: It is a file of a plugin folder that cannot be used any more.
    """
    from runbus.plugins import import_file, module_name

    if place and f'"{module_name(place)}.' in text:
        import_file(place)
    else:
        import_from(place)


def _config() -> dict[str, Any]:
    """Return what the run of this job has recorded as its config."""
    from runbus.metrics import RunInfo

    folder = os.environ.get(ENV_RUN)
    return dict(RunInfo.read(folder).config) if folder else {}


def _exit_code(returned: Any) -> int:
    if not isinstance(returned, int) or isinstance(returned, bool):
        return 0
    if -signal.NSIG < returned < 0:
        with suppress(OSError):  # KILL has no handler
            signal.signal(-returned, signal.SIG_DFL)
        os.kill(os.getpid(), -returned)
    return returned


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
