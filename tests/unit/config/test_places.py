"""Where values were said, and what it costs to note it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from runbus.config import load
from runbus.config._places import Origin, Places

if TYPE_CHECKING:
    from pathlib import Path

_PATHS = st.lists(st.sampled_from(["a", "b", 0]), max_size=4).map(tuple)


@given(st.lists(_PATHS, max_size=8), _PATHS, _PATHS)
def test_the_nearest_place_above_counts_of_what_was_set_last(
    told: list[tuple[Any, ...]], path: tuple[Any, ...], below: tuple[Any, ...]
) -> None:
    places, known = Places(), dict[tuple[Any, ...], Origin]()
    for number, at in enumerate(told):
        places.set(at, Origin("f.yaml", number))
        known = {one: place for one, place in known.items() if one[: len(at)] != at}
        known[at] = Origin("f.yaml", number)

    def nearest(wanted: tuple[Any, ...]) -> Origin | None:
        above = [wanted[:length] for length in range(len(wanted), -1, -1)]
        return next((known[one] for one in above if one in known), None)

    assert places.find(path) == nearest(path)
    assert places.part(path).find(below) == nearest((*path, *below))


def test_a_file_of_twice_as_many_mappings_takes_twice_as_many_steps(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"

    def steps(count: int) -> int:
        file.write_text("".join(f"k{number}: {{a: {number}}}\n" for number in range(count)))
        seen = 0

        def count_step(*_: Any) -> None:
            nonlocal seen
            seen += 1

        before = sys.getprofile()
        sys.setprofile(count_step)
        try:
            load(file, dict)
        finally:
            sys.setprofile(before)
        return seen

    steps(1)  # imports
    assert steps(400) < 2.2 * steps(200)
