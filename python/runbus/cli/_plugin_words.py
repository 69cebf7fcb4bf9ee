"""What `--plugin` says: which plugins, and what they are made from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from runbus._secrets import Secret, is_secret_name, redacted_text
from runbus.cli._diverted import diverted_stdout
from runbus.config import Word
from runbus.errors import PluginError, UsageError
from runbus.plugins import Registry, configure_plugins, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["check_plugins", "configure", "settings_to_record"]


def configure(given: Sequence[str]) -> list[str]:
    """Return the names in words `NAME` or `NAME.FIELD=VALUE`, once the values are noted.

    Values for several fields of a plugin come together, also with those that the program gave;
    of two for one field the later one counts.

    Args:
        given: The words.

    Raises:
        UsageError: Words have no name, or no field, before the value.
    """
    names, values = _parted(given)
    said: dict[str, dict[str, Any]] = {}
    for name, fields, value in values:
        _set(said.setdefault(name, settings_of(name)), fields, Word(value))
    configure_plugins(said)
    return names


def settings_to_record(given: Sequence[str], *, is_left: bool) -> dict[str, dict[str, Any]]:
    """Return the values in such words as they are recorded with an experiment.

    What may be a secret is not: `NAME.FIELD.secret=env:VARIABLE` says where it is instead.

    Args:
        given: The words.
        is_left: Whether another process makes the plugins, from what is recorded alone.

    Raises:
        UsageError: `is_left`, and a value may be a secret; or such a place is none.
    """
    said: dict[str, dict[str, Any]] = {}
    for name, fields, value in _parted(given)[1]:
        word = ".".join([name, *fields])
        if fields[-1] == "secret":
            value = Secret(value).relative_to(os.getcwd()).reference
        elif any(map(is_secret_name, fields)) or redacted_text(value) != value:
            told = f"--plugin {word}: a secret is recorded nowhere; name its place"
            advice = f"--plugin {word}.secret=env:VARIABLE"
            if is_left:
                raise UsageError(f"{told}: {advice}")
            click.echo(f"warning: {told} for a process that takes over: {advice}", err=True)
            continue
        _set(said.setdefault(name, {}), fields, value)
    return said


def _parted(given: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str], str]]]:
    """Return the names in words, and their values with the plugin and the path of each."""
    words = [(word, *word.partition("=")) for word in given]
    paths = {word: path.split(".") for word, path, equals, _ in words if equals}
    if odd := [word for word, path in paths.items() if len(path) < 2 or not all(path)]:
        are = "is" if len(odd) == 1 else "are"
        raise UsageError(f"--plugin {', '.join(odd)} {are} not of the form NAME.FIELD=VALUE")
    values = [
        (paths[word][0], paths[word][1:], text) for word, _, _, text in words if word in paths
    ]
    return [paths[word][0] if word in paths else word for word in given], values


def _set(settings: dict[str, Any], fields: Sequence[str], value: str) -> None:
    for field in fields[:-1]:
        inner = settings.get(field)
        settings[field] = settings = dict(inner) if isinstance(inner, dict) else {}
    settings[fields[-1]] = value


def check_plugins(names: Iterable[str]) -> None:
    """Import plugins and check what they are made from, and tell the mistakes of all at once.

    Raises:
        ConfigInvalid: The settings of one do not fit.
        PluginError: One is not there, or cannot be imported.
        UsageError: There are several such mistakes; it tells them all.
    """
    errors: list[PluginError | UsageError] = []
    registry = Registry()
    with diverted_stdout():  # a result for a program may go there
        for name in names:
            try:
                registry.check(name)
            except (PluginError, UsageError) as error:
                errors.append(error)
    if len(errors) > 1:
        raise UsageError("; ".join(map(str, errors)))
    if errors:
        raise errors[0]
