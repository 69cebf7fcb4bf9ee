"""Batch files that are made to harm: small ones that grow, large ones that say nothing."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from runbus.config import load_batch
from runbus.errors import BatchInvalid

if TYPE_CHECKING:
    from pathlib import Path

JOB = 'jobs: [{name: a, command: ["true"]}]\n'


def refusal(path: Path, text: str) -> str:
    path.write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(BatchInvalid) as raised:
            load_batch(str(path))
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    return raised.value.problems[0].removeprefix(f"{path}")


def layers(first: str, of_next: str, count: int) -> str:
    """Return anchors each of which names the one before nine times."""
    text = f"a0: &a0 {first}\n"
    for number in range(1, count):
        before = ", ".join([f"*a{number - 1}"] * 9)
        text += f"a{number}: &a{number} {of_next.format(before)}\n"
    return text


@pytest.mark.parametrize(
    "text",
    [
        layers("[x, x]", "[{}]", 10),
        layers("{k: v}", "{{<<: [{}]}}", 10),
        layers("[x, x]", "{{k: [{}]}}", 12),
    ],
    ids=["lists", "merges", "mappings"],
)
def test_aliases_that_multiply_are_refused_before_they_do(tmp_path: Path, text: str) -> None:
    assert "more than 200,000 keys and values" in refusal(tmp_path / "a.yaml", text + JOB)


def test_a_long_text_is_not_multiplied_by_aliases(tmp_path: Path) -> None:
    text = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 100)}]\n"

    assert "more than 200,000 keys and values" in refusal(tmp_path / "a.yaml", text + JOB)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: {c: *a}}\n"])
def test_an_alias_inside_of_what_it_stands_for_is_refused(tmp_path: Path, text: str) -> None:
    assert "holds itself" in refusal(tmp_path / "a.yaml", text + JOB)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "x: {}\n"),
        ("a.json", '{{"x": {}}}'),
        ("a.toml", "x = {}\n"),
    ],
)
@pytest.mark.parametrize(
    "number", ["9" * 5000, "9" * 200, "0x" + "f" * 5000], ids=["5000", "200", "hexadecimal"]
)
def test_a_number_of_thousands_of_digits_is_refused(
    tmp_path: Path, name: str, text: str, number: str
) -> None:
    assert refusal(tmp_path / name, text.format(number)).startswith(":1: ")


@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.toml"])
def test_what_is_nested_too_deeply_is_refused(tmp_path: Path, name: str) -> None:
    text = "[" * 10_000 if name != "a.toml" else "x = " + "[" * 10_000

    assert refusal(tmp_path / name, text).startswith(":1: ")


def test_a_key_of_thousands_of_parts_is_refused_at_once(tmp_path: Path) -> None:
    for dot in (".", " . "):
        for part in ("a", "'a b'", '"a.b"'):
            text = dot.join([part] * 20_000) + " = 1\n"

            assert "nested too deeply" in refusal(tmp_path / "a.toml", text)


@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.toml"])
@pytest.mark.parametrize("character", ["\0", "\x1b"], ids=["NUL", "ESC"])
def test_a_character_that_no_text_has_is_refused_with_its_line(
    tmp_path: Path, name: str, character: str
) -> None:
    text = {"a.yaml": "x: '{}'", "a.json": '{{"x": "{}"}}', "a.toml": 'x = "{}"'}[name]

    assert refusal(tmp_path / name, "\n" + text.format(character)).startswith(":2: ")


def test_a_file_of_comments_is_refused_by_its_size(tmp_path: Path) -> None:
    text = JOB + "# nothing\n" * (1 << 20)

    assert "8,388,608 are the most" in refusal(tmp_path / "a.yaml", text)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")

    with pytest.raises(BatchInvalid, match="it is a pipe"):
        load_batch(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("value", [".inf", ".nan", "1e300"])
def test_a_job_waits_no_endless_time_for_its_next_attempt(tmp_path: Path, value: str) -> None:
    text = f"project: p\njobs:\n  - name: a\n    command: ['true']\n    backoff: {value}\n"

    assert "jobs[0].backoff: expected float" in refusal(tmp_path / "a.yaml", text)


def test_times_of_day_are_texts_and_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "project: p\njobs:\n  - name: a\n    command: ['true']\n"
        "    config: {at: 1:30:00, lap: 1:30.5, n: 1_000, x: 0x1f, e: 1e3, f: 2.5E-3, i: -.inf}\n"
    )
    config = load_batch(str(path)).jobs[0].config

    assert config == {
        "at": "1:30:00",
        "lap": "1:30.5",
        "n": 1000,
        "x": 31,
        "e": 1000.0,
        "f": 0.0025,
        "i": float("-inf"),
    }
    path.write_text("project: p\njobs:\n  - name: a\n    command: ['true']\n    timeout: 1:30:00\n")
    assert load_batch(str(path)).jobs[0].timeouts.run_s == 5_400
