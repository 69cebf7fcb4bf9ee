"""Targets by their import paths."""

from __future__ import annotations

import importlib
import os
import sys
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_origin

from runbus.errors import RunbusError, TargetUnusable, near_matches

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["import_target", "is_importing", "module_of", "name_script", "path_of"]

_LONGEST = 500

_importing = ContextVar("importing", default=False)


def path_of(target: Any) -> str:
    """Return the import path of a class or function: `package.module.Name`.

    Raises:
        TargetUnusable: It has none: it is a lambda, stands within a function, or is another object
            than its path leads to.
    """
    plain = get_origin(target) or target
    owner = getattr(plain, "__self__", None)
    if isinstance(owner, type) and not isinstance(plain, type):  # a class method
        return f"{path_of(owner)}.{plain.__name__}"
    name = getattr(plain, "__qualname__", None)
    module = module_of(plain)
    if not name or not module:
        raise TargetUnusable(repr(target)[:100], "it has no import path")
    if "<" in name:
        what = "it is a lambda" if name.endswith("<lambda>") else "it stands within a function"
        raise TargetUnusable(f"{module}.{name}", what, "define it at the top of a module")
    return f"{module}.{name}" if module != "builtins" else f"builtins.{name}"


def module_of(target: Any) -> str:
    """Return the module of a class or function by the name that others import it by.

    Of a script that is its file's, once it is known by that name in `sys.modules`, too.
    """
    name = getattr(target, "__module__", None)
    if name != "__main__":
        return name if isinstance(name, str) else ""
    script = sys.modules["__main__"]
    stem, end = os.path.splitext(os.path.basename(getattr(script, "__file__", None) or ""))
    is_known = end == ".py" and stem.isidentifier() and sys.modules.get(stem) is script
    return stem if is_known else name


def name_script() -> None:
    """Let the program's script be found by the name that other processes import it by.

    What its jobs have recorded names its classes in that way, and they are not to be made twice.
    """
    script = sys.modules["__main__"]
    name, end = os.path.splitext(os.path.basename(getattr(script, "__file__", None) or ""))
    # What `python -m` runs is part of a package, and found by that.
    if end == ".py" and getattr(script, "__spec__", None) is None:
        sys.modules.setdefault(name, script)


def is_importing() -> bool:
    """Whether this is called by a module that is being imported because a target is in it."""
    return _importing.get()


def import_target(path: str, allowed: Sequence[str] | None = None) -> Any:
    """Return what an import path leads to.

    Args:
        path: `package.module.Name`, or `package.module:Name`.
        allowed: The modules that may be imported from, with all that is below them; any if None.
            What such a module has imported from another is of that other one.

    Raises:
        TargetUnusable: Nothing is there, it may not be imported, or its import fails.
        ExtraMissing: It needs a package that is not installed.
    """
    parts = path.replace(":", ".").split(".")
    if len(path) > _LONGEST or not all(part.isidentifier() for part in parts):
        raise TargetUnusable(repr(path[:100]), "it is no import path", "write package.module.Name")
    if any(part.startswith("__") for part in parts if part != "__main__"):
        raise TargetUnusable(path, "no part of an import path may begin with two underscores")
    _check_allowed(path, path, allowed)
    if len(parts) == 1:
        raise TargetUnusable(path, "it has no module", "write package.module.Name")
    module, rest = _module_of(path, parts)
    found: Any = module
    for at, name in enumerate(rest):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = ".".join(parts[: len(parts) - len(rest) + at])
            near = near_matches(name, [one for one in dir(found) if not one.startswith("_")])
            advice = f"did you mean {near[0]!r}" if near else None
            raise TargetUnusable(path, f"{where} has no {name!r}", advice) from None
        # A module that is allowed may have imported others, and what is theirs.
        home = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", "")
        if isinstance(home, str) and home:
            _check_allowed(path, home, allowed)
    return found


def _check_allowed(path: str, home: str, allowed: Sequence[str] | None) -> None:
    """Refuse what is of a module that may not be imported from.

    Raises:
        TargetUnusable: It is.
    """
    if allowed is not None and not any(f"{home}.".startswith(f"{one}.") for one in allowed):
        told = ", ".join(allowed) or "none"
        whose = "it is" if home == path else f"it is of {home}, which is"
        raise TargetUnusable(path, f"{whose} not in the modules that are allowed: {told}")


def _module_of(path: str, parts: list[str]) -> tuple[Any, list[str]]:
    """Import the longest part of a path that is a module; returns it and what is left."""
    if parts[0] == "__main__":
        return sys.modules["__main__"], parts[1:]
    module: Any = None
    for end in range(1, len(parts)):
        name = ".".join(parts[:end])
        if module is not None and not hasattr(module, "__path__"):
            return module, parts[end - 1 :]
        # A class or function of a package goes before a module of the same name.
        if (
            module is not None
            and end > 1
            and isinstance(getattr(module, parts[end - 1], None), type)
        ):
            return module, parts[end - 1 :]
        found = _imported(path, name)
        if found is None:
            if module is None:
                raise TargetUnusable(path, f"there is no module {name!r}")
            return module, parts[end - 1 :]
        module = found
    return module, parts[-1:]


def _imported(path: str, name: str) -> Any:
    """Return a module; None if there is none of that name."""
    before = _importing.set(True)
    try:
        return importlib.import_module(name)
    except (KeyboardInterrupt, RunbusError):
        raise
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise TargetUnusable(path, f"{name} cannot be imported: {error}") from error
    except BaseException as error:  # what an import runs may also call sys.exit()
        reason = f"{name} cannot be imported: {type(error).__name__}: {error}"
        raise TargetUnusable(path, reason) from error
    finally:
        _importing.reset(before)
