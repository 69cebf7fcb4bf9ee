"""Names do nothing to a terminal: their control characters are shown, not sent."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runbus
from runbus.cli._app import run_command
from runbus.cli._live_row import Row
from runbus.cli._live_rows import picture_of
from runbus.cli._printer import escaping, print_error, print_json, printable
from runbus.cli._table import print_table
from runbus.events import MetricBatch

NAME = "a\x1b[31m\nb\x9bc"
SHOWN = r"a\x1b[31m\nb\x9bc"


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "words", [["ls"], ["show", "latest"], ["metrics", "latest"], ["metrics", "latest", NAME]]
)
def test_what_a_run_calls_things_is_shown_escaped(
    words: list[str],
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with runbus.init(name=NAME) as run:
        run.log({NAME: 1.0})
        run.tag(NAME)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)

    assert run_command(words) == 0

    printed = capsys.readouterr().out
    assert SHOWN in printed
    assert NAME not in printed
    assert "\x1b[31m" not in printed
    # Not "b" alone: a random id may begin with it.
    assert not any(line.lstrip().startswith(("b\x9b", r"b\x9b")) for line in printed.split("\n"))


def test_a_note_of_several_lines_is_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    with runbus.init() as run:
        run.note("one\ntwo\x1b[31m")

    run_command(["show", "latest"])

    assert "note      one\n          two\\x1b[31m\n" in capsys.readouterr().out


def test_json_has_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    runbus.init(name=NAME).finish()

    run_command(["ls", "--json"])

    assert json.loads(capsys.readouterr().out)[0]["name"] == NAME


def test_progress_and_result_show_the_names_of_jobs_escaped_and_their_logs_as_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [{"name": name, "command": ["printf", "\\033[32mgreen\\n"]} for name in (NAME, "other")]
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "p", "jobs": jobs}))

    assert run_command(["submit", str(path)]) == 0

    captured = capsys.readouterr()
    assert f"{SHOWN} | started on" in captured.err
    assert f"{SHOWN} | \x1b[32mgreen" in captured.err
    assert f"{'other':<{len(SHOWN)}} | SUCCEEDED" in captured.err
    assert SHOWN in captured.out
    assert NAME not in captured.err + captured.out


def test_a_name_is_no_markup_in_the_head_of_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    print_table(["name", "[red]loss"], [["a", "1"]])

    assert "[red]loss" in capsys.readouterr().out


def test_the_live_table_shows_names_escaped_and_reads_no_markup() -> None:
    row = Row(NAME + "[red]", None)
    row.measure(
        MetricBatch(
            run_id="e-1",
            writer="w",
            names=(NAME,),
            series=bytes(4),
            steps=bytes(8),
            times=bytes(8),
            values=bytes(8),
        )
    )
    row.bar = b"50%\x1b[31m\x1b[A"

    _, line = picture_of([row], columns=200, height=24)

    assert line.startswith(SHOWN + "[red]")
    assert f"{SHOWN} 0  50%\\x1b[A" in line


BAD = "\x07\x08\r\x1b]0;title\x07\x9b31m\u202e\u2066\u200f\x7f"


@pytest.mark.parametrize(
    "words",
    [
        ["show", "{}"],
        ["{}"],
        ["ls", "--{}"],
        ["seal", "{}"],
        ["artifacts", "latest", "{}"],
        ["metrics", "latest", "{}"],
        ["query", "SELECT '{}' AS a"],
        ["query", "{}"],
        ["query", "--json", "SELECT '{}' AS a"],
        ["ls", "--json"],
        ["show", "latest", "--json"],
        ["run", "{}.py"],
        ["submit", "{}.yaml"],
        ["why", "{}"],
        ["replay", "{}"],
        ["--debug", "submit", "{}.yaml"],
    ],
    ids=" ".join,
)
def test_nothing_that_is_written_moves_the_cursor(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with runbus.init(name=f"n{BAD}", project="p", config={f"k{BAD}": f"v{BAD}"}) as run:
        run.log({f"m{BAD}": 1.0})
        run.tag(f"t{BAD}")
    run_command([word.replace("{}", f"x{BAD}y") for word in words])

    captured = capfd.readouterr()
    written = captured.out + captured.err
    assert written
    assert not set(written) & (set(BAD) - set("]031;mtitle"))


def test_a_warning_of_a_damaged_run_is_escaped_like_everything_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(runbus.init(name="x").folder, "metrics", "a\x1b[31m.journal")
    path.write_bytes(b"no journal at all")

    run_command(["show", "latest"])
    run_command(["doctor"])

    captured = capsys.readouterr()
    assert "\x1b[31m" not in captured.out + captured.err
    assert r"a\x1b[31m.journal" in captured.out + captured.err


def test_json_stays_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    name = "".join(map(chr, range(1, 0x2070))).replace('"', "")
    runbus.init(name=name).finish()

    run_command(["ls", "--json"])

    printed = capsys.readouterr().out
    assert json.loads(printed)[0]["name"] == name
    assert not set(printed) & {"\x9b", "\u202e", "\x7f"}


def turns_or_moves(character: str) -> bool:
    """Whether Unicode says that a character is a control, ends a line or turns the direction."""
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return (
        unicodedata.category(character) in {"Cc", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in turns
        or character in "\u061c\u200e\u200f"
    )


def test_every_character_that_unicode_calls_a_control_is_escaped_and_no_other() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        assert (printable(character) == character) is not turns_or_moves(character)


@given(st.text(st.characters(), max_size=20))
def test_whatever_is_printed_passes_one_place(text: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), escaping():
        print(text)
        print_error(text, text)
        print_table([text], [[text]])
        print_json({"name": text})
        click.echo(text)
        click.echo(text, err=True)

    for character in out.getvalue() + err.getvalue():
        assert character in "\n\t" or not turns_or_moves(character)
