"""`runbus plugins new`."""

from __future__ import annotations

import keyword
import os
import re
import shlex
import shutil
import sys
import tempfile
from string import Template
from typing import TYPE_CHECKING

import click

from runbus.cli._exit import ExitStatus
from runbus.cli._plugin_templates import KINDS, template
from runbus.errors import UsageError, os_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["command"]

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST = 50


@click.command("new")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(list(KINDS)), required=True, help="What kind of plugin it is."
)
@click.option(
    "--into",
    type=click.Path(file_okay=False),
    default=".",
    metavar="FOLDER",
    help="Where its folder is made [default: here].",
)
def command(name: str, kind: str, into: str) -> ExitStatus:
    """Write a new plugin: a distribution with a module, tests and a README.

    It is made in a folder runbus-NAME, which must not be there yet. It can be installed as it is,
    and passes its own tests, which are those of the conformance kit and some of its own.
    """
    _check_name(name)
    _check_free(name)
    folder = os.path.normpath(os.path.join(into, f"runbus-{name}"))
    if os.path.lexists(folder):
        raise UsageError(f"{folder} is there already; choose another name, or remove it")
    try:
        _write(folder, files_of(name, kind))
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {os_reason(error)}") from None
    click.echo(folder)
    place = shlex.quote(folder if os.path.isabs(folder) else f"./{folder}")
    sys.stderr.write(f"pip install {place} installs it; its tests: cd {place} && pytest\n")
    return ExitStatus.OK


def _check_name(name: str) -> None:
    advice = ""
    if not _NAME.fullmatch(name):
        advice = "write lower-case letters and digits, parted by single '-', a letter first"
    elif len(name) > _LONGEST:
        advice = f"it is longer than {_LONGEST} characters"
    elif keyword.iskeyword(name):
        advice = "it is a keyword of Python; choose another name"
    if advice:
        raise UsageError(f"{name!r} cannot be the name of a plugin; {advice}")


def _check_free(name: str) -> None:
    """Refuse the name of a plugin that can be found, as one of the two would be hidden."""
    from runbus.plugins import Registry  # loads importlib.metadata

    if (known := Registry().infos.get(name)) is not None:
        whose = known.origin.removeprefix("entry point ") or known.entry_point
        raise UsageError(f"there is a plugin {name!r} already ({whose}); choose another name")


def files_of(name: str, kind: str) -> dict[str, str]:
    """Return the files of a new plugin by their paths."""
    chosen = KINDS[kind]
    words = re.split("[-_]", name)
    package = f"runbus_{'_'.join(words)}"
    given = {
        "name": name,
        "folder": f"runbus-{name}",
        "package": package,
        "class_name": "".join(word.capitalize() for word in words),
        "variable": package.upper(),
        "summary": chosen.summary,
        "group": chosen.group,
    }
    given["target"] = _filled(chosen.target, given)
    given["use"] = _filled(chosen.use, given)
    return {
        "pyproject.toml": _filled(template("pyproject.toml"), given),
        "README.md": _filled(template("README.md"), given),
        f"src/{package}/__init__.py": _filled(template(f"{kind}.py"), given),
        f"src/{package}/py.typed": "",
        f"tests/test_{package}.py": _filled(template(f"{kind}_test.py"), given),
        ".gitignore": "__pycache__/\n*.egg-info/\ndist/\n",
    }


def _filled(text: str, given: Mapping[str, str]) -> str:
    return Template(text).substitute(given)


def _write(folder: str, files: Mapping[str, str]) -> None:
    """Write files into a folder that appears as a whole, or not at all."""
    parent = os.path.dirname(folder)
    os.makedirs(parent or ".", exist_ok=True)
    begun = tempfile.mkdtemp(prefix=".new-", dir=parent or ".")
    try:
        os.chmod(begun, 0o777 & ~_umask())
        for path, text in files.items():
            place = os.path.join(begun, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "x", encoding="utf-8") as file:
                file.write(text)
        os.rename(begun, folder)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
