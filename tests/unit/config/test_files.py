"""Configurations in files: what YAML means, what builds on what, where mistakes are, what runs."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus.config import Config, Ref, dumps, load, save
from runbus.errors import ConfigInvalid, TargetUnusable, UsageError

ME = __name__


@dataclasses.dataclass
class Model:
    width: int = 512
    name: str = "m"
    rate: float = 0.1


@dataclasses.dataclass
class Wide(Model):
    extra: int = 0


@dataclasses.dataclass
class Trainer:
    name: str
    model: Model = dataclasses.field(default_factory=Model)
    layers: list[Model] = dataclasses.field(default_factory=list)
    any: Any = None
    flag: bool = False
    wait: datetime.timedelta | None = None


def make_model(width: int = 3) -> Config[Model]:
    return Config(Model, width=width)


ran: list[str] = []


def trap(*args: Any, **values: Any) -> None:
    ran.append("trap")


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str, name: str = "a.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


ODD = [
    ("no", False),
    ("on", True),
    ("Yes", True),
    ("n", "n"),
    ("12:30:00", "12:30:00"),
    ("1:30", "1:30"),
    ("0o17", 15),
    ("017", "017"),
    ("0x1F", 31),
    ("0b11", 3),
    ("1_000", 1000),
    ("1e3", 1000.0),
    ("1e-3", 0.001),
    (".5", 0.5),
    ("+1", 1),
    ("1.", 1.0),
    (".inf", float("inf")),
    ("~", None),
    ("", None),
    ("null", None),
    ("2026-01-02", datetime.date(2026, 1, 2)),
    ("!!str 5", "5"),
    ("!!int '5'", 5),
    ("!!binary YQ==", b"a"),
    ("'no'", "no"),
    ('"5"', "5"),
    ("[1, a]", [1, "a"]),
    ("{a: 1}", {"a": 1}),
    ("!!set {a, b}", {"a", "b"}),
    ("|\n  a\n  b\n", "a\nb\n"),
    ("=", "="),
    ("1.2.3", "1.2.3"),
    ("0.1.0", "0.1.0"),
    ("-", [None]),
]


@pytest.mark.parametrize(("text", "value"), ODD)
def test_the_odd_values_of_yaml_mean_what_the_docs_say(file: Any, text: str, value: Any) -> None:
    config = load(file(f"name: x\nany: {text}\n" if text != "-" else "name: x\nany:\n-\n"), Trainer)
    assert config.any == value
    assert type(config.any) is type(value)


def test_a_text_field_says_of_a_bare_no_that_it_wants_quotes(file: Any) -> None:
    with pytest.raises(ConfigInvalid, match="quote it") as caught:
        load(file("name: no\n"), Trainer)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.found) == ("name", 1, "false")
    assert load(file("name: 'no'\n"), Trainer).name == "no"
    assert load(file("name: x\nwait: 12:30:00\n"), Trainer).wait == datetime.timedelta(hours=12.5)


def test_merge_keys_and_aliases(file: Any) -> None:
    text = """
base: &base {width: 3, rate: 1}
name: x
model: {<<: *base, width: 4}
layers: [*base, {<<: [*base, {name: n}]}]
"""
    path = file(text)
    with pytest.raises(ConfigInvalid, match="unknown key 'base'"):
        load(path, Trainer)
    config = load(
        file(text.replace("base: &base {width: 3, rate: 1}", "any: &base {width: 3, rate: 1}")),
        Trainer,
    )
    assert config.build().layers == [Model(3, "m", 1), Model(3, "n", 1)]
    assert config.model == Config(Model, width=4, rate=1)


BAD = [
    ("name: x\nname: y\n", 2, "the same key stands in line 1, too"),
    ("name: &a [*a]\n", 1, "it holds itself by an alias"),
    ("name: &a {<<: *a}\n", 1, "it holds itself by an alias"),
    ("name: {<<: 5}\n", 1, "only mappings can be merged"),
    ("name: !!python/object/apply:os.system [x]\n", 1, "python/object/apply:os.system' means"),
    ("name: !mine x\n", 1, "the tag '!mine' means nothing here"),
    ("name: *b\n", 1, "alias 'b'"),
    ("name: x\n---\nname: y\n", 2, "a second document"),
    ("name: [\n", 2, "did not find expected node content"),
    ("name: " + "[" * 200 + "]" * 200 + "\n", 1, "nested too deeply"),
    ("name: \0\n", 1, "no file may hold the character U\\+0000"),
    ("[1]: x\n", 1, "a key must be a text"),
    ("- a\n", 1, "a configuration is a mapping"),
    ("name: x\nextends: [1]\n", 2, "extends is a file, or a list of files"),
    ("name: x\nextends: gone.yaml\n", 2, "gone.yaml: no such file"),
    ("name: x\nextends: a.yaml\n", 2, "in a circle"),
    ("name: x\n_sweep_: {a: 1}\n", 2, "lists of values"),
    ("model:\n  width: wide\n", 2, "model.width: expected an integer, found 'wide'"),
    ("layers:\n- {}\n- rat: 1\n", 3, r"layers\[1\].rat: unknown key 'rat'; did you mean 'rate'"),
    ("model:\n  _target_: os.gone\n", 2, "os has no 'gone'"),
    ("model:\n  _target_: nothing.at.all\n", 2, "there is no module 'nothing'"),
    ("model:\n  _target_: 5\n", 2, "expected a text, found 5"),
    ("model:\n  _target_: os.__class__\n", 2, "two underscores"),
    ("model:\n  _target_: ../x\n", 2, "it is no import path"),
    (
        "model:\n  _target_: json.JSONDecoder\n",
        1,
        "expected a Model, found a Config of JSONDecoder",
    ),
    ("name: x\nany:\n  _ref_: name\n  b: 1\n", 4, "nothing may be beside _ref_"),
    (
        "any:\n  _target_: a.b\n  _factory_: a.b\n",
        3,
        "cannot be in one mapping",
    ),
    ("any: {_type_: os.path}\n", 1, "a _type_ is an enumeration"),
]


@pytest.mark.parametrize(("text", "line", "told"), BAD)
def test_a_bad_file_gives_an_error_with_its_line(
    file: Any, text: str, line: int, told: str
) -> None:
    path = file(text)
    with pytest.raises(ConfigInvalid, match=told) as caught:
        load(path, Trainer)
    assert [(one.origin, one.line) for one in caught.value.problems] == [(path, line)]


def test_a_bomb_of_aliases_is_refused_quickly(file: Any) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigInvalid, match="more than 200,000 keys and values"):
        load(file("\n".join(lines)), Trainer)


def test_loading_runs_nothing_but_what_is_named(file: Any) -> None:
    ran.clear()
    text = f"name: os.system\nany: {{a: '{ME}.trap', b: '{ME}.trap()', _x: {ME}.trap}}\n"
    config = load(file(text), Trainer)
    assert config.build().any["a"] == f"{ME}.trap"
    config = load(file(f"name: x\nany: {{_target_: {ME}.trap, a: 1}}\n"), Trainer)
    assert ran == []
    config.build()
    assert ran == ["trap"]


def test_an_allow_list_says_which_modules_may_be_named(file: Any) -> None:
    path = file(f"_target_: {ME}.Trainer\nname: x\nmodel: {{_target_: {ME}.Wide, extra: 1}}\n")
    assert load(path, allowed=[ME]).build() == Trainer("x", Wide(extra=1))
    assert load(path, allowed=[ME.rpartition(".")[0]]).build().name == "x"
    with pytest.raises(ConfigInvalid, match="not in the modules that are allowed: json"):
        load(path, allowed=["json"])
    before = set(sys.modules)
    with pytest.raises(ConfigInvalid):
        load(file("any: {_import_: antigravity.x}\n"), Trainer, allowed=["js"])
    assert "antigravity" not in set(sys.modules) - before
    # What a module has imported from others is theirs, however it is reached.
    for name in ("subprocess.run", "sys.exit", "load"):
        with pytest.raises(ConfigInvalid, match="not in the modules that are allowed"):
            load(file(f"any: {{_import_: {ME}.{name}}}\n"), Trainer, allowed=[ME])


def test_loading_needs_nothing_else_to_be_imported(file: Any) -> None:
    path = file("_target_: collections.Counter\n")
    code = f"from runbus.config import load; print(load({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Config(Counter)\n", "")


def test_a_factory_is_called_and_what_it_returns_is_changed(file: Any) -> None:
    config = load(file(f"name: x\nmodel: {{_factory_: {ME}.make_model, width: 7}}\n"), Trainer)
    assert config.model == Config(Model, width=7)
    assert load(file(f"name: x\nany: {{_import_: {ME}.trap}}\n"), Trainer).any is trap
    partial = load(file(f"_target_: {ME}.make_model\n_partial_: true\nwidth: 2\n"))
    assert partial.build()().width == 2


def test_a_file_builds_on_others_and_changes_a_few_keys(file: Any) -> None:
    model = f"model:\n  _target_: {ME}.Wide\n  extra: 1\n  rate: 9\n"
    file(f"_target_: {ME}.Trainer\nname: base\n{model}", "base.yaml")
    file("extends: base.yaml\nmodel:\n  extra: 2\n", "middle.yaml")
    top = file("extends: [middle.yaml]\nname: top\nmodel: {width: 5}\n")
    assert load(top).build() == Trainer("top", Wide(5, "m", 9, extra=2))
    other = file(f"extends: middle.yaml\nmodel: {{_target_: {ME}.Model, width: 1}}\n", "other.yaml")
    assert load(other).build() == Trainer("base", Model(1))
    circle = file("extends: b.yaml\n", "c.yaml")
    file("extends: c.yaml\n", "b.yaml")
    with pytest.raises(ConfigInvalid, match="in a circle"):
        load(circle)


def test_a_mistake_is_told_at_the_file_that_made_it(file: Any) -> None:
    base = file("name: x\nmodel:\n  width: wide\n", "base.yaml")
    top = file("extends: base.yaml\nlayers:\n- rate: fast\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(top, Trainer)
    places = {(one.path, one.origin, one.line) for one in caught.value.problems}
    assert places == {("model.width", base, 3), ("layers[0].rate", top, 3)}


def test_a_section_is_a_path_into_a_file(file: Any) -> None:
    path = file("small:\n  name: s\nlarge: {deep: {name: l}}\n")
    assert load(f"{path}:small", Trainer).name == "s"
    assert load(f"{path}:large.deep", Trainer).name == "l"
    with pytest.raises(ConfigInvalid, match="there is no section 'smal'; did you mean 'small'"):
        load(f"{path}:smal", Trainer)


@pytest.mark.parametrize("name", ["a.toml", "a.json"])
def test_toml_and_json_are_read_with_lines(file: Any, name: str) -> None:
    text = {
        "a.toml": 'name = "x"\n[model]\nwidth = "w"\n',
        "a.json": '{"name": "x",\n"model": {\n"width": "w"}}',
    }
    path = file(text[name], name)
    with pytest.raises(ConfigInvalid) as caught:
        load(path, Trainer)
    assert [(one.path, one.line) for one in caught.value.problems] == [("model.width", 3)]


def test_variables_of_the_environment_are_above_files(file: Any) -> None:
    path = file("name: x\nmodel: {width: 1}\nlayers: [{}]\n")
    environment = {
        "RUNBUS__MODEL__WIDTH": "7",
        "RUNBUS__LAYERS__0__RATE": "2",
        "RUNBUS_HOME": "/x",
        "OWN__NAME": "o",
    }
    config = load(path, Trainer, environment=environment)
    assert config.build() == Trainer("x", Model(7), [Model(rate=2.0)])
    assert load(path, Trainer, environment=environment, prefix="OWN").name == "o"
    with pytest.raises(ConfigInvalid, match=r"RUNBUS__MODEL__WIDHT: model\.widht: unknown key"):
        load(path, Trainer, environment={"RUNBUS__MODEL__WIDHT": "7"})


def test_a_reference_is_data_and_resolved_after_changes(file: Any) -> None:
    config = load(file("name: x\nlayers: [{width: {_ref_: model.width}}]\n"), Trainer)
    config.model.width = 9
    assert config.build().layers == [Model(9)]
    assert load(file("name: ${model.width}\n"), Trainer).name == "${model.width}"


def test_a_config_is_saved_whole_or_in_part(tmp_path: Path) -> None:
    config = Config(Trainer, name="x", model=Model(3), layers=[Wide(4)], any=[Path("a"), (1,)])
    for name in ("a.yaml", "a.toml", "a.json"):
        save(config, tmp_path / name)
        assert load(tmp_path / name) == config
    save(config, f"{tmp_path / 'b.yaml'}:layers[0]")
    assert load(tmp_path / "b.yaml") == Config(Wide, width=4)
    save(config, tmp_path / "c.py")
    found: dict[str, Any] = {}
    code = (tmp_path / "c.py").read_text().replace(f"import {ME}\n", "import sys\n")
    exec(code.replace(f"{ME}.", f"sys.modules[{ME!r}]."), found)
    assert found["config"] == config
    with pytest.raises(UsageError, match=r"must end in \.yaml"):
        save(config, tmp_path / "d.txt")
    with pytest.raises(UsageError, match="name is a plain value"):
        save(config, f"{tmp_path / 'b.yaml'}:name")


def test_what_cannot_be_written_is_refused_before_a_file_is_touched(tmp_path: Path) -> None:
    def local() -> None: ...

    path = tmp_path / "a.yaml"
    path.write_text("old")
    for value in (local, lambda: 0, "a\0b", {"_target_": "os.system"}, object(), 1 << 5000):
        with pytest.raises((TargetUnusable, ConfigInvalid)):
            save(Config(Trainer, name="x", any=value), path)
    assert path.read_text() == "old"
    with pytest.raises(UsageError):
        dumps(Config(Model), "xml")


def test_references_compare_by_path() -> None:
    assert Ref("a") == Ref("a") != Ref("b")
    assert len({Ref("a"), Ref("a")}) == 1
