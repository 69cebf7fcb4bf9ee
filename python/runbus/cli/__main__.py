"""`runbus`, and `python -m runbus.cli`."""

from __future__ import annotations

import io
import sys

from runbus.cli._app import run_command

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal has no bytes for must not take the rest with it.
        sys.stdout.reconfigure(errors="replace")
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
