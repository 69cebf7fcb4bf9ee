"""What managed plugins say of themselves, what rules take, and what becomes of a sample."""

from __future__ import annotations

import math
import pickle
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.errors import FieldInvalid
from runbus.plugins import Metric, MetricType, PluginMetadata, PluginType, RoutingRule
from runbus.plugins._batches import batch_of, metrics_of
from runbus.plugins._flat_sample import flatten


@pytest.mark.parametrize(
    "said",
    [
        {"type": "backend"},
        {"plugin_type": "backend"},
        {"type": PluginType.BACKEND, "plugin_type": "BACKEND"},
    ],
    ids=range(3),
)
def test_a_kind_is_said_by_either_name(said: Any) -> None:
    metadata = PluginMetadata("a", "1", **said)

    assert metadata.type is metadata.plugin_type is PluginType.BACKEND


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"type": "backend", "plugin_type": "collector"},
        {"type": "no kind"},
        {"type": 3},
        {"type": "x", "name": "../a"},
        {"type": "x", "name": ""},
        {"type": "x", "dependencies": "b"},
        {"type": "x", "dependencies": [3]},
        {"type": "x", "config_schema": []},
        {"type": "x", "version": 1},
    ],
    ids=range(10),
)
def test_metadata_that_cannot_be_is_refused(said: Any) -> None:
    with pytest.raises(FieldInvalid):
        PluginMetadata(**{"name": "a", "version": "1", **said})


def test_dependencies_are_plugins_or_distributions_by_their_form() -> None:
    metadata = PluginMetadata(
        "a",
        "1",
        "x",
        dependencies=["b", "requests>=2", "c.d", "torch[gpu]", "e @ https://e"],
        requires=["numpy"],
    )

    assert metadata.plugins == ("b", "c.d")
    assert metadata.distributions == ("requests>=2", "torch[gpu]", "e @ https://e", "numpy")


def test_a_kind_of_ones_own_is_one_object_also_after_pickling() -> None:
    kind = PluginType("exporter")

    assert pickle.loads(pickle.dumps(kind)) is kind
    assert (str(kind), kind) == ("exporter", "exporter")
    assert MetricType("scalar") is MetricType.SCALAR


@pytest.mark.parametrize(
    "said",
    [
        {"source": ""},
        {"sink": 3},
        {"types": []},
        {"types": "scalar"},
        {"types": ["no kind"]},
        {"where": "x > 3"},
        {"names": ""},
    ],
    ids=range(7),
)
def test_a_rule_that_could_never_fit_is_refused(said: Any) -> None:
    with pytest.raises(FieldInvalid):
        RoutingRule(**{"source": "*", "sink": "a", **said})


class Frequency(NamedTuple):
    current: float
    most: float


def test_a_sample_is_flattened_by_one_rule() -> None:
    flat = flatten(
        {
            "a": 1,
            "b": {"c": [True, {"d": 2.5}], 3: math.inf},
            "f": Frequency(1.0, 2.0),
            "none": None,
            "text": "x",
            "bytes": b"y",
            "api_key": "s3cret",
            "url": "https://user:pass@host",
            "huge": 10**400,
        },
        "s",
    )

    assert flat.numbers == {
        "s/a": 1, "s/b/c/0": 1.0, "s/b/c/1/d": 2.5, "s/b/3": math.inf,
        "s/f/current": 1.0, "s/f/most": 2.0,
    }  # fmt: skip
    assert {**flat.texts, "s/huge": ""} == {
        "s/none": "None",
        "s/text": "x",
        "s/bytes": "b'y'",
        "s/api_key": "***",
        "s/url": "https://***@host",
        "s/huge": "",
    }
    assert flat.left_out == 0


def test_a_sample_that_holds_itself_or_too_much_has_an_end() -> None:
    ring: dict[str, Any] = {"n": 1}
    ring["ring"] = ring
    assert flatten(ring).left_out == 1
    assert len(flatten(ring).numbers) == 16

    flat = flatten({str(n): n for n in range(10_005)})
    assert (len(flat.numbers), flat.left_out) == (10_000, 5)


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_value_that_cannot_be_shown_costs_no_other() -> None:
    flat = flatten({"rude": Rude(), "n": 1})

    assert flat.numbers == {"n": 1}
    assert flat.texts == {"rude": "<Rude: RuntimeError>"}


POINTS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=5),
        st.one_of(st.floats(allow_nan=False), st.integers(-(2**70), 2**70)),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(0, 2**63 - 1),
    )
)


@given(points=POINTS)
def test_a_batch_made_of_points_holds_these(points: list[tuple[str, Any, int, int]]) -> None:
    batch = batch_of(points, "run", "w", 7)

    assert [*metrics_of(batch)] == [
        Metric(name, value, step, time_ns, "run") for name, value, step, time_ns in points
    ]
