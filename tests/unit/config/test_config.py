"""Config and Partial: what they keep, refuse, build, and how they change."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.util
import pickle
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
import pydantic
import pytest

from runbus.config import Config, Partial, as_config, check_task, fields_of, make, target_of
from runbus.errors import ConfigInvalid, FieldUnknown, FieldUnset, TargetUnusable, UsageError

T = TypeVar("T")


@dataclasses.dataclass
class Model:
    """A model.

    Attributes:
        width: How wide its layers are,
            in units.
    """

    width: int = 512
    dropout: float = 0.1


@dataclasses.dataclass
class Trainer:
    name: str
    model: Model = dataclasses.field(default_factory=Model)
    layers: list[Model] = dataclasses.field(default_factory=list)
    by_name: dict[str, Model] = dataclasses.field(default_factory=dict)
    pair: tuple[Model, Model] | None = None
    best: Model | None = None
    hidden: int = dataclasses.field(default=7, init=False)


class Struct(msgspec.Struct):
    """A Struct.

    Args:
        width: As Google has it.
    """

    width: int = 1
    tags: list[str] = []


class Pydantic(pydantic.BaseModel):
    width: int = pydantic.Field(1, ge=1, description="As pydantic has it.")
    tags: list[str] = pydantic.Field(default_factory=list)


class Plain:
    """A class.

    Parameters
    ----------
    width : int
        As NumPy has it.
    """

    def __init__(self, width: int = 1, *, tags: list[str] | None = None) -> None:
        self.width = width
        self.tags = tags or []


def function(width: int = 1, tags: list[str] | None = None, **others: float) -> Plain:
    """Do it.

    :param width: As Sphinx has it.
    """
    assert all(type(one) is float for one in others.values())
    return Plain(width, tags=tags)


class Box(Generic[T]):
    def __init__(self, width: T, tags: list[T] | None = None) -> None:
        self.width = width
        self.tags = tags or []


try:
    import attrs

    @attrs.define
    class Attrs:
        width: int = attrs.field(default=1, metadata={"help": "As attrs has it."})
        tags: list[str] = attrs.field(factory=list)

    ATTRS = [Attrs]
except ImportError:
    ATTRS = []

KINDS = [Struct, Pydantic, Plain, function, Box[int], *ATTRS]


@pytest.mark.parametrize("target", KINDS)
def test_every_kind_of_target_says_what_it_takes(target: Any) -> None:
    fields = fields_of(target)
    assert list(fields) == ["width", "tags"]
    assert "int" in str(fields["width"].type)
    assert fields["width"].doc.startswith("As ") or target in (Box[int],)
    built = Config(target, width=3, tags=[]).build()
    assert (built.width, built.tags) == (3, [])
    with pytest.raises(ConfigInvalid, match="width: expected an integer, found 'x'"):
        Config(target, width="x")


@pytest.mark.parametrize("target", [Struct, Pydantic, Model])
def test_an_object_with_fields_becomes_a_config_where_it_is_a_value(target: Any) -> None:
    def take(one: Any) -> Any:
        return one

    config = Config(take, one=target(width=9))
    assert isinstance(config.one, Config)
    config.one.width = 10
    assert config.build() == target(width=10)


def test_what_only_type_checkers_resolve_is_resolved() -> None:
    from runbus.executors import LocalExecutor

    fields = fields_of(LocalExecutor)
    assert "bool" in str(fields["env_inherit"].type)
    assert "Sequence" in str(fields["gpus"].type)
    assert fields["gpus"].doc.startswith("The GPUs it may lend")


def test_nothing_is_made_before_it_is_built() -> None:
    made: list[int] = []

    def target(number: int, inner: Any = None) -> int:
        made.append(number)
        return number

    config = Config(target, 1, inner=Config(target, number=2))
    assert made == []
    assert config.build() == 1
    assert made == [2, 1]


def test_attributes_read_as_what_was_set_or_the_default() -> None:
    config = Config(Trainer, name="x")
    assert config.model.width == 512
    assert config.layers == []
    assert config.best is None
    config.model.width = 8
    config.layers.append(Model(3))
    config["best.width"] = 5
    assert config["layers[0].width"] == 3
    built = config.build()
    assert built == Trainer("x", Model(8), [Model(3)], best=Model(5))
    del config.model
    assert config.model.width == 512


def test_unknown_names_are_refused_with_what_may_have_been_meant() -> None:
    config = Config(Trainer, name="x")
    with pytest.raises(FieldUnknown, match="no field 'modle'") as caught:
        _ = config.modle
    assert caught.value.hint == "did you mean 'model'"
    assert not hasattr(config, "modle")
    with pytest.raises(FieldUnknown):
        config.modle = 1
    with pytest.raises(FieldUnknown):
        del config.modle
    with pytest.raises(ConfigInvalid, match="did you mean 'name'"):
        Config(Trainer, nmae="x")
    with pytest.raises(FieldUnknown):
        config.hidden = 8  # the class itself takes no such argument
    with pytest.raises(FieldUnset, match="'name' of Trainer has no value and no default"):
        _ = Config(Trainer).name
    with pytest.raises(ConfigInvalid, match=r"model\.widht: unknown key 'widht'"):
        config["model.widht"] = 3


def test_a_value_that_does_not_fit_changes_nothing() -> None:
    config = Config(Trainer, name="x", layers=[Model(1)])
    before = config.copy()
    for path in ("model.width", "best.width", "layers[0].width", "by_name.a.width", "layers[7]"):
        with pytest.raises(ConfigInvalid):
            config[path] = "wide"
    assert config == before
    assert config.best is None


def test_what_is_missing_is_named_when_it_is_built_all_at_once() -> None:
    def needs(left: int, right: int, inner: Trainer) -> None: ...

    config = Config(needs, inner=Config(Trainer))
    with pytest.raises(ConfigInvalid) as caught:
        config.build()
    assert {str(one) for one in caught.value.problems} == {
        "the key 'left' is missing",
        "the key 'right' is missing",
        "inner: the key 'name' is missing",
    }


def test_a_list_that_was_changed_is_checked_when_it_is_built() -> None:
    config = Config(Trainer, name="x", layers=[Model(1)])
    config.layers.append({"width": "wide"})
    with pytest.raises(ConfigInvalid, match=r"layers\[1\]\.width: expected an integer"):
        config.build()


def test_a_config_in_two_places_makes_one_object_and_one_that_holds_itself_none() -> None:
    shared = Config(Model, width=3)
    built = Config(Trainer, name="x", model=shared, layers=[shared]).build()
    assert built.model is built.layers[0]
    config = Config(Trainer, name="x")
    twin = config.copy()
    twin.by_name["me"] = twin
    with pytest.raises(ConfigInvalid, match=r"it holds itself|expected a Model"):
        twin.build()


def test_equality_is_of_structure_and_true_is_not_one() -> None:
    assert Config(Model) == Config(Model, width=512)
    assert Config(Model) != Config(Model, width=513)
    assert Config(Model) != Partial(Model)
    assert Config(Model) != 3
    assert Config(dict, a=1) != Config(dict, a=True)
    assert Config(dict, a=float("nan")) == Config(dict, a=float("nan"))
    read = Config(Trainer, name="x")
    _ = read.model, read.layers
    assert read == Config(Trainer, name="x")
    with pytest.raises(TypeError):
        hash(read)


@pytest.mark.parametrize("twice", [Config.copy, copy.copy, copy.deepcopy])
def test_a_copy_shares_nothing_that_can_change(twice: Callable[[Any], Any]) -> None:
    config = Config(Trainer, name="x", layers=[Model(1)], by_name={"a": Model(2)})
    twin = twice(config)
    twin.layers[0].width = 9
    twin.by_name["a"].width = 9
    twin.model.width = 9
    assert config == Config(Trainer, name="x", layers=[Model(1)], by_name={"a": Model(2)})


def test_a_config_can_be_pickled() -> None:
    config = Config(Trainer, name="x", layers=[Model(1)])
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_partial_builds_what_can_be_called_and_misses_nothing_before() -> None:
    def train(lr: float, model: Model, steps: int = 3) -> tuple[float, int, int]:
        return lr, model.width, steps

    partial = Partial(train, model=Config(Model, width=4))
    built = partial.build()
    assert isinstance(built, functools.partial)
    assert built(lr=1.0) == (1.0, 4, 3)
    with pytest.raises(TypeError):
        built()
    assert target_of(partial) is train


def test_positional_and_further_arguments_are_kept_by_name() -> None:
    def call(a: int, /, b: int, *rest: int, key: int = 0, **others: float) -> Any:
        return a, b, rest, key, others

    assert Config(call, 1, 2, 3, 4, other=5).build() == (1, 2, (3, 4), 0, {"other": 5.0})
    assert Config(call, b=2, a=1).build() == (1, 2, (), 0, {})
    with pytest.raises(UsageError, match="'b' twice"):
        Config(call, 1, 2, b=3)
    with pytest.raises(UsageError, match="takes 2 values, 3 are given"):
        Config(Model, 1, 2, 3)


def test_what_a_target_raises_goes_on_with_the_place() -> None:
    def fails() -> Model:
        raise OSError("no")

    with pytest.raises(OSError, match="no") as caught:
        Config(Trainer, name="x", model=Config(fails)).build()
    assert any("while model (" in note for note in caught.value.__notes__)


def test_broadcast_sets_a_field_everywhere_and_leaves_the_original() -> None:
    config = Config(
        Trainer,
        name="x",
        layers=[Model(1), Model(2)],
        by_name={"a": Model(3)},
        pair=(Model(4), Model(5)),
    )
    before = config.copy()
    wide = config.broadcast(width=9)
    assert config == before
    built = wide.build()
    assert built.pair is not None
    everywhere = (*built.layers, *built.by_name.values(), *built.pair)
    assert {one.width for one in everywhere} == {9}
    assert built.model.width == 9
    with pytest.raises(FieldUnknown, match="no field 'widht'"):
        config.broadcast(widht=9)
    with pytest.raises(ConfigInvalid) as caught:
        config.broadcast(width="x")
    assert [one.path for one in caught.value.problems][:2] == ["model.width", "layers[0].width"]


def test_walk_gives_functions_the_owner_of_a_field_or_each_config() -> None:
    config = Config(Trainer, name="x", layers=[Model(1), Model(2)])
    doubled = config.walk(width=lambda owner: owner.width * 2)
    assert [one.width for one in doubled.layers] == [2, 4]
    swapped = config.walk(lambda node: Config(Model, width=0) if target_of(node) is Model else None)
    assert swapped.build().layers == [Model(0), Model(0)]
    assert [one.width for one in config.layers] == [1, 2]


def test_a_diff_is_data_a_text_and_a_graph() -> None:
    old = Config(Trainer, name="x", layers=[Model(1)], by_name={"a": Model()})
    new = old.copy()
    new.model.width = 3
    new.layers.append(Model(7))
    del new.by_name["a"]
    found = old.diff(new)
    assert [one.path for one in found] == ["model.width", "layers[1]", "by_name.a"]
    assert str(found) == (
        "~ model.width: 512 → 3\n+ layers[1]: Config(Model)\n- by_name.a: Config(Model)"
    )
    assert 'label="512 → 3", color=orange' in found.dot()
    assert str(old.diff(old.copy())) == "no differences"
    assert not old.diff(old.copy())
    assert str(Config(dict, a=Config(Model)).diff(Config(dict, a=Config(Struct)))).startswith(
        "~ a: 'Model' → 'Struct'"
    )


def test_a_picture_is_a_tree_of_text_or_a_drawing() -> None:
    config = Config(Trainer, name="<x>", layers=[Model(1)])
    text = config.visualize()
    assert "├─ name: '<x>'" in text
    assert "│  └─ [0]: Config(Model)" in text
    svg = config.visualize("svg")
    assert svg.startswith("<svg ")
    assert "&lt;x&gt;" in svg
    assert config._repr_svg_() == svg
    assert config.visualize("dot").startswith("digraph {")
    with pytest.raises(UsageError, match="no picture in the form 'png'"):
        config.visualize("png")


def test_make_goes_from_data_to_an_object() -> None:
    data: dict[str, Any] = {
        "name": "x",
        "layers": [{"width": 3}],
        "best": None,
        "by_name": {"a": {}},
    }
    assert make(Trainer, data) == Trainer("x", Model(), [Model(3)], {"a": Model()})
    assert as_config(Model(3)) == Config(Model, width=3)
    with pytest.raises(UsageError, match="a int does not say"):
        as_config(3)


@pytest.mark.parametrize("target", [3, "x", None])
def test_what_cannot_be_called_cannot_be_configured(target: Any) -> None:
    with pytest.raises(TargetUnusable):
        Config(target)


if importlib.util.find_spec("fiddle"):

    def test_a_configuration_of_fiddle_is_taken_as_one_of_ours() -> None:
        import fiddle

        assert as_config(fiddle.Config(Model, width=3)) == Config(Model, width=3)
        assert check_task(fiddle.Partial(print, sep="-")).title == "print"
        config = Config(Trainer, name="x", model=fiddle.Config(Model, width=3))
        assert isinstance(config.model, Config)
        assert config.build().model == Model(3)
