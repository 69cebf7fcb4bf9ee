"""The programs that the package carries: the wrapper, and what samples the machine beside a job.

See `rust/runbus-wrap` and `rust/runbus-core/src/bin/runbus-sample.rs`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import tempfile
import time
from typing import NamedTuple

from runbus import _core
from runbus._home import Home
from runbus.attempt._script import WRAPPER

__all__ = [
    "CarriedProgram",
    "carried_program",
    "carried_sampler",
    "program_digest",
    "sampler_program",
    "wrapper_program",
    "wrapper_words",
]

_SHELL = "/bin/sh"
_TRIAL_S = 30.0
_BUSY_S, _BUSY_LOOK_S = 10.0, 0.005

# What an ELF file is for, as `uname -m` calls it.
_MACHINES = {21: "ppc64le", 22: "s390x", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_MACHINE_AT = slice(18, 20)

_found: dict[str, str | None] = {}
_samplers: dict[str, str | None] = {}


class CarriedProgram(NamedTuple):
    """A program as a file, to be sent to other machines.

    Attributes:
        path: Where it lies on this machine, whether or not it runs here.
        sha256: The digest of its content.
        machine: The architecture that it is for, as `uname -m` calls it.
        version: What it says when it is started with the word `version`.
    """

    path: str
    sha256: str
    machine: str
    version: str


def wrapper_words(home: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """Return the words that run the wrapper on this machine: the program, or else the script.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Returns:
        What `run FOLDER` and `cancel FOLDER GRACE` follow.
    """
    program = wrapper_program(home)
    return (_SHELL, WRAPPER) if program is None else (program,)


def wrapper_program(home: str | os.PathLike[str] | None = None) -> str | None:
    """Return the path of the wrapper program, written to `bin/` of the home folder if need be.

    Looked up once a process and home: the digest of what lies there is checked, and it is started
    once. `RUNBUS_WRAPPER=script` asks for the script instead.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Returns:
        The path; None if the program cannot run here (another architecture, a file system without
        execution, no room), so that the shell script must do.
    """
    if os.environ.get("RUNBUS_WRAPPER") == "script":
        return None
    folder = os.path.join(Home(home).path, "bin")
    if folder not in _found:
        _found[folder] = _provide(folder)
    return _found[folder]


def sampler_program(home: str | os.PathLike[str] | None = None) -> str | None:
    """Return the path of the program that samples the machine beside a job.

    It is written to `bin/` of the home folder if need be, once a process and home. Nobody tries it:
    where it does not run, jobs are not sampled by it.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Returns:
        The path; None if the package carries none, or there is no room for it.
    """
    folder = os.path.join(Home(home).path, "bin")
    if folder not in _samplers:
        _samplers[folder] = _provide_sampler(folder)
    return _samplers[folder]


def carried_program(home: str | os.PathLike[str] | None = None) -> CarriedProgram | None:
    """Return the program that this package carries, written to `bin/` of the home folder.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Returns:
        The program; None if the package carries none, there is no room for it, or
        `RUNBUS_WRAPPER=script` asks for the script.
    """
    if os.environ.get("RUNBUS_WRAPPER") == "script":
        return None
    return _carried(_core.wrapper_program(), home)


def carried_sampler(home: str | os.PathLike[str] | None = None) -> CarriedProgram | None:
    """Return the program that samples beside a job, written to `bin/` of the home folder.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Returns:
        The program; None if the package carries none, or there is no room for it.
    """
    return _carried(_core.sampler_program(), home)


def _carried(program: bytes, home: str | os.PathLike[str] | None) -> CarriedProgram | None:
    machine = _MACHINES.get(int.from_bytes(program[_MACHINE_AT], "little"))
    if machine is None:
        return None
    try:
        path = _written(os.path.join(Home(home).path, "bin"), program)
    except OSError:
        return None
    return CarriedProgram(path, os.path.basename(path), machine, _core.__version__)


def program_digest() -> str:
    """Return the SHA-256 of the program that this package carries; empty if it carries none."""
    program = _core.wrapper_program()
    return hashlib.sha256(program).hexdigest() if program else ""


def program_names() -> frozenset[str]:
    """Return what the programs that this package carries are called in `bin/` of a home."""
    programs = (_core.wrapper_program(), _core.sampler_program())
    return frozenset(hashlib.sha256(one).hexdigest() for one in programs if one)


def _provide(folder: str) -> str | None:
    program = _core.wrapper_program()
    if not program:
        return None
    try:
        path = _written(folder, program)
        version = _tried(path)
    except (OSError, subprocess.SubprocessError):
        return None
    return path if version == _core.__version__ else None


def _provide_sampler(folder: str) -> str | None:
    program = _core.sampler_program()
    try:
        return _written(folder, program) if program else None
    except OSError:
        return None


def _tried(path: str) -> str:
    """Return what the program says of its version.

    Raises:
        OSError: It cannot be started.
        SubprocessError: It does not end.
    """
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            done = subprocess.run(
                [path, "version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TRIAL_S,
                check=False,
            )
        except OSError as error:
            # What another thread starts has the file open until it is a program of its own, as it
            # was when this one wrote it.
            if error.errno != errno.ETXTBSY or time.monotonic() >= until:
                raise
            time.sleep(_BUSY_LOOK_S)
        else:
            return done.stdout.decode("utf-8", "replace").strip()


def _written(folder: str, program: bytes) -> str:
    """Return where the program lies in a folder, which it does from now on."""
    path = os.path.join(folder, hashlib.sha256(program).hexdigest())
    if not _is_whole(path, program):
        _write(folder, path, program)
    return path


def _is_whole(path: str, program: bytes) -> bool:
    """Whether the very program lies there, and not a part of it or another."""
    try:
        with open(path, "rb") as file:
            return file.read(len(program) + 1) == program
    except FileNotFoundError:
        return False


def _write(folder: str, path: str, program: bytes) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    # Under a name of its own until it is whole: another process may be doing the same.
    file, part = tempfile.mkstemp(prefix=".new-", dir=folder)
    try:
        with open(file, "wb") as opened:
            opened.write(program)
            os.fchmod(file, 0o755)  # a container may run it as somebody else
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
