"""The quick reader of YAML reads as the exact one, or leaves a text to it."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from runbus.config._document import _SUSPECT, unusable
from runbus.config._yaml import YamlInvalid, read_yaml
from runbus.config._yaml_quick import UNUSUAL, read_plain_yaml

PIECES = [
    "a", "b", "a: ", "b: ", "'a': ", "- ", "\n", "\n  ", "\n    ", " ", "no", "on", "Yes", "y", "~",
    "0o17", "017", "0x1F", "1_000", "12:30:00", "2026-01-02", "2026-99-99", "1e3", ".inf", "-", "+",
    "&x ", "*x", "<<: ", "<<", "[", "]", "{", "}", ", ", "'", '"', "\\0", "\\ud800", "\0", "!!str ",
    "!!int ", "!x ", "!", "? ", "|\n", ">-\n", "#c", "---\n", "...\n", "%YAML 1.1\n", "\t", "é",
    "9" * 120,
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=20)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
DATA = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=12,
)


def check(text: str) -> Any:
    """Compare what both make of a text; return what the quick one does."""
    quick = read_plain_yaml(text)
    try:
        exact = read_yaml(text)
    except YamlInvalid:
        assert quick is UNUSUAL
        return quick
    if not _SUSPECT.search(text):
        assert unusable(exact.data, ()) is None
    if quick is not UNUSUAL:
        assert exact.repeated == []
        assert repr(quick) == repr(exact.data)  # true is not 1, and NaN is NaN
    return quick


@given(TEXTS)
@example("a: 1\na: 2\n")
@example("1: a\ntrue: b\n")
@example("--- a\n--- b\n")
@example("[" * 100 + "]" * 100)
@example("[" * 101 + "]" * 101)
@example("- &x {a: 1}\n- {<<: *x}\n")
@example("{[a]: b}")
@example("- 2026-99-99\n")
@example('- "\\0"\n')
def test_the_quick_reader_reads_as_the_exact_one(text: str) -> None:
    check(text)


@given(DATA, st.booleans())
def test_what_programs_write_is_read_quickly(data: Any, flow: bool) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=True)

    if not any(mark in text for mark in "!&*?"):
        assert check(text) is not UNUSUAL


def test_the_limits_are_those_of_the_exact_reader() -> None:
    within = f"[{', '.join('1' for _ in range(199_999))}]"

    assert check(within) is not UNUSUAL
    assert check(within.replace("[", "[1, ", 1)) is UNUSUAL
