"""YAML as the table in docs/concepts/config.md has it."""

from __future__ import annotations

import re

import pytest

from runbus.config._yaml import YamlInvalid, read_yaml


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("\na: !!timestamp nope\n", 2, "'nope' is neither a date nor a time"),
        ("a: !!int x\n", 1, "'x' is not an integer"),
        ("a: !!float x\n", 1, "'x' is not a number"),
        ("a: 0b_\n", 1, "'0b_' is not an integer"),
        (f"a: {'9' * 5000}\n", 1, "a number of 5,000 characters"),
        ("a:\n  <<: 3\n  b: 1\n", 2, "only mappings can be merged"),
        ("a:\n  <<:\n  - 3\n  b: 1\n", 2, "only mappings can be merged"),
        ("[" * 101 + "]" * 101, 1, "nested too deeply: more than 100 levels"),
    ],
)
def test_what_a_value_cannot_be_is_told_in_words_with_its_line(
    text: str, line: int, reason: str
) -> None:
    with pytest.raises(YamlInvalid, match=re.escape(reason)) as caught:
        read_yaml(text)
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["a: &a {}\nb:\n  <<: *a\n  <<: *a\n", "1: a\n\n\ntrue: b\n"])
def test_a_repeated_key_is_told_with_both_lines(text: str) -> None:
    ((_, first, second),) = read_yaml(text).repeated
    assert (first, second) == ((3, 4) if "<<" in text else (1, 4))


def test_a_date_is_one_with_its_tag_and_without() -> None:
    found = read_yaml("- !!timestamp 2026-01-02\n- 2026-01-02\n").data
    assert found[0] == found[1]
