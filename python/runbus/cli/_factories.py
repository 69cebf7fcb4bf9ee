"""Functions that make configurations, by the names that command lines call them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, overload

from runbus.config import Call, Config, Partial, as_config, is_part_of, return_type
from runbus.errors import TargetUnusable, UsageError, near_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["call_factory", "default_factory", "factories_for", "factories_making", "factory"]

F = TypeVar("F", bound="Callable[..., Any]")


class _Factory:
    __slots__ = ("argument", "function", "is_default", "name", "target")

    def __init__(
        self, function: Any, name: str, target: Any, argument: str | None, is_default: bool
    ) -> None:
        self.function = function
        self.name = name
        self.target = target
        self.argument = argument
        self.is_default = is_default


_FACTORIES: list[_Factory] = []


@overload
def factory(function: F, /) -> F: ...
@overload
def factory(
    *,
    target: Any = None,
    target_arg: str | None = None,
    is_target_default: bool = False,
    name: str | None = None,
) -> Callable[[F], F]: ...
def factory(
    function: Any = None,
    /,
    *,
    target: Any = None,
    target_arg: str | None = None,
    is_target_default: bool = False,
    name: str | None = None,
) -> Any:
    """Give a function that makes a configuration a name for command lines.

    `model=small` then calls the factory `small`, `model=small(width=3)` gives it arguments. It is
    found where its target is wanted, and nowhere else: a text is never taken for its name.

    Args:
        function: The function, where this is a decorator without arguments.
        target: What it makes: a class, or a function that is an entrypoint. What it says that it
            returns if None.
        target_arg: With a function as target: the parameter that it makes a value for.
        is_target_default: Whether it makes the value where nothing else does.
        name: What it is called; as the function if None.

    Raises:
        TargetUnusable: It does not say what it makes.
    """

    def register(function: Any) -> Any:
        made = target if target is not None else _made_by(function)
        _FACTORIES.append(
            _Factory(function, name or function.__name__, made, target_arg, is_target_default)
        )
        return function

    return register if function is None else register(function)


def _made_by(function: Any) -> Any:
    returned = return_type(function)
    if get_origin(returned) in (Config, Partial):
        returned = get_args(returned)[0]
    if returned is None:
        advice = "annotate what it returns, or give a target"
        raise TargetUnusable(function.__qualname__, "it does not say what it makes", advice)
    return returned


def factories_for(target: Any, owner: Any = None, argument: str | None = None) -> dict[str, Any]:
    """Return the factories that may make a value, by name; the newest of a name wins.

    Args:
        target: The type of the value, or the function that is configured.
        owner: The function that the value is an argument of.
        argument: The name of the argument.
    """
    return {one.name: one.function for one in _FACTORIES if _fits(one, target, owner, argument)}


def factories_making(method: str) -> dict[str, Any]:
    """Return the factories of classes that have a method, by name."""
    return {
        one.name: one.function
        for one in _FACTORIES
        if isinstance(one.target, type) and callable(getattr(one.target, method, None))
    }


def default_factory(target: Any, owner: Any, argument: str) -> Any:
    """Return the factory that makes a value where nothing else does; None without one."""
    found = [one for one in _FACTORIES if one.is_default and _fits(one, target, owner, argument)]
    return found[-1].function if found else None


def _fits(one: _Factory, target: Any, owner: Any, argument: str | None) -> bool:
    if one.argument is not None:
        return one.target is owner and one.argument == argument
    return bool(one.target is target or is_part_of(one.target, target))


def call_factory(call: Call, known: Mapping[str, Any]) -> Any:
    """Return the configuration that a factory makes.

    Raises:
        UsageError: There is no factory of that name.
        ConfigInvalid: An argument does not fit.
    """
    if call.name not in known:
        near = near_matches(call.name, known)
        hint = f"; did you mean {near[0]!r}" if near else ""
        there = f"; there are {', '.join(known)}" if known and not near else ""
        raise UsageError(f"there is no factory {call.name!r}{hint}{there}")
    function = known[call.name]
    found = Config(function, *call.args, **call.named).build()
    return found if isinstance(found, (Config, Partial)) else as_config(found)
