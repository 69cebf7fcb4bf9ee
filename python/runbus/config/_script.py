"""Scripts as tasks: a file, a module, or a few lines."""

from __future__ import annotations

import functools
import os
import re
import sys
from typing import Any, ClassVar

import msgspec

from runbus._files import absolute_path, open_file, read_file
from runbus._listed import check_mapping
from runbus._secrets import Secret
from runbus.config._output import Argument, arguments
from runbus.errors import (
    FieldInvalid,
    FileUnreadable,
    ScriptUnusable,
    TaskInvalid,
    near_matches,
    os_reason,
)

__all__ = ["Script", "is_of_python"]

_LONGEST_SCRIPT = 4 << 20
_TITLE = 10
"""How many characters of a few lines a job is called by."""

_PROGRAM = b"\x7fELF"
_OTHER_LANGUAGES = {"sh", "bash", "dash", "zsh", "ksh", "fish", "perl", "ruby", "node", "Rscript"}
_AS_COMMAND = (
    "make it executable, or name its program: `runbus run -- sh FILE`, `command: [sh, FILE]` in a "
    "batch file"
)


class Script(msgspec.Struct, frozen=True):
    """A script and its arguments: a file of Python or another language, a module, or a few lines.

    Attributes:
        path: The script; the name of a module if `module` is true.
        args: What it gets in `sys.argv[1:]`; an `Output` among them is what another job returns.
        python: The interpreter of Python; the one that runs this, if empty.
        inline: The lines themselves, instead of a path.
        env: What is added to its environment, texts and a `Secret` each; a job's own `env` goes
            before it.
        cwd: The folder it starts in, where its job says nothing else; the job's if None.
        entrypoint: The program that runs it, such as `bash`. Python if empty, but `bash` for lines.
        module: Whether `path` is the name of a module, as in `python -m`.
        workdir: Another name of `cwd`.

    Raises:
        TaskInvalid: It has neither a path nor lines, or both; or a module for another program than
            Python; or two folders; or what should be a list or a mapping is none.
    """

    tag: ClassVar[str] = "script"

    path: str = ""
    args: tuple[Argument, ...] = ()
    python: str = ""
    inline: str = ""
    env: dict[str, Any] = {}
    cwd: str | None = None
    entrypoint: str = ""
    module: bool = False
    workdir: str | None = None

    def __post_init__(self) -> None:
        if bool(self.path) == bool(self.inline):
            what = "a path and lines" if self.path else "neither a path nor lines"
            raise TaskInvalid(f"Script({self.path!r})", f"it has {what}")
        if self.module and (self.inline or not self._is_python):
            raise TaskInvalid(f"Script({self.path!r})", "only Python runs modules")
        try:
            msgspec.structs.force_setattr(self, "args", arguments(self.args, "args"))
            check_mapping(self.env, "env", "names to texts")
        except FieldInvalid as error:
            raise TaskInvalid(f"Script({self.path!r})", str(error)) from error
        env = {name: _as_secret(value) for name, value in self.env.items()}
        msgspec.structs.force_setattr(self, "env", env)
        if self.workdir is not None:
            if self.cwd not in (None, self.workdir):
                raise TaskInvalid(f"Script({self.path!r})", "cwd and workdir are two folders")
            msgspec.structs.force_setattr(self, "cwd", self.workdir)
            msgspec.structs.force_setattr(self, "workdir", None)

    @property
    def title(self) -> str:
        """What a job of it is called if nothing says otherwise."""
        if self.inline:
            return re.sub(r"[^A-Za-z0-9]", "_", self.inline.strip()[:_TITLE])
        if self.module:
            return self.path.rpartition(".")[2]
        return os.path.splitext(os.path.basename(self.path))[0]

    @property
    def _is_python(self) -> bool:
        if self.entrypoint:
            return os.path.basename(self.entrypoint).startswith("python")
        return not self.inline

    def command_line(self) -> tuple[Argument, ...]:
        """Return the program, the script's absolute path, module or lines, and the arguments.

        Raises:
            ScriptUnusable: The script is missing, is not a file that can be read, or is no Python:
                the text tells the line.
        """
        program = self.entrypoint or ("bash" if self.inline else self.python or sys.executable)
        if program == "python":
            program = self.python or sys.executable
        if self.inline:
            if self._is_python:
                _check_syntax("the script", self.inline)
                return (program, "-c", self.inline, *self.args)
            return (program, "-c", self.inline, program, *self.args)
        if self.module:
            return (program, "-m", self.path, *self.args)
        path = absolute_path(self.path)
        if os.path.isdir(path):
            raise ScriptUnusable(self.path, "it is a folder")
        try:
            # Another interpreter may know another Python.
            self._check_readable(path, is_ours=self._is_python and program == sys.executable)
        except FileUnreadable as error:
            raise ScriptUnusable(self.path, error.reason) from error
        except SyntaxError as error:
            told = f"{error.msg} in line {error.lineno}" if error.lineno else error.msg
            raise ScriptUnusable(self.path, told) from error
        except OSError as error:
            raise ScriptUnusable(self.path, os_reason(error), _near_files(self.path)) from error
        return (program, path, *self.args)

    def _check_readable(self, path: str, *, is_ours: bool) -> None:
        real = os.path.realpath(path)
        begin = _beginning(real)
        if is_ours and (what := _another_language(begin, path)):
            raise ScriptUnusable(self.path, what, advice=_AS_COMMAND)
        if is_ours and path.endswith(".py"):
            status = os.stat(real)
            _check_file(real, status.st_mtime_ns, status.st_size)

    def with_values(self, values: dict[str, str]) -> Script:
        """Return the same with `--name=value` for each of `values` before the other arguments."""
        options = tuple(f"--{name}={value}" for name, value in values.items())
        return msgspec.structs.replace(self, args=(*options, *self.args))

    def relative_to(self, folder: str) -> Script:
        """Return the same with its paths, if they are relative, starting from a folder."""
        path = self.path if self.module or self.inline else os.path.join(folder, self.path)
        cwd = None if self.cwd is None else os.path.join(folder, self.cwd)
        return msgspec.structs.replace(self, path=path, cwd=cwd)


def is_of_python(path: str) -> bool:
    """Whether a file may be a script of Python, by its first bytes and its name.

    One that cannot be read may be one.
    """
    try:
        return not _another_language(_beginning(os.path.realpath(path)), path)
    except (FileUnreadable, OSError):
        return True


def _beginning(path: str) -> bytes:
    """Return the first bytes of a file; whether it can be read is found out, too."""
    file = open_file(path)
    try:
        return os.read(file, 512)
    finally:
        os.close(file)


def _another_language(begin: bytes, path: str) -> str:
    """Return what a file is that is no Python, by its first bytes and its name; "" if it may be."""
    ending = os.path.splitext(path)[1]
    if ending.startswith((".py", ".zip")):
        return ""
    if begin.startswith(_PROGRAM):
        return "it is a program, not a Python script"
    if begin.startswith(b"#!"):
        words = os.fsdecode(begin[2:].split(b"\n")[0]).split()
        names = [name for word in words if (name := os.path.basename(word)) in _OTHER_LANGUAGES]
        return f"it is a script for {names[0]}, not for Python" if names else ""
    return "it is a shell script, not a Python script" if ending[1:] in _OTHER_LANGUAGES else ""


def _near_files(path: str) -> tuple[str, ...]:
    """Return the files of a folder that read almost like one that is missing."""
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return ()
    return tuple(os.path.join(folder, one) for one in near_matches(name, names))


def _as_secret(value: Any) -> Any:
    """Return the secret that data refers to; anything else as it is."""
    is_reference = isinstance(value, dict) and value.keys() == {"secret"}
    return Secret(str(value["secret"])) if is_reference else value


def _check_syntax(name: str, source: str) -> None:
    try:
        compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        told = f"{getattr(error, 'msg', error)}" + (f" in line {line}" if line else "")
        raise ScriptUnusable(name, told) from error


@functools.lru_cache(256)
def _check_file(path: str, changed_ns: int, size: int) -> None:
    """Read a script of Python once for all the jobs that run it.

    Raises:
        SyntaxError: It is no Python.
    """
    del changed_ns
    if size > _LONGEST_SCRIPT:
        return
    try:
        compile(read_file(path, limit=_LONGEST_SCRIPT), path, "exec", dont_inherit=True)
    except ValueError as error:  # a NUL, or too many digits
        raise SyntaxError(str(error)) from error
