"""The help of each command is a golden file: `make docs` writes it into the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from docs.generate import pages

from runbus.cli._app import COMMANDS, app, run_command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", list(pages()), ids=lambda path: path.name)
def test_a_generated_page_is_fresh(path: Path) -> None:
    assert path.read_text() == pages()[path], "run make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_the_first_line_of_its_help(name: str) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    assert (command.help or "").startswith(COMMANDS[name].rstrip("."))


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    run_command([])

    printed = capsys.readouterr()
    assert "Commands:" in printed.out + printed.err
