"""`runbus config export`: what is written is read back as the same, or refused."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbus.cli._app import run_command
from runbus.config import data_text, load, read_file
from runbus.config._tree import same
from runbus.errors import ConfigInvalid

_ZONES = st.sampled_from([None, datetime.UTC])
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
    | st.sampled_from(["2026-13-45", "no", "<<", "1e3", "-"])
    | st.binary(max_size=4)
    | st.dates()
    | st.datetimes(timezones=_ZONES).map(lambda one: one.replace(fold=0))
)
_NAMES = st.text("abc", min_size=1, max_size=2)
_KEYS = _NAMES | st.none() | st.integers(2, 9) | st.binary(max_size=2)
_VALUES = st.recursive(
    _SCALARS | st.sets(st.integers() | st.text("ab", max_size=2), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("form", ["yaml", "toml", "json"])
@settings(max_examples=40)
@given(data=st.dictionaries(_NAMES, _VALUES, max_size=3))
def test_data_of_any_types_is_read_back_as_the_same(
    form: str, data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / f"again.{form}"
    file.write_text(data_text(data, form), newline="")

    assert same(read_file(str(file)).value, data)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_export_keeps_what_a_file_says_between_all_forms(folder: Path) -> None:
    Path("a.yaml").write_text(
        "b: !!binary aGk=\nd: 2026-01-02\nt: 2026-01-02 03:04:05\ns: !!set {x, y}\n"
        "m: {null: 1, true: 2, 3: 4}\n_sweep_: {d: [1, 2]}\n"
    )
    for old, new in (("a.yaml", "b.json"), ("b.json", "c.toml"), ("c.toml", "d.yaml")):
        assert run_command(["config", "export", old, new]) == 0
        assert load(new, dict) == load("a.yaml", dict)
    assert read_file("d.yaml").axes == {"d": [1, 2]}


def test_a_key_at_the_top_that_a_form_cannot_have_is_refused(folder: Path, capsys: Any) -> None:
    Path("a.yaml").write_text("1: x\n")
    assert run_command(["config", "export", "a.yaml", "b.yaml"]) == 0
    assert read_file("b.yaml").value == {1: "x"}
    assert run_command(["config", "export", "a.yaml", "b.json"]) == 2
    assert "the key 1 is not a text" in capsys.readouterr().err
    assert not Path("b.json").exists()


def test_diff_takes_keys_of_any_type_and_tells_differences_from_errors(
    folder: Path, capsys: Any
) -> None:
    Path("a.yaml").write_text("1: x\n")
    Path("b.yaml").write_text("1: y\n'1': x\n")
    assert run_command(["config", "diff", "a.yaml", "a.yaml"]) == 0
    capsys.readouterr()
    assert run_command(["config", "diff", "a.yaml", "b.yaml"]) == 1
    assert capsys.readouterr().out == "~ 1: 'x' → 'y'\n+ 1: 'x'\n"
    assert run_command(["config", "diff", "a.yaml", "no-such-run"]) == 2


def test_a_text_that_no_file_can_hold_is_refused_by_its_place(folder: Path, capsys: Any) -> None:
    import runbus

    with runbus.init(name="one", config={"a": {"name": "\udcff"}}):
        pass
    for form in ("yaml", "toml", "json"):
        assert run_command(["config", "export", "one", f"x.{form}"]) == 2
        assert "a.name: an unpaired surrogate is not valid text" in capsys.readouterr().err
        assert not Path(f"x.{form}").exists()


def test_errors_of_writing_name_the_file_that_was_asked_for(folder: Path, capsys: Any) -> None:
    Path("a.yaml").write_text("a: 1\n")
    assert run_command(["config", "export", "a.yaml", "none/x.yaml"]) != 0
    err = capsys.readouterr().err
    assert "none/x.yaml" in err
    assert ".new" not in err
    assert run_command(["config", "export", "a.yaml", "x.py"]) == 2
    assert "nothing is imported here" in capsys.readouterr().err


def test_a_configuration_names_the_value_that_no_file_can_hold() -> None:
    from runbus.config import Config, dumps

    with pytest.raises(ConfigInvalid, match=r"a\.b: an unpaired surrogate"):
        dumps(Config(dict, a={"b": "\udcff"}))
