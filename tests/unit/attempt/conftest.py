"""The wrapper, run as executors run it: the program, and the script in each shell that is here."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from runbus.abc import Observation
from runbus.attempt import WRAPPER, observe_folder, wrapper_program
from runbus.testing._waiting import wait_until

SCRIPTS = [
    pytest.param(["dash", WRAPPER], id="dash"),
    pytest.param(["bash", WRAPPER], id="bash"),
    pytest.param(["busybox", "sh", WRAPPER], id="busybox", marks=pytest.mark.services),
]
WRAPPERS = [pytest.param([], id="program"), *SCRIPTS]

IN_ITS_SESSION = '${rb_alone:+exec "$rb_alone" sh "$rb_request"}\n'
"""How a script with bootstrap lines begins."""

Start = Callable[[Path, str], subprocess.Popen[bytes]]
Run = Callable[[Path, str], Observation]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The wrapper program that the package carries."""
    path = wrapper_program(tmp_path_factory.mktemp("program"))
    assert path is not None
    return path


def default_signals() -> None:
    """Reset what the tests were started with: under `nohup` they ignore HUP, and so would a job."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test against every wrapper; one that is about the script, against that alone."""
    if "wrapper" in metafunc.fixturenames:
        of_script = metafunc.definition.get_closest_marker("script")
        differs = metafunc.definition.get_closest_marker("differs")
        wrappers = SCRIPTS if of_script else different(differs) if differs else WRAPPERS
        metafunc.parametrize("wrapper", wrappers, indirect=True)


def different(marker: pytest.Mark) -> list[ParameterSet]:
    """Return every wrapper; the script must fail."""
    fails = pytest.mark.xfail(reason=f"the script differs: {marker.args[0]}", strict=True)
    scripts = [
        pytest.param(*shell.values, id=shell.id, marks=[*shell.marks, fails]) for shell in SCRIPTS
    ]
    return [*WRAPPERS[:1], *scripts]


@pytest.fixture
def wrapper(request: pytest.FixtureRequest, program: str) -> list[str]:
    """The words that run the wrapper: the program, or the script in each shell that is here."""
    words: list[str] = request.param
    return words or [program]


@pytest.fixture
def start(wrapper: list[str]) -> Start:
    """Start the wrapper in a folder, on a script that runs as bootstrap lines do."""

    def start(folder: Path, script: str) -> subprocess.Popen[bytes]:
        (folder / "request.sh.new").write_text(IN_ITS_SESSION + script)
        (folder / "request.sh.new").rename(folder / "request.sh")
        return subprocess.Popen(
            [*wrapper, "run", str(folder)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=default_signals,
        )

    return start


@pytest.fixture
def run(start: Start) -> Run:
    """Run a script to its end and return what is seen then."""

    def run(folder: Path, script: str) -> Observation:
        start(folder, script).wait(120)
        seen = observe_folder(str(folder))
        assert seen is not None
        return seen

    return run


@pytest.fixture
def cancel(wrapper: list[str]) -> Callable[[Path, int], None]:
    """Cancel the job in a folder, with a grace in seconds."""

    def cancel(folder: Path, grace_s: int) -> None:
        command = [*wrapper, "cancel", str(folder), str(grace_s)]
        subprocess.run(command, check=True, timeout=120)

    return cancel


@pytest.fixture
def run_limited(start: Start, tmp_path: Path) -> Callable[..., Path]:
    """Run a script that reaches its time limit, and return the folder.

    The script makes a file `ready` when it has come as far as the test needs. How long that takes
    depends on what else the machine does, and the limit counts from the start: one that came too
    early says nothing, and the next one is longer.
    """

    def run_limited(script: str, *, has_grace: bool = True) -> Path:
        for limit_s, grace_s in ((0.3, 1), (3, 5), (15, 12)):
            folder = tmp_path / f"limit {limit_s}"
            folder.mkdir()
            (folder / "limit").write_text(f"{limit_s} {grace_s if has_grace else 0}\n")
            start(folder, script).wait(120)
            if (folder / "ready").exists():
                return folder
        raise AssertionError("it never became ready")

    return run_limited


@pytest.fixture
def wait_for_line() -> Callable[[Path], str]:
    """Wait for the first line of a file that a job writes, and return it."""

    def wait(path: Path) -> str:
        # A whole one, which has an end.
        wait_until(lambda: path.exists() and "\n" in path.read_text())
        return path.read_text().splitlines()[0]

    return wait


@pytest.fixture
def wait_for_sleep() -> Callable[[int], None]:
    """Wait until a process has become `sleep`: while it is loaded it has no environment.

    By that a process is found that has left its session, and one that has none is not.
    """

    def wait(pid: int) -> None:
        folder = Path(f"/proc/{pid}")
        wait_until(
            lambda: (folder / "comm").read_text() == "sleep\n" and (folder / "environ").read_bytes()
        )

    return wait


# A wrapper in a small world of its own: $1 is the folder, $2 what is mounted over it, and the words
# that run the wrapper follow.
WORLD = """
mount -t tmpfs -o "$2" none "$1" || exit 77
cd "$1" || exit 77
shift 2
"""


@pytest.fixture
def in_a_world(wrapper: list[str], tmp_path: Path) -> Callable[[str, str], str]:
    """Run a script as root of a name space with a small file system in memory."""
    return lambda options, script: run_in_a_world(wrapper, tmp_path, options, script)


def run_in_a_world(wrapper: list[str], folder: Path, options: str, script: str) -> str:
    """Run a script as root of a name space where `folder` is a file system in memory.

    Returns:
        What it printed.
    """
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", WORLD + script]
    command = [*words, "sh", str(folder), options, *wrapper]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    return result.stdout
