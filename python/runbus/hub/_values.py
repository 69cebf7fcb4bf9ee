"""The values of a hub's file: variables and secrets in the place of the mappings that name them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from runbus._files import absolute_path
from runbus._secrets import Secret
from runbus.config import Word, fields_of
from runbus.errors import ConfigProblem, RunbusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.config import Loaded

    Path = tuple[str | int, ...]

__all__ = ["Values"]

_LOOKS_LIKE_A_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)[^}]*\}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Values:
    """Reads values of a file; collects what is wrong, and what is hardly meant.

    Args:
        loaded: The file.
        environment: Where variables are looked for.

    Attributes:
        problems: What is wrong.
        hints: What is hardly meant.
    """

    def __init__(self, loaded: Loaded, environment: Mapping[str, str]) -> None:
        self._loaded = loaded
        self._environment = environment
        self._secret: set[str] = set()
        self.problems: list[ConfigProblem] = []
        self.hints: list[ConfigProblem] = []

    def read(self, value: Any, at: Path, *, takes: Any = None) -> Any:
        """Return a value with what its mappings name in their place.

        Args:
            value: The value.
            at: Where in the file it is.
            takes: The class that takes the values of a mapping as its fields; one that wants a
                `Secret` gets what names it.
        """
        if isinstance(value, str):
            self._look_at(value, at)
            return value
        if isinstance(value, list):
            return [self.read(one, (*at, index)) for index, one in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if set(value) == {"secret"}:
            return self._read_secret(value["secret"], at)
        if "env" in value and set(value) <= {"env", "default"}:
            return self._read_variable(value, at)
        keeps = _wants_secrets(takes) if takes is not None else ()
        return {
            key: one if key in keeps else self.read(one, (*at, str(key)))
            for key, one in value.items()
        }

    def _read_variable(self, value: dict[str, Any], at: Path) -> Any:
        name = value["env"]
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            self.wrong((*at, "env"), "expected the name of a variable")
            return None
        if name in self._environment:
            return Word(self._environment[name])
        if "default" not in value:
            self.wrong(at, f"the variable {name} is not set, and there is no default")
        return value.get("default")

    def _read_secret(self, place: Any, at: Path) -> Any:
        folder = os.path.dirname(absolute_path(self._loaded.origin(at).source))
        try:
            if not isinstance(place, str):
                raise TypeError
            secret = Secret(place).relative_to(folder)
            found = Word(secret.value())
        except TypeError:
            self.wrong(at, "a secret is env:NAME or file:PATH")
            return None
        except RunbusError as error:
            self.wrong(at, str(error))
            return None
        self._secret.add(_text(at))
        return found

    def _look_at(self, text: str, at: Path) -> None:
        if found := _LOOKS_LIKE_A_VARIABLE.search(text):
            reason = f"this is a text, not a variable: write {{env: {found[1]}}} for its value"
            self.hints.append(self._problem(at, reason))

    # -- mistakes

    def wrong(self, at: Path, reason: str, near: tuple[str, ...] = ()) -> None:
        """Add a mistake."""
        self.problems.append(self._problem(at, reason, near))

    def wrong_value(self, problem: ConfigProblem, at: Path) -> None:
        """Add a mistake that was found in the values of a mapping; a secret is not repeated.

        Args:
            problem: The mistake, with its path within the mapping.
            at: Where the mapping is.
        """
        joint = "" if problem.path.startswith("[") or not problem.path else "."
        path = f"{_text(at)}{joint}{problem.path}"
        if any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in self._secret):
            wanted = f": expected {problem.expected}" if problem.expected else ""
            problem = problem._replace(reason=f"the secret does not fit{wanted}", found="***")
        self.problems.append(problem._replace(path=path))

    def _problem(self, at: Path, reason: str, near: tuple[str, ...] = ()) -> ConfigProblem:
        source, line = self._loaded.origin(at)
        return ConfigProblem(_text(at), reason, near=near, origin=source, line=line)


def _text(at: Path) -> str:
    steps = (f"[{one}]" if isinstance(one, int) else f".{one}" for one in at)
    return "".join(steps).removeprefix(".")


def _wants_secrets(takes: Any) -> tuple[str, ...]:
    """Return the fields of a class that are secrets by their type, not texts."""
    try:
        fields = fields_of(takes)
    except RunbusError:  # it is told where the values are given to it
        return ()
    return tuple(name for name, field in fields.items() if field.type is Secret)
