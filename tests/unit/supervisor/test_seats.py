"""Who runs next: who has begun before, then first come, first served; as each executor takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runbus.supervisor._seats import Seats


def seats(free: int, **limits: int | None) -> Seats:
    made = Seats()
    made.set(free, limits)
    return made


def all_that_run(made: Seats, executors: dict[str, str]) -> list[str]:
    """Return who gets a seat, one after the other, until nobody does."""
    run = []
    while names := made.next(lambda _name: True):
        for name in names:
            made.take(executors[name])
        run += names
    return run


def queued(made: Seats, **executors: str) -> dict[str, str]:
    for name, executor in executors.items():
        made.queue([(name, executor)])
    return executors


def test_there_is_no_seat_before_it_is_said_how_many_there_are() -> None:
    made = Seats()
    queued(made, a="x")

    assert made.next(lambda _name: True) == []
    made.set(1, {})
    assert made.next(lambda _name: True) == ["a"]


def test_who_came_first_runs_first_on_whatever_executor() -> None:
    made = seats(3)

    assert all_that_run(made, queued(made, a="x", b="y", c="x", d="y")) == ["a", "b", "c"]


def test_who_waits_for_a_full_executor_keeps_no_others_out() -> None:
    made = seats(5, x=1, y=None)

    assert all_that_run(made, queued(made, a="x", b="x", c="y", d="x", e="y")) == ["a", "c", "e"]


def test_those_of_an_executor_that_is_set_apart_are_not_counted_and_wait_for_nobody() -> None:
    made = seats(1, y=3)
    made.set_apart("y")
    executors = {"a": "x", "b": "x", "c": "x"} | dict.fromkeys("defg", "y")
    for names in ("a", "bc", "d", "e", "f", "g"):
        made.queue([(name, executors[name]) for name in names])

    assert all_that_run(made, executors) == ["a", "d", "e", "f"]
    made.give_up("y")
    assert all_that_run(made, executors) == ["g"]
    assert (made.has_room(9, "y"), made.has_room(9, "x"), made.has_room(9)) == (True, False, False)


def test_a_group_with_members_apart_needs_seats_for_the_others() -> None:
    made = seats(1)
    made.set_apart("y")
    executors = {"a": "y", "b": "x", "c": "x", "d": "y"}
    made.queue([("a", "y"), ("b", "x")])
    made.queue([("c", "x"), ("d", "y")])

    assert all_that_run(made, executors) == ["a", "b"]
    made.give_up("y")
    assert all_that_run(made, executors) == []
    made.give_up("x")
    assert all_that_run(made, executors) == ["c", "d"]


def test_a_seat_given_back_is_one_seat_for_the_next_in_line() -> None:
    made = seats(2, x=2)
    executors = queued(made, a="x", b="x", c="x", d="x", e="x")
    assert all_that_run(made, executors) == ["a", "b"]

    made.give_up("x")
    assert all_that_run(made, executors) == ["c"]
    made.give_up("x")
    assert all_that_run(made, executors) == ["d"]


def test_a_place_given_back_on_one_executor_is_none_on_another() -> None:
    made = seats(9, x=1, y=1)
    executors = queued(made, a="x", b="y", c="x", d="y")
    assert all_that_run(made, executors) == ["a", "b"]

    made.give_up("y")
    assert all_that_run(made, executors) == ["d"]


def test_jobs_that_run_already_take_more_seats_than_there_are() -> None:
    made = seats(1)
    made.take("x")
    made.take("x")
    executors = queued(made, a="x")

    made.give_up("x")
    assert all_that_run(made, executors) == []
    made.give_up("x")
    assert all_that_run(made, executors) == ["a"]


def test_who_does_not_wait_any_more_is_passed_over_and_forgotten() -> None:
    made = seats(9)
    queued(made, a="x", b="x", c="x")
    asked = []

    def still_waits(name: str) -> bool:
        asked.append(name)
        return name != "a"

    assert [made.next(still_waits) for _ in range(3)] == [["b"], ["c"], []]
    assert asked.count("a") == 1


@given(
    waiting=st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=12),
    free=st.integers(0, 12),
    places=st.dictionaries(st.sampled_from("xyz"), st.integers(0, 4) | st.none()),
)
def test_who_has_begun_before_goes_before_all_who_have_not_each_kind_in_order(
    waiting: list[tuple[str, bool]], free: int, places: dict[str, int | None]
) -> None:
    made = seats(free, **places)
    executors = {}
    for number, (executor, has_begun) in enumerate(waiting):
        executors[str(number)] = executor
        made.queue([(str(number), executor)], has_begun=has_begun)

    expected: list[str] = []
    for name in sorted(executors, key=lambda name: (not waiting[int(name)][1], int(name))):
        limit = places.get(executors[name])
        taken = sum(1 for one in expected if executors[one] == executors[name])
        if len(expected) < free and (limit is None or taken < limit):
            expected.append(name)
    assert all_that_run(made, executors) == expected


def test_a_group_gets_all_its_seats_at_once_and_keeps_others_out_until_there_are_enough() -> None:
    made = seats(3)
    first = queued(made, a="x")
    made.queue([("g1", "x"), ("g2", "y"), ("g3", "y")])
    executors = first | queued(made, b="x") | {"g1": "x", "g2": "y", "g3": "y"}
    assert all_that_run(made, executors) == ["a"]
    made.give_up("x")
    assert all_that_run(made, executors) == ["g1", "g2", "g3"]
    made.give_up("y")
    assert all_that_run(made, executors) == ["b"]


def test_a_group_waits_for_places_on_each_of_its_executors_and_others_pass_it() -> None:
    made = seats(9, y=1)
    made.queue([("g1", "x"), ("g2", "y")])
    executors = {"g1": "x", "g2": "y"} | queued(made, a="z")
    made.take("y")
    assert all_that_run(made, executors) == ["a"]
    made.give_up("y")
    assert all_that_run(made, executors) == ["g1", "g2"]


def test_jobs_of_a_group_that_do_not_wait_any_more_need_no_seats() -> None:
    made = seats(1)
    made.queue([("g1", "x"), ("g2", "x")])
    assert made.next(lambda _name: True) == []
    assert made.next(lambda name: name == "g2") == ["g2"]
