"""Configs, params and cells take what people have, and say what they made of it."""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import importlib
import ipaddress
import json
import os
import types
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runbus
from runbus.errors import RunNotFound
from runbus.metrics._values import to_plain

pandas: Any = importlib.import_module("pandas")


class Optimizer(enum.Enum):
    ADAM = 1


class Width(enum.IntEnum):
    WIDE = 64


@dataclasses.dataclass
class Model:
    depth: int = 3
    optimizer: Optimizer = Optimizer.ADAM


class Estimator:
    def get_params(self) -> dict[str, Any]:
        return {"C": 1.0}

    def __repr__(self) -> str:
        return "Estimator(C=1.0,\n          gamma='auto')"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("not yet")


Pair = collections.namedtuple("Pair", "first second")

Foreign = type("dtype", (), {"__module__": "torch", "__str__": lambda _: "torch.float32"})

VALUES = [
    (Optimizer.ADAM, "<Optimizer> ADAM"),
    (Width.WIDE, "<Width> WIDE"),
    (Model(), {"depth": 3, "optimizer": "<Optimizer> ADAM"}),
    (argparse.Namespace(lr=0.1, model=Model(5)), {"lr": 0.1, "model": {"depth": 5}}),
    (types.SimpleNamespace(lr=0.1), {"lr": 0.1}),
    (Path("/data"), "/data"),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    ((1, 2), [1, 2]),
    (range(0, 10, 2), "<range> range(0, 10, 2)"),
    (datetime.date(2030, 1, 2), "<date> 2030-01-02"),
    (datetime.datetime(2030, 1, 2, 3, tzinfo=datetime.UTC), "<datetime> 2030-01-02 03:00:00+00:00"),
    (datetime.timedelta(hours=1), "<timedelta> 1:00:00"),
    (decimal.Decimal("0.1"), "<Decimal> 0.1"),
    (uuid.UUID(int=1), "<UUID> 00000000-0000-0000-0000-000000000001"),
    (1 + 2j, "<complex> (1+2j)"),
    (b"ab", "<bytes> b'ab'"),
    (bytearray(b"ab"), "<bytes> b'ab'"),
    (collections.deque([1, {2}]), [1, [2]]),
    (collections.UserList([1, "a"]), [1, "a"]),
    (array.array("d", [0.5]), [0.5]),
    (Pair(1, {2}), {"first": 1, "second": [2]}),
    (ipaddress.ip_address("::1"), "<IPv6Address> ::1"),
    (len, "<function> builtins.len"),
    (json.dumps, "<function> json.dumps"),
    (Model, "<class> test_config_values.Model"),
    (functools.partial(round, ndigits=2), "<partial> builtins.round(ndigits=2)"),
    (Foreign(), "<torch.dtype> torch.float32"),
    (Estimator(), "<Estimator> Estimator(C=1.0, gamma='auto')"),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(2.5), 2.5),
    (np.zeros((1000, 1000), np.float32), "<ndarray> float32 1000x1000"),
    (np.dtype("int32"), "<dtype> int32"),
    (np.datetime64("2030-01-02", "ns"), "<datetime64[ns]> 2030-01-02T00:00:00.000000000"),
    (np.longdouble("0.5"), "<longdouble> 0.5"),
    (list[int], "<type> list[int]"),
    (int | str, "<type> int | str"),
    (pandas.NA, "<NAType> <NA>"),
    (pandas.Series([1, 2]), [1, 2]),
    (polars.Series([1, 2]), [1, 2]),
    (pydantic.SecretStr("hunter2"), "***"),
    (2**70, 2**70),
    (None, None),
]


@pytest.mark.parametrize(("value", "kept"), VALUES, ids=[str(kept)[:30] for _, kept in VALUES])
def test_what_people_have_is_kept_with_a_mark_of_its_type(value: Any, kept: Any) -> None:
    kept = json.loads(json.dumps(kept).replace("test_config_values", __name__))
    if isinstance(kept, dict) and isinstance(kept.get("model"), dict):
        kept["model"]["optimizer"] = "<Optimizer> ADAM"
    with runbus.init(config={"given": value}) as run:
        run.params(again=value)
        assert run.config["given"] is value

    stored = runbus.open_run(run.id)
    assert stored.config == {"given": kept}
    if not isinstance(kept, dict):
        assert stored.params == {"given": kept, "again": kept}


@pytest.mark.parametrize("config", [Model(), argparse.Namespace(depth=3, optimizer=Optimizer.ADAM)])
def test_a_config_may_be_an_object_of_fields(config: Any) -> None:
    with runbus.init(config=config) as run:
        pass

    assert runbus.open_run(run.id).config == {"depth": 3, "optimizer": "<Optimizer> ADAM"}


@pytest.mark.parametrize(
    ("config", "error", "told"),
    [
        ({1: "a", "1": "b"}, ValueError, "'1' occurs twice"),
        ({"a": {True: 1, "true": 2}}, ValueError, "'true' occurs twice"),
        ({"a": {("b", "c"): 1}}, TypeError, "the name"),
        ({"model": object()}, TypeError, "config 'model'"),
        ({"a": {"b": [1, object()]}}, TypeError, r"config 'a'/b\[1\]"),
        ({"a": 10**5000}, ValueError, "too long"),
        ({"a/b": 1, "a": {"b": 2}}, ValueError, "'a/b' occurs twice"),
        ({"a": Unspeakable()}, TypeError, "config 'a': an object of type Unspeakable"),
        ({"a": pandas.DataFrame({"b": [1]})}, TypeError, "config 'a': a DataFrame is a table"),
        ([1], TypeError, "config must be"),
        ("lr=1", TypeError, "config must be"),
    ],
)
def test_a_refused_config_names_the_place_and_leaves_no_folder(
    config: Any, error: type[Exception], told: str, home: Path
) -> None:
    with pytest.raises(error, match=told):
        runbus.init(config=config)

    assert not home.exists()


def test_a_config_that_holds_itself_is_refused(home: Path) -> None:
    config: dict[str, Any] = {"a": []}
    config["a"].append(config)
    with pytest.raises(ValueError, match="holds itself"):
        runbus.init(config=config)

    assert not home.exists()


@pytest.mark.parametrize("refused", [{"sync_ms": 0}, {"name": 5}, {"cancelled_on": 1}])
def test_no_refused_argument_leaves_a_folder(refused: Any, home: Path) -> None:
    with pytest.raises((TypeError, ValueError)):
        runbus.init(**refused)

    assert not home.exists()


def test_a_secret_within_an_object_of_fields_is_written_nowhere() -> None:
    with runbus.init(config={"cli": argparse.Namespace(hf_token="SECRET", lr=1)}) as run:
        run.params(more=argparse.Namespace(password="SECRET"))

    assert run.config["cli"].hf_token == "SECRET"
    written = b"".join(path.read_bytes() for path in Path(run.folder).rglob("*") if path.is_file())
    assert b"SECRET" not in written
    assert runbus.open_run(run.id).params["cli/lr"] == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_json_has_a_form_for_is_kept_as_it_is(value: Any) -> None:
    assert to_plain(value, "config") == value


def test_a_run_is_joined_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    with runbus.init(project="p", name="n", config={"lr": 1}) as run:
        run.log("loss", 1.0)
    with runbus.init(id=run.id, config={"lr": 2, "more": 3}) as again:
        again.log("loss", 2.0)
    monkeypatch.setenv("RUNBUS_RUN", run.id)
    with runbus.init() as third:
        third.log("loss", 3.0)

    assert {run.id, again.id, third.id} == {run.id}
    (stored,) = runbus.runs()
    assert stored.config == {"lr": 1, "more": 3}
    assert stored.metrics("loss").values.tolist() == [1.0, 2.0, 3.0]


def test_a_run_that_is_not_there_cannot_be_joined(home: Path) -> None:
    with runbus.init() as run:
        pass
    with pytest.raises(RunNotFound) as caught:
        runbus.init(id=run.id[:-3] + ("y-1" if run.id[-3] == "z" else "z-1"))

    assert caught.value.similar == (run.id,)
    assert len(os.listdir(home / "experiments" / "default")) == 1


@pytest.mark.parametrize(("rank", "is_written"), [("0", True), ("1", False)])
def test_of_the_ranks_of_a_launch_only_the_first_writes_the_record_of_the_run(
    rank: str, is_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbus.init(config={"lr": 1}) as run:
        pass
    record = Path(run.folder) / "run.json"
    before = record.stat()
    monkeypatch.setenv("RANK", rank)
    with runbus.init(id=run.id, config={"more": 2}) as joined:
        assert joined.config == {"lr": 1, "more": 2}

    assert (record.stat().st_ino != before.st_ino) == is_written
    assert runbus.open_run(run.id).config == {"lr": 1, **({"more": 2} if is_written else {})}


def test_who_reads_the_record_of_a_run_while_it_is_rewritten_reads_the_old_one() -> None:
    with runbus.init(config={"lr": 1}) as run:
        pass
    with open(os.path.join(run.folder, "run.json")) as before:
        with runbus.init(id=run.id, config={"more": 2}):
            pass
        assert json.load(before)["config"] == {"lr": 1}


def test_ranks_are_told_apart_at_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    run = runbus.init()
    ranks = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        ranks.append(runbus.init(id=run.id))
    for step in range(2000):
        for number, one in enumerate(ranks):
            one.log({"loss": float(number), "acc": 1.0}, step=step)
        run.log("loss", -1.0, step=step)
    for one in (run, *ranks):
        one.finish()
    stored = runbus.open_run(run.id)

    for _ in range(2):  # as journals, then as segments
        assert stored.ranks() == [0, 1]
        assert len(stored.metrics("loss")) == 6000
        for number in range(2):
            series = stored.metrics("loss", rank=number)
            assert series.steps.tolist() == list(range(2000))
            assert set(series.values.tolist()) == {float(number)}
        assert list(stored.metrics(["*"], rank=1)) == ["loss", "acc"]
        sql = "SELECT rank, name, count(*), min(value), max(value) FROM metrics GROUP BY ALL"
        from runbus.catalog import query

        assert sorted(query(sql)[1], key=str) == [
            (0, "acc", 2000, 1.0, 1.0),
            (0, "loss", 2000, 0.0, 0.0),
            (1, "acc", 2000, 1.0, 1.0),
            (1, "loss", 2000, 1.0, 1.0),
            (None, "loss", 2000, -1.0, -1.0),
        ]
        stored.seal()
