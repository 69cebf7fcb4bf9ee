"""`runbus top`."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from runbus.cli._printer import print_json, unescaped
from runbus.cli._top import SORTS, Look, SampledRun, picture
from runbus.metrics import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.metrics import LocalMachine

__all__ = ["command"]

_NEWEST = 200
_RUNS = 20
"""So many runs are shown: those that are going on among the newest."""

_FIRST_S = 0.2
"""Rates need two looks."""

_FASTEST_S, _SLOWEST_S = 0.25, 60.0
_KEYS = "q quit  p pause  s sort by {sort}  + - every {every:g} s"


@click.command("top")
@click.option(
    "--every",
    type=click.FloatRange(_FASTEST_S, _SLOWEST_S),
    default=1.0,
    metavar="SECONDS",
    help="How often to look [default: 1].",
)
@click.option("--sort", type=click.Choice(SORTS), default="cpu", help="What comes first.")
@click.option("--once", is_flag=True, help="Look once, as without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Look once, and print a JSON object.")
def command(every: float, sort: str, once: bool, as_json: bool) -> None:
    """Show what this machine, its GPUs and the runs that are going on do.

    Runs are those of the home folder, wherever they run, with the last that was sampled of them.

    On a terminal the picture is drawn again each second until q is pressed; p pauses, s sorts
    differently, + and - look more often and more seldom. Elsewhere it is printed once.
    """
    from runbus.metrics import LocalMachine, System

    machine = LocalMachine(_folder(), System(gpus="all"))
    if as_json:
        time.sleep(_FIRST_S)
        print_json(_told(_look(machine)))
    elif once or not sys.stdout.isatty():
        time.sleep(_FIRST_S)
        columns, rows = (1 << 20, 1 << 20) if not sys.stdout.isatty() else _size()
        for line in picture(_look(machine), columns, rows, sort=sort):
            click.echo(line)
    else:
        with suppress(KeyboardInterrupt):
            _watch(machine, every, sort)


def _folder() -> str | None:
    """Return the folder whose disk is shown: the home, or what it will be in."""
    from runbus._home import Home

    folder = Home().path
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def _watch(machine: LocalMachine, every: float, sort: str) -> None:
    """Draw the machine again and again until `q`."""
    out = unescaped(sys.stdout)
    with _whole_screen(out.fileno()) as has_keys:
        look, is_paused, wait = _look(machine), False, _FIRST_S
        while True:
            keys = _keys(wait, has_keys=has_keys)
            for key in keys:
                match key:
                    case "q" | "\x1b" | "\x03" | "\x04":
                        return
                    case "p" | " ":
                        is_paused = not is_paused
                    case "s":
                        sort = SORTS[(SORTS.index(sort) + 1) % len(SORTS)]
                    case "+" | "-":
                        every *= 0.5 if key == "+" else 2
                        every = min(_SLOWEST_S, max(_FASTEST_S, every))
            if not is_paused and not keys:
                look = _look(machine)
            columns, rows = _size()
            foot = _KEYS.format(sort=sort, every=every) if has_keys else ""
            foot += "  paused" if is_paused else ""
            lines = picture(look, columns, rows, sort=sort, foot=foot)
            # Each line is drawn over the one before: a cleared screen would flicker.
            out.write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")
            out.flush()
            wait = every


@contextmanager
def _whole_screen(file: int) -> Iterator[bool]:
    """Have the terminal's other screen, and its keys one by one; whether there are keys."""
    import termios
    import tty

    out = unescaped(sys.stdout)
    keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    before = None if keys is None else termios.tcgetattr(keys)
    # However it is ended, the terminal is given back.
    ended = signal.signal(signal.SIGTERM, signal.default_int_handler)
    out.write("\x1b[?1049h\x1b[?25l")
    try:
        if keys is not None:
            tty.setcbreak(keys)
        yield keys is not None
    finally:
        out.write("\x1b[?25h\x1b[?1049l")
        out.flush()
        if keys is not None and before is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, ended)


def _keys(longest: float, *, has_keys: bool) -> str:
    """Return what is typed within so many seconds; `q` if the terminal is gone."""
    if not has_keys:
        time.sleep(longest)
        return ""
    file = sys.stdin.fileno()
    ready, _, _ = select.select([file], [], [], longest)
    if not ready:
        return ""
    return os.read(file, 64).decode("ascii", "replace") or "q"


def _size() -> tuple[int, int]:
    from runbus.cli._screen import Screen

    return Screen(sys.stdout.fileno()).size()


def _look(machine: LocalMachine) -> Look:
    return Look(machine.read(), machine.heaviest(), list(_runs()), time.time_ns())


def _runs() -> Iterator[SampledRun]:
    """Yield the runs that are going on, the newest first."""
    from runbus.catalog import runs
    from runbus.errors import RunbusError

    shown = 0
    for run in reversed(runs(newest=_NEWEST)):
        with suppress(RunbusError, OSError):  # one that is removed meanwhile, or damaged
            if run.state != "RUNNING":
                continue
            last = {
                name: summary.last
                for name, summary in run.summaries().items()
                if name.startswith(SAMPLES)
            }
            yield SampledRun(run.id, run.name, last)
            shown += 1
        if shown == _RUNS:
            return


def _told(look: Look) -> dict[str, object]:
    return {
        "time_ns": look.time_ns,
        "machine": dict(look.values),
        "processes": [one._asdict() for one in look.processes],
        "runs": [one._asdict() for one in look.runs],
    }
