"""A plugin that was found, before anything of it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FoundPlugin", "Source", "bad_name"]


class Source:
    """The distribution that brings plugins; its metadata are read when somebody asks.

    Args:
        read: Returns its name and version.
    """

    __slots__ = ("_about", "_read")

    def __init__(self, read: Callable[[], tuple[str, str]]) -> None:
        self._read = read
        self._about: tuple[str, str] | None = None

    @property
    def about(self) -> tuple[str, str]:
        """Its name and version; empty where its metadata do not tell."""
        if self._about is None:
            self._about = self._read()
        return self._about


class FoundPlugin(NamedTuple):
    """Where a plugin of a name is, and what is known of it without importing it.

    Attributes:
        name: Its name.
        target: What is imported: `module:Name` of an entry point, `Name` in a file.
        group: The group of its entry point; empty if it has none.
        source: What installed it; None if nothing did.
        path: The file, or the folder of a package, that it is in; empty if it was found otherwise.
        value: The class, function or plugin itself, registered in Python; None if it was not.
        problem: Why it cannot be loaded; empty if nothing is known against it.
        hidden_by: The origin of the plugin of the same name that goes before; empty if none does.
    """

    name: str
    target: str
    group: str = ""
    source: Source | None = None
    path: str = ""
    value: object = None
    problem: str = ""
    hidden_by: str = ""

    @property
    def is_unread(self) -> bool:
        """Whether it stands for a file that was not read: what plugins are in it is not known."""
        return bool(self.path and self.problem and not self.target)

    @property
    def distribution(self) -> str:
        """What installed it; empty if nothing did."""
        return self.source.about[0] if self.source is not None else ""

    @property
    def version(self) -> str:
        """The version of what installed it; empty if nothing did."""
        return self.source.about[1] if self.source is not None else ""

    @property
    def by(self) -> str:
        """Name and version of what installed it; empty if nothing did."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def origin(self) -> str:
        """Where it comes from, for a person to read."""
        if self.group:
            return f"entry point {self.by or self.target}"
        return f"folder {self.path}" if self.path else "registered in Python"


def bad_name(name: str) -> str:
    """Return why a plugin may not have a name; empty if it may."""
    if not name.strip():
        return "its name is empty"
    return "" if name.isprintable() else "its name has control characters"
