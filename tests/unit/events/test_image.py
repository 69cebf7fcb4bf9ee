"""Images as values: equal if they ask for the same, never changed, and checked."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbus import Image, PipIndex, Secret, codec
from runbus.errors import FieldInvalid
from runbus.events import Accelerator, Cluster, ClusterSpec, InstanceInfo

TORCH = PipIndex("https://download.pytorch.org/whl/cpu", ("torch",))
GIVEN: dict[str, Any] = {"pip": ["torch>=2", "numpy"], "pip_indexes": [TORCH]}
FULL = Image(
    **GIVEN,
    base="ubuntu:24.04",
    python="3.12",
    apt=("git", "ffmpeg"),
    env={"B": "2", "A": "it's $HOME"},
    secrets={"HF_TOKEN": "HF"},
)


def test_replace_makes_another_image_and_leaves_the_first_as_it_was() -> None:
    changed = dataclasses.replace(
        FULL, pip=(*FULL.pip, "my-lib"), env={**FULL.env, "KERAS_BACKEND": "jax"}
    )

    assert changed.pip == ("torch>=2", "numpy", "my-lib")
    assert changed.env == {"B": "2", "A": "it's $HOME", "KERAS_BACKEND": "jax"}
    assert (FULL.pip, FULL.env) == (("torch>=2", "numpy"), {"B": "2", "A": "it's $HOME"})
    assert changed != FULL


def test_nothing_in_an_image_can_be_changed() -> None:
    given = {"A": "1"}
    image: Any = Image(env=given)
    given["A"] = "2"

    assert image.env == {"A": "1"}
    for change in (
        lambda: setattr(image, "pip", ()),
        lambda: image.env.update(A="3"),
        lambda: image.env.__setitem__("A", "3"),
        lambda: image.env.setdefault("B", "3"),
        lambda: image.env.pop("A"),
        image.env.clear,
    ):
        with pytest.raises((TypeError, dataclasses.FrozenInstanceError)):
            change()
    assert image.env == {"A": "1"}


REQUIREMENTS = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,5}(>=[1-9])?", fullmatch=True), max_size=4)
VARIABLES = st.dictionaries(st.from_regex(r"[A-Z_]{1,4}", fullmatch=True), st.just("x"), max_size=3)


@settings(max_examples=40)
@given(REQUIREMENTS, VARIABLES, st.randoms())
def test_the_order_of_packages_and_variables_makes_no_other_image(
    pip: list[str], env: dict[str, str], random: Any
) -> None:
    one = Image(pip=tuple(pip), apt=("b", "a"), env=env)
    random.shuffle(pip)
    other = Image(
        pip=(*pip, *pip[:1]), apt=("a", "b"), env=dict(random.sample([*env.items()], len(env)))
    )

    assert one == other
    assert (hash(one), one.digest) == (hash(other), other.digest)
    assert {one: 1}[other] == 1


def test_the_order_of_indexes_and_the_spelling_of_their_packages_make_no_other_image() -> None:
    other = PipIndex("https://host/simple", ("My_Lib", "b"))
    same = PipIndex("https://host/simple", ("b", "my-lib"))

    one = Image(pip_indexes=(TORCH, other))

    assert one == Image(pip_indexes=(same, TORCH))
    assert hash(one) == hash(Image(pip_indexes=(same, TORCH)))
    assert one != Image(pip_indexes=(TORCH,))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Image)])
def test_every_field_makes_another_image(field: str) -> None:
    without = dataclasses.replace(FULL, **{field: type(getattr(FULL, field))()})

    assert without != FULL
    assert without.digest != FULL.digest


def test_the_hash_of_an_image_is_the_same_in_every_process() -> None:
    code = f"""
from runbus import Image, PipIndex
from runbus._frozen import FrozenDict
print(hash({FULL!r}))
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }

    assert told == {f"{hash(FULL)}\n"}


def test_an_image_travels_as_data_and_as_a_pickle() -> None:
    assert codec.decode_json(codec.encode_json(FULL), Image) == FULL
    assert pickle.loads(pickle.dumps(FULL)) == FULL
    assert copy.deepcopy(FULL) == FULL
    assert type(pickle.loads(pickle.dumps(FULL)).env) is type(FULL.env)


def test_the_repr_of_an_image_shows_no_secret() -> None:
    image = Image(env={"HF_TOKEN": "hf_canary", "A": "1"})

    assert repr(image) == "Image(env={'HF_TOKEN': '***', 'A': '1'})"
    assert repr(Image()) == "Image()"


def test_a_secret_is_kept_as_its_reference() -> None:
    assert Image(secrets={"A": Secret("B")}).secrets == {"A": "env:B"}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"pip": "torch"}, r"pip is 'torch': expected a list of requirements"),
        ({"pip": ["--extra-index-url=http://evil"]}, "pip is .*: expected a requirement"),
        ({"pip": ["torch\n--pre"]}, "expected a requirement"),
        ({"pip": [3]}, "expected a list of requirements"),
        ({"apt": ["-o=Foo"]}, "apt is '-o=Foo': expected a package"),
        ({"apt": ["a b"]}, "expected a package"),
        ({"python": "3.12; rm"}, None),
        ({"python": "-m"}, "begins with '-'"),
        ({"base": 3}, "expected text, got int"),
        ({"env": {"A B": "1"}}, "no shell can set a variable of that name"),
        ({"env": {"A": 1}}, "must be text"),
        ({"env": [("A", "1")]}, "expected a mapping"),
        ({"env": {"A": "\0"}}, "without a NUL"),
        ({"env": {"A": Secret("B")}}, "its value is a secret"),
        ({"secrets": {"A": "hf_canary canary"}}, "a secret is env:NAME or file:PATH"),
        ({"secrets": {"A": 3}}, "a secret is env:NAME or file:PATH"),
        ({"pip_indexes": ["https://a"]}, "each a PipIndex"),
        ({"pip_indexes": [TORCH, PipIndex("https://b", ("Torch",))]}, "answers for Torch, too"),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_is_refused_where_the_image_is_made(
    fields: dict[str, Any], told: str | None
) -> None:
    if told is None:
        assert Image(**fields).python  # quoted wherever it is used
        return
    with pytest.raises(FieldInvalid, match=told) as caught:
        Image(**fields)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "packages", "told"),
    [
        ("ftp://a", ("b",), "expected https://"),
        (3, ("b",), "expected https://"),
        ("https://me:canary@host/simple", ("b",), "it holds credentials"),
        ("https://host/\n", ("b",), "expected https://"),
        ("https://host", (), "answers for the packages that it names"),
        ("https://host", ("b>=1",), "the name of a package alone"),
        ("https://host", "torch", "expected a list"),
    ],
    ids=str,
)
def test_an_index_that_cannot_be_is_refused(url: Any, packages: Any, told: str) -> None:
    with pytest.raises(FieldInvalid, match=told) as caught:
        PipIndex(url, packages)

    assert "canary" not in str(caught.value)


def test_bad_data_of_an_image_is_an_error_of_the_data() -> None:
    with pytest.raises(codec.DecodeError, match="expected a requirement"):
        codec.decode_json(b'{"pip": ["--pre"]}', Image)


def test_a_cluster_and_a_process_say_what_hooks_ask_for() -> None:
    spec = ClusterSpec(nodes=4, accelerator=Accelerator(type="A100", count=8))
    info = InstanceInfo(node=1, worker=1, total_nodes=4, workers_per_node=2)

    assert Cluster(spec=spec).nodes == 4
    assert Cluster(spec=spec).accelerator == spec.accelerator
    assert (info.global_worker_index, info.total_workers, info.is_head) == (3, 8, False)
    assert InstanceInfo().is_head
    assert info.place == "node 1, worker 1"
    assert codec.decode_json(codec.encode_json(info), InstanceInfo) == info
