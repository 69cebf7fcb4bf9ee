"""Writes the reference pages from the code: `make docs`. A test checks that they are fresh."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from docs.architecture_page import architecture_page
from docs.attempt_page import attempt_page
from docs.errors_page import errors_page
from runbus.cli._app import COMMANDS, app
from runbus.config import batch_schema
from runbus.plugins import Selection, selecting

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"


def help_of(*words: str) -> str:
    """Return the help of a command, 80 columns wide."""
    context = click.Context(app, info_name="runbus", **app.context_settings)
    command: click.Command = app
    for word in words:
        found = app.get_command(context, word)
        assert found is not None
        command, context = found, click.Context(found, info_name=word, parent=context)
    context.terminal_width = 80
    return command.get_help(context) + "\n"


def cli_page() -> str:
    """Return the page of every command and option."""
    with selecting(Selection.none()):  # what is installed here is nobody else's
        return _cli_page()


def _cli_page() -> str:
    parts = ["# The command line\n\nMade by `make docs`.\n"]
    parts += [
        f"## {' '.join(('runbus', *words))}\n\n```text\n{help_of(*words)}```\n"
        for words in ((), *((name,) for name in COMMANDS))
    ]
    return "\n".join(parts)


def batch_page() -> str:
    """Return the JSON Schema of a batch file."""
    return json.dumps(batch_schema(built_in=True), indent=2) + "\n"


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    from runbus.events._catalog import events_page

    return {
        DOCS / "architecture.md": architecture_page(),
        REFERENCE / "attempt.md": attempt_page(),
        REFERENCE / "cli.md": cli_page(),
        REFERENCE / "errors.md": errors_page(),
        REFERENCE / "events.md": events_page(),
        REFERENCE / "batch.schema.json": batch_page(),
    }


def main() -> int:
    for path, text in pages().items():
        path.write_text(text)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
