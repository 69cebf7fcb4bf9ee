from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from runbus._home import abbreviated
from runbus._ids import is_experiment_id, new_experiment_id, run_id_of, short_id, slug, split_run_id


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = [new_experiment_id(now) for now in (0.0, 1.0, 1.001, 1.002, 1.5, 1.999, 1e9, 2e9)]
    assert sorted(ids) == ids


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_an_id_follows_another_whatever_the_clock_says(first_s: float, second_s: float) -> None:
    first = new_experiment_id(first_s)
    assert first < new_experiment_id(second_s, after=first)


def test_an_id_of_a_time_that_there_is_not_is_followed_by_none() -> None:
    for text in ("", "latest", "20261341-142530-k3x9qd", "99991231-235959-zzzzzz"):
        assert not is_experiment_id(text)
        assert new_experiment_id(1.0, after=text).startswith("19700101-000001-")


def test_a_run_id_gives_back_its_experiment() -> None:
    experiment_id = new_experiment_id()
    assert split_run_id(run_id_of(experiment_id, 12)) == (experiment_id, 12)


def test_what_is_no_run_id_is_none() -> None:
    assert split_run_id("latest") is None
    assert split_run_id(new_experiment_id()) is None
    assert split_run_id("../../etc/passwd") is None


@given(st.text())
def test_a_slug_is_one_safe_folder_name(text: str) -> None:
    name = slug(text)
    assert name == os.path.basename(name)
    assert name not in {"", ".", ".."}
    assert not name.startswith(("-", "."))
    assert "\0" not in name
    assert len(name) <= 40


def test_the_short_id_of_the_first_run_is_not_that_of_the_tenth() -> None:
    ids = [run_id_of(new_experiment_id(1e9), 1)]
    ids.append(f"{ids[0]}0")

    assert [abbreviated(short_id(one), ids) for one in ids] == ids
