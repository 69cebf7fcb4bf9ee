"""The wrapper script, run as the executors run it, under each shell that is here."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runbus.abc import Observation
from runbus.attempt import WRAPPER, observe_folder

SHELLS = [
    pytest.param(["dash"], id="dash"),
    pytest.param(["bash"], id="bash"),
    pytest.param(["busybox", "sh"], id="busybox", marks=pytest.mark.services),
]

IN_ITS_SESSION = '${rb_alone:+exec "$rb_alone" sh "$rb_request"}\n'
"""How a script with bootstrap lines begins."""

Start = Callable[[Path, str], subprocess.Popen[bytes]]
Run = Callable[[Path, str], Observation]


def default_signals() -> None:
    """Reset what the tests were started with: under `nohup` they ignore HUP, and so would a job."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """The words that start a shell on a script."""
    words: list[str] = request.param
    return words


@pytest.fixture
def start(shell: list[str]) -> Start:
    """Start the wrapper in a folder, on a script that runs as bootstrap lines do."""

    def start(folder: Path, script: str) -> subprocess.Popen[bytes]:
        (folder / "request.sh.new").write_text(IN_ITS_SESSION + script)
        (folder / "request.sh.new").rename(folder / "request.sh")
        return subprocess.Popen(
            [*shell, WRAPPER, "run", str(folder)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=default_signals,
        )

    return start


@pytest.fixture
def run(start: Start) -> Run:
    """Run a script to its end and return what is seen then."""

    def run(folder: Path, script: str) -> Observation:
        start(folder, script).wait(50)
        seen = observe_folder(str(folder))
        assert seen is not None
        return seen

    return run


@pytest.fixture
def cancel(shell: list[str]) -> Callable[[Path, int], None]:
    """Cancel the job in a folder, with a grace in seconds."""

    def cancel(folder: Path, grace_s: int) -> None:
        command = [*shell, WRAPPER, "cancel", str(folder), str(grace_s)]
        subprocess.run(command, check=True, timeout=20)

    return cancel


@pytest.fixture
def wait_for_line() -> Callable[[Path], str]:
    """Wait for the first line of a file that a job writes, and return it."""

    def wait(path: Path) -> str:
        loop = 'until [ -s "$0" ]; do sleep 0.01; done'
        subprocess.run(["sh", "-c", loop, str(path)], timeout=20, check=True)
        return path.read_text().splitlines()[0]

    return wait
