"""SlurmExecutor(array=…): what is taken and refused, what elements are told, and what waits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import Copy, JobRef, JobSpec, Request
from runbus.config import load_batch
from runbus.errors import FieldInvalid, UsageError
from runbus.executors import SlurmExecutor, SlurmResources
from runbus.executors._slurm.body import SlurmBody
from runbus.executors._slurm.bounded import Bounded


def element(index: int, of: str = "train", **changed: Any) -> JobSpec:
    given: dict[str, Any] = {
        "experiment_id": "20260101-000000-ab", "name": f"{of}[{index}]", "run_id": f"r-{index}",
        "executor": "slurm", "argv": ("python", "train.py"), "cwd": "/code", "env": {},
        "folder": f"/home/me/e/jobs/{index + 1}-{of}-{index}/1",
        "run_folder": f"/home/me/e/runs/r-{index}", "copy": Copy(of=of, index=index),
    }  # fmt: skip
    return JobSpec(**{**given, **changed})


def asked(text: str) -> str:
    """Return which elements a script asks for."""
    (found,) = re.findall(r"^#SBATCH --array=(\S+)$", text, re.MULTILINE)
    return str(found)


def requests(executor: SlurmExecutor, indices: Sequence[int], of: str = "train") -> list[Request]:
    return [executor.plan(element(index, of)) for index in indices]


@pytest.mark.parametrize(
    ("array", "indices", "at_a_time"),
    [
        ("0-3", (0, 1, 2, 3), None),
        ("0,6,16-18", (0, 6, 16, 17, 18), None),
        ("0-15:4%2", (0, 4, 8, 12), 2),
        ("5,3,3-4", (3, 4, 5), None),
        (7, (7,), None),
    ],
)
def test_an_array_is_what_sbatch_reads(
    array: str | int, indices: tuple[int, ...], at_a_time: int | None
) -> None:
    executor = SlurmExecutor(array=array)

    assert executor.capabilities.copies == indices
    assert executor.elements is not None
    assert executor.elements.at_a_time == at_a_time


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        ("", "not an index"),
        ("3-1", "ends before it begins"),
        ("0-3:0", "has no step"),
        ("0-3%0", "at least 1"),
        ("0-3%", "at least 1"),
        ("0-3%2%2", "at least 1"),
        ("%2", "not an index"),
        (" 0-3", "not an index"),
        ("0-3\n#SBATCH --hold", "not an index"),
        ("$(id)", "not an index"),
        ("4194304", "4,194,303"),
        ("0-10000", "at most 10,000"),
        (True, "expected text"),
        (-1, "not an index"),
    ],
)
def test_what_is_no_array_is_refused_with_how_to_write_one(array: Any, reason: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        SlurmExecutor(array=array)

    assert reason in str(caught.value)
    assert "0-15%4" in str(caught.value.hint)


def test_jobs_of_several_components_make_no_array() -> None:
    with pytest.raises(UsageError, match="several components"):
        SlurmExecutor(array="0-3", resource_group=[SlurmResources(), SlurmResources()])


def test_a_job_that_is_none_of_the_elements_is_refused() -> None:
    executor = SlurmExecutor(array="0-3")

    for wrong in (element(4), element(0, copy=None)):
        with pytest.raises(UsageError, match="no element of the array 0-3"):
            executor.plan(wrong)
    with pytest.raises(UsageError, match="there is no array"):
        SlurmExecutor().plan(element(0))


def test_an_element_is_told_of_the_whole_array_whatever_it_is_sent_with() -> None:
    text = SlurmExecutor(array="4-20:8,30%2").plan(element(12)).render()

    told = dict(re.findall(r"export SLURM_ARRAY_TASK_(\w+)=(\S+)", text))
    assert told == {"ID": "12", "COUNT": "4", "MIN": "4", "MAX": "30", "STEP": "8"}


def test_the_whole_array_is_sent_as_it_was_asked_for_and_a_part_with_its_bound() -> None:
    executor = SlurmExecutor(array="0-15:4,30%2")
    body = executor.plan(element(4)).of(SlurmBody)

    def sent(*indices: int) -> str:
        folders = {index: f"/far/{index}" for index in indices}
        return asked(body.batch_of("train-x", folders, b"true").text.decode())

    assert sent(0, 4, 8, 12, 30) == "0-15:4,30%2"
    assert sent(0, 8, 30) == "0,8,30%2"
    assert sent(4) == "4"
    assert asked(executor.plan(element(4)).render()) == "4"


def test_all_elements_share_a_script_and_a_name() -> None:
    bodies = [one.of(SlurmBody) for one in requests(SlurmExecutor(array="0-2"), (0, 1, 2))]

    assert len({one.like for one in bodies}) == 1
    assert {one.name.rpartition("-")[0] for one in bodies} == {"train"}


class Queue:
    """What Slurm has, and what is given to it."""

    def __init__(self, limit: int | None) -> None:
        self.executor = SlurmExecutor(array="0-9")
        self.limit = limit
        self.bounded = Bounded()
        self.there: list[JobRef] = []

    def give(self, *groups: Sequence[int], of: str = "train") -> list[list[int]]:
        given = [requests(self.executor, group, of) for group in groups]
        with self.bounded.within(self.limit, given, self.there) as going:
            for one in going:
                self.there += [ref(request.job) for request in one]
            return [[index_of(request) for request in one] for one in going]


def ref(asked: JobSpec) -> JobRef:
    return JobRef(name=asked.name, folder=asked.folder, handle="h")


def index_of(request: Request) -> int:
    assert request.job.copy is not None
    return request.job.copy.index


def test_an_array_without_a_bound_goes_in_whatever_groups() -> None:
    queue = Queue(None)

    assert queue.give(range(5), range(5, 10)) == [[*range(5)], [*range(5, 10)]]


def test_what_does_not_go_with_the_others_waits_for_room_among_them() -> None:
    queue = Queue(2)

    assert queue.give(range(5), range(5, 10)) == [[*range(5)]]
    assert queue.give([5]) == []
    del queue.there[:4]
    assert queue.give(range(5, 10)) == [[5]]
    assert queue.give(range(6, 10)) == []
    queue.there.clear()
    assert queue.give(range(6, 10)) == [[6, 7, 8, 9]]


def test_an_element_that_is_given_again_does_not_wait_for_itself() -> None:
    queue = Queue(1)
    queue.give([3])

    assert queue.give([3]) == [[3]]


def test_other_jobs_and_other_experiments_have_bounds_of_their_own() -> None:
    queue = Queue(1)
    queue.give([0])
    other = element(1, folder="/home/me/f/jobs/2-train-1/1")

    assert queue.give([0], of="eval") == [[0]]
    with queue.bounded.within(1, [[queue.executor.plan(other)]], queue.there) as going:
        assert len(going) == 1


def test_what_is_on_its_way_counts_until_it_is_there() -> None:
    queue, late = Queue(2), Queue(2)
    whole = requests(queue.executor, range(5))

    with (
        queue.bounded.within(2, [whole], []) as first,
        queue.bounded.within(2, [requests(late.executor, [5])], []) as second,
    ):
        assert (len(first), second) == (1, [])
    with queue.bounded.within(2, [requests(late.executor, [5])], []) as second:
        assert len(second) == 1


def test_a_batch_file_says_it_in_its_executor(tmp_path: Path) -> None:
    text = "executors: {{c: {{type: slurm, array: {}}}}}\njobs: [{{name: a, command: [x]}}]\n"
    path = tmp_path / "batch.yaml"
    for array, read in (("0-9%4", "0-9%4"), ("5", 5), ("0,6", "0,6"), ("0-15:4", "0-15:4")):
        path.write_text("project: p\n" + text.format(f'"{array}"' if array == "0,6" else array))
        batch = load_batch(str(path))
        assert batch.executors["c"].data["array"] == read
