"""Packages made of packages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from runbus._listed import listed
from runbus.abc import Contents, Entry, Origin, Packager
from runbus.errors import UsageError

__all__ = ["HybridPackager"]


class HybridPackager(Packager):
    """Packages what several packagers choose.

    Args:
        packagers: A list: their files lie together, and where two have the same path the later
            packager wins. A mapping: each lies in a folder of its name.
        extract_at_root: Whether to treat a mapping as a list.

    Raises:
        UsageError: There is no packager, or a name is no plain relative path.
    """

    def __init__(
        self,
        packagers: Annotated[Sequence[Packager] | Mapping[str, Packager], Meta(min_length=1)],
        *,
        extract_at_root: bool = False,
    ) -> None:
        named = dict(packagers) if isinstance(packagers, Mapping) else {}
        given = named.values() if isinstance(packagers, Mapping) else packagers
        kept = listed(given, "packagers", Packager, "packagers")
        if not kept:
            raise UsageError("a hybrid packager needs at least one packager")
        names = [""] * len(kept) if extract_at_root or not named else list(named)
        self.parts = list(zip(names, kept, strict=True))
        for name, _ in self.parts:
            if name and (
                os.path.normpath(name) != name or name.startswith(("/", "..")) or name == "."
            ):
                raise UsageError(f"{name!r} cannot be a folder in a package")

    def contents(self, root: str, scratch: str) -> Contents:
        """Return what the packagers choose.

        Raises:
            UsageError: One of them cannot do it as asked, or a file of one is a folder of another.
        """
        entries: dict[bytes, Entry] = {}
        origins: list[Origin] = []
        tops: set[str] = set()
        for index, (name, packager) in enumerate(self.parts):
            own_scratch = os.path.join(scratch, str(index))
            os.mkdir(own_scratch)
            part = packager.contents(root, own_scratch)
            if part.image is not None:
                raise UsageError(
                    "an image is built of a package as a whole: give the image's packager the "
                    "hybrid one as its packager, not the other way around"
                )
            below = os.fsencode(name)
            if not name:
                tops.add(part.top)
            entries |= {os.path.join(below, path): entry for path, entry in part.entries.items()}
            origins += [
                replace(origin, prefix=os.path.join(name, origin.prefix).removesuffix("/"))
                for origin in part.origins
            ]
        _check_folders(entries)
        # Where folders of several places lie together, none of them is at the top.
        top = tops.pop() if len(tops) == 1 else ""
        return Contents(entries=entries, origins=tuple(origins), top=top)


def _check_folders(entries: dict[bytes, Entry]) -> None:
    """Refuse what no file system can hold: a path that is both a file and a folder."""
    for path in entries:
        parent = os.path.dirname(path)
        while parent:
            if parent in entries:
                shown = parent.decode("utf-8", "backslashreplace")
                raise UsageError(f"{shown!r} is a file in one package and a folder in another")
            parent = os.path.dirname(parent)
