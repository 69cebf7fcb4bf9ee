"""Jobs that wait for what cannot be are refused before anything runs."""

from __future__ import annotations

import graphlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.config import graph_problems
from runbus.events import Dependency


def waits(**parents: str) -> dict[str, list[Dependency]]:
    return {job: [Dependency(job=one) for one in of.split()] for job, of in parents.items()}


@pytest.mark.parametrize(
    ("graph", "job", "at", "reason"),
    [
        (waits(a="", b="a c"), "b", 1, "there is no job 'c'"),
        (waits(train="", b="trian"), "b", 0, "there is no job 'trian'; did you mean 'train'"),
        (waits(a="a"), "a", 0, "a job cannot wait for itself"),
        (waits(a="", b="a a"), "b", 1, "it waits for 'a' already"),
        (waits(a="b", b="a"), "a", 0, "jobs wait in a circle: a → b → a"),
        (waits(x="", a="x c", b="a", c="b"), "a", 1, "jobs wait in a circle: a → c → b → a"),
    ],
)
def test_a_dependency_that_cannot_be_is_named(
    graph: dict[str, list[Dependency]], job: str, at: int, reason: str
) -> None:
    assert graph_problems(graph) == [(job, at, reason)]


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"))))
def test_a_circle_is_one_of_the_graph_and_is_found_if_there_is_one(
    parents: dict[str, set[str]],
) -> None:
    graph = {job: sorted(of & parents.keys() - {job}) for job, of in parents.items()}
    problems = graph_problems(
        {job: [Dependency(job=one) for one in of] for job, of in graph.items()}
    )
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError:
        ((job, at, reason),) = problems
        path = reason.removeprefix("jobs wait in a circle: ").split(" → ")
        assert path[0] == path[-1] == job
        assert path[1] == graph[job][at]
        assert len(set(path)) == len(path) - 1
        assert all(one in graph[before] for before, one in itertools.pairwise(path))
        assert job == min(path, key=list(graph).index)
    else:
        assert not problems


def test_ten_thousand_jobs_in_a_line_are_no_depth_for_it() -> None:
    line = {f"j{n}": [Dependency(job=f"j{n - 1}")] if n else [] for n in range(10_000)}
    assert not graph_problems(line)
    line["j0"] = [Dependency(job="j9999")]
    assert graph_problems(line)[0].job == "j0"


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (waits(a="", b="a"), ("b", 0, "the jobs of group 'g' start together: none can wait")),
        (waits(a="x", b="", x="b"), ("a", 0, "jobs wait in a circle: g → x → g")),
        (waits(a="", b="", x="g", y="h"), ("y", 0, "there is no job 'h'")),
        (waits(a="", b="", g=""), ("a", -1, "'g' is the name of a job, and cannot be that of a")),
        (waits(a="x", b="", x="", y="g a"), None),
    ],
    ids=["each other", "around", "unknown", "a job", "none"],
)
def test_a_group_waits_and_is_waited_for_as_one(
    graph: dict[str, list[Dependency]], problem: tuple[str, int, str] | None
) -> None:
    found = graph_problems(graph, {"a": "g", "b": "g"})
    if problem is None:
        assert found == []
    else:
        assert found[0][:2] == problem[:2]
        assert found[0].reason.startswith(problem[2])
