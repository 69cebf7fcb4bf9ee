"""Folders of experiments on a machine, which are kept there until somebody asks for their end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runbus._ids import is_experiment_id
from runbus.executors._placement import read_placement
from runbus.executors._shell import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["KeptFolder", "idle_script", "kept_folders", "parse_idle"]


class KeptFolder(NamedTuple):
    """What a machine keeps of an experiment: code, logs, and all that jobs wrote there.

    Attributes:
        host: The machine, as its tunnel is called.
        path: The folder on it.
    """

    host: str
    path: str


def kept_folders(experiment_id: str, attempts: Sequence[str]) -> Iterator[KeptFolder]:
    """Yield the folders that attempts of an experiment were sent to, each once.

    Args:
        experiment_id: The experiment.
        attempts: The folders here of its attempts.
    """
    found = set()
    for folder in attempts:
        placement = read_placement(folder)
        if placement is None:
            continue
        top, jobs, _ = placement.folder.rpartition("/jobs/")
        # Nothing but a folder of an experiment is ever removed, whatever a record says.
        if jobs and top.startswith("/") and os.path.basename(top) == experiment_id:
            found.add(KeptFolder(placement.host, top))
    yield from sorted(found) if is_experiment_id(experiment_id) else ()


# A job whose wrapper has not recorded its end may run, on whatever machine of a cluster. What
# cannot be looked through is in use.
_IDLE = b"""\
rb_idle() {
    [ -d "$1" ] && [ ! -L "$1" ] && [ -n "$(find "$1" -prune)" ] || return
    for rb_pid in "$1"/jobs/*/*/pid.json; do
        [ ! -e "$rb_pid" ] || [ -e "${rb_pid%pid.json}exit.json" ] || return
    done
    [ -z "$(find "$1" -mtime -1 2>&1 | head -n 1)" ]
}
"""


def idle_script(paths: Sequence[str], *, removes: bool) -> bytes:
    """Return what prints the numbers of those folders that nothing uses.

    That is those in which nothing was written for a day, and no job has no record of its end.

    Args:
        paths: The folders.
        removes: Whether they are removed, too: at once from their places, and then in the
            background.
    """
    lines = [b"(%s" % _IDLE]
    for number, path in enumerate(paths):
        there, gone = quote(path), quote(f"{path}.removed-part")
        lines.append(b"rb_idle %s && " % there)
        if removes:
            lines.append(
                b"mv %s %s && { rm -rf %s </dev/null >/dev/null & } && " % (there, gone, gone)
            )
        lines.append(b"echo %d\n" % number)
    return b"".join((*lines, b") 2>/dev/null; true\n"))


def parse_idle(output: bytes, paths: Sequence[str]) -> list[str]:
    """Return the folders whose numbers were printed.

    Raises:
        ValueError: It is not an answer to the script.
    """
    numbers = {b"%d" % number: path for number, path in enumerate(paths)}
    try:
        return [numbers[line] for line in output.split()]
    except KeyError:
        raise ValueError("its answer does not say which folders are idle") from None
