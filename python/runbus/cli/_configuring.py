"""From the words of a command line to the configuration of a function."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.cli._factories import call_factory, default_factory, factories_for
from runbus.config import (
    Call,
    Config,
    Override,
    Partial,
    Word,
    WordInvalid,
    accepts_text,
    apply_overrides,
    environment_overrides,
    fields_of,
    parse_override,
    read_call,
    split_items,
    target_of,
    type_at,
    value_text,
)
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runbus.cli._arguments import Arguments
    from runbus.config import Space

    Path = tuple[str | int, ...]

__all__ = ["Configured", "configure", "made_by", "with_meanings"]

logger = logging.getLogger("runbus.cli")


class Configured(NamedTuple):
    """What a command line makes of a function.

    Attributes:
        title: Which point of a sweep it is, such as `lr=0.1`; empty without one.
        config: The function with its arguments.
        point: What the point changes.
    """

    title: str
    config: Any
    point: Mapping[str, Any] = {}


def configure(
    function: Any,
    arguments: Arguments,
    environment: Mapping[str, str],
    prefix: str,
    *,
    default: Any = None,
    space: Space | None = None,
) -> list[Configured]:
    """Return what a command line makes of a function: one configuration, or one a point of a sweep.

    Args:
        function: The function.
        arguments: The command line.
        environment: The variables of the environment.
        prefix: What the names of those that set values begin with.
        default: What it begins with; the function's own defaults if None.
        space: What is swept besides what the command line and its files sweep.

    Raises:
        ConfigInvalid: Something does not fit; every mistake is reported, with what said it.
        UsageError: A word means nothing here.
    """
    config, in_files = _base(function, arguments.options, default)
    changes = [
        *environment_overrides(prefix, environment),
        *_by_place(function, arguments.positional),
    ]
    changes += arguments.overrides
    axes: dict[Path, list[Override]] = {}
    if space is not None or "--sweep" in arguments.flags:
        swept = [one for one in changes if _is_axis(one)] if "--sweep" in arguments.flags else []
        changes = [one for one in changes if one not in swept]
        axes = in_files | {one.path: _points(one) for one in swept}
    elif in_files:
        paths = ", ".join(_name(points[0]) for points in in_files.values())
        logger.warning("without --sweep the _sweep_ of %s in its file is ignored", paths)
    inner: list[list[Override]] = (
        [[]] if space is None else [_overrides(point) for point in space.points()]
    )
    for change in inner[0]:
        axes.pop(change.path, None)
    found = []
    grid = itertools.product(*axes.values())
    for outer, own in itertools.product(grid, inner):
        point = [*outer, *own]
        node = config.copy()
        _set_defaults(node)
        apply_overrides(node, with_meanings(node, [*changes, *point]))
        title = " ".join(f"{_name(one)}={one.value}" for one in point)
        found.append(Configured(title, node, {_name(one): one.value for one in point}))
    return found


def _overrides(point: Mapping[str, Any]) -> list[Override]:
    found = []
    for path, value in point.items():
        text = value_text(value)
        found.append(parse_override(f"{path}={text}"))
    return found


def _points(change: Override) -> list[Override]:
    """Return a change for each value of a word of a sweep.

    Raises:
        UsageError: A value is there twice.
    """
    values = split_items(change.value)
    if twice := next((one for one in values if values.count(one) > 1), None):
        raise UsageError(f"{change.origin}: {twice} is there twice")
    return [change._replace(value=Word(value)) for value in values]


def _is_axis(change: Override) -> bool:
    return change.operator == "=" and "=" in change.origin and len(split_items(change.value)) > 1


def _name(change: Override) -> str:
    return change.origin.partition("=")[0]


def _base(
    function: Any, options: Sequence[tuple[str, str]], default: Any
) -> tuple[Any, dict[Path, list[Override]]]:
    """Return what the options begin with: files and factories, in their order."""
    config: Any = Partial(function) if default is None else _begun(function, default)
    axes: dict[Path, list[Override]] = {}
    for option, value in options:
        if option in ("--yaml", "--load"):
            config, axes = _from_file(config, value), axes | _axes(value)
        elif option == "--factory":
            name, equals, rest = value.partition("=")
            if equals and name.isidentifier():
                change = Override((name,), "=", Word(rest), f"--factory {value}")
                apply_overrides(config, with_meanings(config, [change]))
            elif value.startswith("@"):
                config, axes = _from_file(config, value[1:]), axes | _axes(value[1:])
            else:
                config = _from_factory(function, value)
    return config, axes


def _begun(function: Any, default: Any) -> Any:
    """Return what the author of an entrypoint lets its configuration begin with.

    Raises:
        UsageError: It is no configuration of the function.
    """
    made = default if isinstance(default, (Config, Partial)) else default()
    if not isinstance(made, (Config, Partial)) or target_of(made) is not function:
        raise UsageError(f"its default makes no configuration of {function.__qualname__}")
    return Partial(function, **_values(made))


def _from_file(config: Any, source: str) -> Any:
    from runbus.config import load  # files cost what most command lines need not pay

    found = load(source, config)
    if target_of(found) is not target_of(config):
        told = f"it configures {_named(found)}, not {_named(config)}"
        raise UsageError(f"{source}: {told}")
    return found


def _named(config: Any) -> str:
    return getattr(target_of(config), "__qualname__", "something else")


def _axes(source: str) -> dict[Path, list[Override]]:
    from runbus.config import read_file

    found = {}
    for name, values in read_file(source).axes.items():
        path = parse_override(f"{name}=x").path
        texts = [repr(one) for one in values]
        if twice := next((one for one in texts if texts.count(one) > 1), None):
            raise UsageError(f"{source}: _sweep_: {name}: {twice} is there twice")
        found[path] = [Override(path, "=", one, f"{name}={one}") for one in values]
    return found


def _from_factory(function: Any, text: str) -> Any:
    call = _call(text)
    if not isinstance(call, Call):
        raise UsageError(f"--factory {text}: write name, name(a=1), @file, or arg=name")
    made = call_factory(call, factories_for(function))
    if target_of(made) is not function:
        raise UsageError(f"--factory {text}: it makes no configuration of {function.__qualname__}")
    return Partial(function, **_values(made))


def _values(config: Any) -> dict[str, Any]:
    return {name: config[name] for name in fields_of(config) if name in config}


def _by_place(function: Any, words: Sequence[str]) -> Iterator[Override]:
    names = [name for name, one in fields_of(function).items() if one.kind != "rest"]
    if len(words) > len(names):
        what = f"{function.__qualname__} takes {len(names)} values"
        raise UsageError(f"{words[len(names)]!r} is one too many: {what}")
    for name, word in zip(names, words, strict=False):
        yield Override((name,), "=", Word(word), f"{name}={word}")


def with_meanings(config: Any, changes: Iterable[Override]) -> Iterator[Override]:
    """Yield changes with what files and factories make in the place of what names them.

    One at a time: what a value means depends on the changes before it.
    """
    for one in changes:
        if not isinstance(one.value, Word) or not one.value:
            yield one
            continue
        hint = type_at(config, one.path)
        if hint is None or accepts_text(hint):
            yield one
            continue
        yield one._replace(value=_meant(config, one, hint))


def _meant(config: Any, change: Override, hint: Any) -> Any:
    word = change.value
    if word.startswith("@"):
        from runbus.config import read_file

        return read_file(word[1:]).value
    known = factories_for(hint, target_of(config), str(change.path[-1]))
    if not known or word.lower() in ("none", "null"):
        return word
    return made_by(known, change, others=False)


def made_by(known: Mapping[str, Any], change: Override, *, others: bool = True) -> Any:
    """Return the value of a change with what factories make in the place of what calls them.

    Args:
        known: The factories, by name.
        change: The change.
        others: Whether a name that no factory has is a value.

    Raises:
        UsageError: There is no factory of such a name.
    """
    try:
        return _made(read_call(change.value), known, others=others)
    except (WordInvalid, UsageError) as error:
        raise UsageError(f"{change.origin}: {error}") from error


def _made(value: Any, known: Mapping[str, Any], *, others: bool) -> Any:
    if isinstance(value, Word) and value.isidentifier():
        value = Call(str(value), (), {})
    if isinstance(value, Call):
        is_value = others and value.name not in known and not value.args and not value.named
        return Word(value.name) if is_value else call_factory(value, known)
    if isinstance(value, list):
        return [_made(one, known, others=others) for one in value]
    if isinstance(value, dict):  # its values are those of a file: some are names of other things
        return {key: _made(one, known, others=True) for key, one in value.items()}
    return value


def _call(text: str) -> Any:
    try:
        return read_call(text)
    except WordInvalid as error:
        raise UsageError(f"{text!r}: {error}") from None


def _set_defaults(config: Any) -> None:
    for name, field in fields_of(config).items():
        if name not in config and field.is_required:
            made = default_factory(field.type, target_of(config), name)
            if made is not None:
                config[name] = call_factory(Call(made.__name__, (), {}), {made.__name__: made})
