"""Variables of the environment that set values, such as `RUNBUS__MODEL__WIDTH`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["variables"]


def variables(prefix: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the variables that set a value: name, path and text, in the order of their names.

    Args:
        prefix: What their names begin with, without the two underscores after it.
        environ: The environment.

    Raises:
        UsageError: Two of them set the same value: their names differ in their case only.
    """
    begin = f"{prefix}__"
    seen: dict[str, str] = {}
    for name in sorted(environ):
        if name.startswith(begin) and len(name) > len(begin):
            text = name.removeprefix(begin).replace("__", ".")
            first = seen.setdefault(text.lower(), name)
            if first != name:
                raise UsageError(f"{first} and {name} set the same value; unset one of them")
            yield name, text, environ[name]
