"""What is recorded is what is read, whatever it is called and however it came."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runbus
from runbus._secrets import REDACTED, is_secret_name, redacted
from runbus.metrics._artifacts import ArtifactStore, digest, path_of
from runbus.metrics._values import flatten

pytestmark = pytest.mark.usefixtures("home")
relaxed = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(st.characters(codec="utf-8"), max_size=50)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)
ugly_names = st.one_of(
    names,
    st.lists(
        st.sampled_from(["..", ".", "/", "a", "\0", "\n", "~", "-", "é", ".d"]), min_size=1
    ).map("".join),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
params = st.recursive(
    st.dictionaries(names, values, max_size=4),
    lambda inner: st.dictionaries(names, values | inner, max_size=4),
    max_leaves=8,
)


@relaxed
@given(st.lists(params, max_size=4))
def test_params_are_the_last_values_of_all_leaves(calls: list[dict[str, Any]]) -> None:
    expected: dict[str, Any] = {}
    with runbus.init() as run:
        for given_params in calls:
            leaves = list(flatten(redacted(given_params)))
            if len({name for name, _ in leaves}) < len(leaves):
                with pytest.raises(ValueError, match="occurs twice"):
                    run.params(given_params)
                continue
            run.params(given_params)
            expected |= leaves

    found = runbus.open_run(run.id).params
    assert found == expected
    assert list(map(repr, found.values())) == [repr(expected[name]) for name in found]


@relaxed
@given(st.dictionaries(names, values), st.sampled_from(["password", "hf_token", "x/api_key"]))
def test_a_secret_is_nowhere_in_what_is_recorded(others: dict[str, Any], name: str) -> None:
    hidden = "q7-hidden-z3"
    with runbus.init(config={name: hidden, "deep": [{name: hidden}]}) as run:
        run.params({**others, name: hidden})

    for path in Path(run.folder).rglob("*"):
        assert path.is_dir() or hidden.encode() not in path.read_bytes()


@given(st.dictionaries(texts, values | st.dictionaries(texts, values)))
def test_redaction_changes_only_what_has_a_secrets_name(mapping: dict[str, Any]) -> None:
    once = redacted(mapping)

    assert redacted(once) == once
    assert list(once) == list(mapping)
    for key, value in mapping.items():
        if is_secret_name(key) and not isinstance(value, bool | None):
            assert once[key] == REDACTED
        elif not isinstance(value, dict) and "://" not in json.dumps(value):
            assert once[key] == value


@relaxed
@given(st.lists(st.tuples(names, texts, st.none() | st.integers(-(2**63), 2**63 - 1)), max_size=8))
def test_texts_come_back_in_their_order(logged: list[tuple[str, str, int | None]]) -> None:
    with runbus.init() as run:
        for name, text, step in logged:
            run.log_text(name, text, step)

    found = runbus.open_run(run.id).text()
    assert [(one.name, one.text, one.step) for one in found] == logged


@relaxed
@given(st.data())
def test_tags_are_a_set_in_order(data: st.DataObject) -> None:
    expected: dict[str, None] = {}
    with runbus.init() as run:
        for _ in range(data.draw(st.integers(0, 8))):
            given_tags = data.draw(st.lists(st.sampled_from("abcdef"), max_size=3))
            if data.draw(st.booleans()):
                run.tag(*given_tags)
                expected |= dict.fromkeys(given_tags)
            else:
                run.untag(*given_tags)
                for tag in given_tags:
                    expected.pop(tag, None)

    assert runbus.open_run(run.id).tags == list(expected)


@relaxed
@given(st.lists(st.tuples(ugly_names, st.binary(max_size=20)), max_size=10))
def test_content_is_kept_once_inside_and_found_again(
    tmp_path_factory: pytest.TempPathFactory, kept: list[tuple[str, bytes]]
) -> None:
    folder = str(tmp_path_factory.mktemp("run"))
    stores = [ArtifactStore(folder, "one"), ArtifactStore(folder, "two")]
    for number, (name, data) in enumerate(kept):
        content = stores[number % 2].keep_bytes(data, name)
        path = path_of(folder, content)
        assert path is not None
        assert os.path.realpath(path).startswith(
            os.path.join(os.path.realpath(folder), "artifacts/")
        )
        assert Path(path).read_bytes() == data
        assert digest(path) == content.sha256

    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in files) == sorted({data for _, data in kept})


@relaxed
@given(
    st.lists(
        st.fixed_dictionaries(
            {"text": texts, "number": st.integers(-(2**53), 2**53), "flag": st.booleans()}
        ),
        max_size=5,
    )
)
def test_a_table_of_rows_is_the_rows_line_by_line(rows: list[dict[str, Any]]) -> None:
    with runbus.init() as run:
        run.log_table("by row", rows)
        run.log_table(
            "by column", {key: [row[key] for row in rows] for key in ("text", "number", "flag")}
        )

    for table in runbus.open_run(run.id).tables():
        assert [json.loads(line) for line in Path(table.path).read_bytes().splitlines()] == rows
