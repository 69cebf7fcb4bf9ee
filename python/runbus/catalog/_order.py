"""The order of experiments in lists, and how many of them an index is asked about at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runbus._secrets import redacted_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runbus._home import Home

__all__ = ["looked_at"]

_FIRST_LOOK, _LOOK_AHEAD = 64, 4_096
"""So many experiments are looked for in the index at once: first those that a screen shows."""


class _Looks(Protocol):
    def look_at(self, folders: Iterable[str], /) -> None: ...


def looked_at(
    home: Home, project: str | None, index: _Looks, closed: dict[str, str]
) -> Iterator[str]:
    """Yield the folders of experiments, the newest first, once an index has looked for them.

    Args:
        home: The home.
        project: The project; all if None.
        index: The index.
        closed: Takes up why the folder of a project cannot be read, by its path.

    Raises:
        HomeUnusable: The home folder cannot be read.
    """
    title = None if project is None else redacted_text(project)  # as its folder is called
    folders = list(home.experiment_folders(title, problems=closed))
    folders.sort(key=lambda folder: folder.rpartition("/")[2], reverse=True)
    for at, folder in enumerate(folders):
        if at % _LOOK_AHEAD == 0 or at == _FIRST_LOOK:
            end = at + _LOOK_AHEAD - at % _LOOK_AHEAD if at else _FIRST_LOOK
            index.look_at(folders[at:end])
        yield folder
