"""The help of each command is a golden file: `make docs` writes it into the reference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest
from docs.generate import pages

import runbus
from runbus import catalog
from runbus.catalog._fields import FIELDS
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


def test_no_command_prints_the_help_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([]) == 2

    assert capsys.readouterr().err.splitlines()[0] == "Usage: runbus [OPTIONS] COMMAND [ARGS]..."


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--lr", "arguments of the script go after --"),
        ("--swep", "did you mean --seed or --sweep; arguments of the script go after --"),
    ],
)
def test_an_unknown_option_of_run_may_be_meant_for_the_script(
    option: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "train.py", option, "0.1"]) == 2

    assert capsys.readouterr().err == f"error: no such option '{option}'\nhint: {hint}\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["show", "latest"], "runs"),
        (["show", "first"], "runs"),
        (["status"], "experiments"),
        (["cancel", "first"], "experiments"),
    ],
)
def test_a_home_without_runs_is_told_as_such(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words) == 1

    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: there are no {what} yet"
    assert "makes one" in hint
    runbus.init(project="p").finish()
    assert run_command(["show", ""]) == 1
    assert capsys.readouterr().err.startswith("error: no run named ''")


@pytest.mark.parametrize("name", [*COMMANDS])
def test_a_run_is_named_in_the_same_words_everywhere(name: str) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    told = " ".join((command.help or "").split())
    usage = command.collect_usage_pieces(click.Context(command))
    if any(re.match(r"(\w+_)?RUN\b", piece) for piece in usage):
        assert "an id or a part of one, " in told
        assert "a name (the newest run of that name)" in told


def test_help_of_query_and_ls_lists_every_column() -> None:
    query, ls = (app.get_command(click.Context(app), name) for name in ("query", "ls"))
    assert query is not None
    assert ls is not None
    for table in ("runs", "metrics"):
        columns, _ = catalog.query(f"SELECT * FROM {table}")
        assert f"{table} ({', '.join(columns)})" in " ".join((query.help or "").split())
    listed = next(one for one in ls.params if one.name == "columns")
    assert ", ".join(FIELDS) in str(listed.to_info_dict()["help"])
