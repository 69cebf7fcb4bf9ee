"""The words of an entrypoint's command line: options, values by their places, changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from runbus.config import is_override, parse_override
from runbus.errors import UsageError, near_matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.config import Override

__all__ = ["FLAGS", "SHORT", "VALUED", "Arguments", "parse_arguments", "split_launch"]

FLAGS = {
    "--help": "Show this text.",
    "--dryrun": "Show the configuration, and run nothing.",
    "--sweep": "Run once for each value of a=1,2; several span a grid.",
    "--repl": "Open a Python prompt with it as `config`.",
    "--detach": "Run as a job, and return once it is recorded.",
    "--yes": "Do not ask before it runs.",
    "--verbose": "Show the configuration before it runs.",
}
"""Options without a value, and what they do."""

VALUED = {
    "--factory": ("NAME", "Begin with what a factory makes: name, name(a=1), @file, or arg=name."),
    "--yaml": ("FILE", "Begin with a file of YAML, TOML or JSON, FILE[:section]."),
    "--load": ("FILE", "Begin with a configuration that was written by --to-…."),
    "--completion": ("SHELL", "Print what makes bash, zsh or fish complete its words."),
    "--to-yaml": ("FILE", "Write the configuration, and run nothing; FILE[:path] for a part."),
    "--to-toml": ("FILE", "The same as TOML."),
    "--to-json": ("FILE", "The same as JSON."),
    "--to-python": ("FILE", "The same as Python code."),
}
"""Options with a value: what it is called, and what they do."""

_LETTER = re.compile(r"-[A-Za-z]\w*", re.ASCII)

SHORT = {
    "-h": "--help",
    "-f": "--factory",
    "-y": "--yaml",
    "-l": "--load",
    "-r": "--repl",
    "-v": "--verbose",
}
"""Other names of options."""

_SAME = {"--no-confirm": "--yes", "--dry-run": "--dryrun"}


class Arguments(NamedTuple):
    """What a command line says.

    Attributes:
        flags: The options without a value.
        options: The options with one, in their order.
        positional: Values by their places.
        overrides: Changes, in their order.
    """

    flags: frozenset[str]
    options: tuple[tuple[str, str], ...]
    positional: tuple[str, ...]
    overrides: tuple[Override, ...]


def parse_arguments(words: Sequence[str], names: Sequence[str]) -> Arguments:
    """Return what a command line says.

    Args:
        words: Its words, without the program.
        names: The names of the parameters.

    Raises:
        UsageError: A word means nothing here; the text shows it.
    """
    flags: set[str] = set()
    options: list[tuple[str, str]] = []
    positional: list[str] = []
    overrides: list[Override] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = SHORT.get(name, _SAME.get(name, name))
        if word == "--":
            positional += rest
            break
        if name in FLAGS and not equals:
            flags.add(name)
        elif name in VALUED:
            if not equals and not rest:
                raise UsageError(f"{name} needs a value: {name} {VALUED[name][0]}")
            options.append((name, value if equals else rest.pop(0)))
        elif word.startswith("--"):
            overrides.append(_option_as_change(word, names))
        elif is_override(word):
            overrides.append(parse_override(word))
        else:
            positional.append(_value_by_place(word, overrides))
    return Arguments(frozenset(flags), tuple(options), tuple(positional), tuple(overrides))


def _value_by_place(word: str, before: Sequence[Override]) -> str:
    """Return a word as the value that it is.

    Raises:
        UsageError: It looks like something else, or stands behind values with names.
    """
    if _LETTER.fullmatch(word):
        raise UsageError(f"there is no option {word!r}; --help shows what there is")
    if is_override(word.lstrip("+")):
        raise UsageError(f"{word!r} begins with a plus: write {word.lstrip('+')}")
    if before:
        raise UsageError(
            f"{word!r} has no name, and is behind {before[-1].origin!r}, which has one"
        )
    return word


def _option_as_change(word: str, names: Sequence[str]) -> Override:
    """Return what `--lr=0.1` changes, as sweeps of `runbus run` write it.

    Raises:
        UsageError: There is no such option, and no parameter of that name.
    """
    name, equals, _ = word[2:].partition("=")
    first = name.partition(".")[0].partition("[")[0].rstrip("+-*/|&")
    if first.replace("-", "_") in names:
        if not equals:
            raise UsageError(f"{word} has no value: write {name}=…")
        return parse_override(word[2:].replace(first, first.replace("-", "_"), 1))
    known = [*FLAGS, *VALUED, *(f"--{one}" for one in names)]
    near = near_matches(f"--{first}", known)
    hint = f"; did you mean {near[0]!r}" if near else "; --help shows what there is"
    raise UsageError(f"there is no option {word!r}{hint}")


def split_launch(
    arguments: Arguments, names: Sequence[str]
) -> tuple[Arguments, tuple[Override, ...]]:
    """Return the words about the function, and those that say how it runs as a job.

    `executor=…` and `run.…` are such words, unless the function has a parameter `executor`, or
    `run`, itself; `--factory executor=…` begins with one.
    """
    factories = [
        one for one in arguments.options if one[0] == "--factory" and _is_launch(one[1], names)
    ]
    launch = [parse_override(text) for _, text in factories]
    launch += [one for one in arguments.overrides if _is_launch(one.origin, names)]
    rest = arguments._replace(
        options=tuple(one for one in arguments.options if one not in factories),
        overrides=tuple(one for one in arguments.overrides if not _is_launch(one.origin, names)),
    )
    short = (one._replace(path=one.path[1:]) if one.path[0] == "run" else one for one in launch)
    return rest, tuple(short)


def _is_launch(text: str, names: Sequence[str]) -> bool:
    if not is_override(text):
        return False
    path = parse_override(text).path
    return path[0] not in names and (path[0] == "executor" or (path[0] == "run" and len(path) > 1))
