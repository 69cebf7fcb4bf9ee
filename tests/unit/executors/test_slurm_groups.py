"""A group of jobs as one job of Slurm: what is sent for it, and which groups cannot be one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runbus.abc import JobSpec, Request, Resources, Timeouts
from runbus.errors import JobNotStarted, UsageError
from runbus.executors import SlurmExecutor, SlurmResources

from .test_slurm_options import GOLDEN, job


def member(name: str, **changed: Any) -> JobSpec:
    folder = f"/home/me/.runbus/jobs/{name}/1"
    return replace(job(name=name, folder=folder, group="pair", **changed))


def together(*members: tuple[SlurmExecutor, JobSpec]) -> list[Request]:
    requests = [executor.plan(one) for executor, one in members]
    return [*members[0][0].plan_together(requests)]


def options_of(text: str) -> list[list[str]]:
    """Return the options of each component."""
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH ")]
    parts: list[list[str]] = [[]]
    for line in lines:
        if line == "#SBATCH hetjob":
            parts.append([])
        else:
            parts[-1].append(line.removeprefix("#SBATCH --"))
    return parts


def test_the_script_is_the_one_that_was_looked_at() -> None:
    """`RUNBUS_GOLDEN=write` keeps a new one."""
    gpus = SlurmExecutor(
        partition="gpu", nodes=2, gpus_per_node="a100:8", time="2:00:00", launcher="torchrun",
        setup_lines=["module load cuda/12"],
    )  # fmt: skip
    small = SlurmExecutor(name="small", partition="cpu")
    requests = together(
        (gpus, member("train")), (small, member("serve", timeouts=Timeouts(run_s=90))),
        (small, member("watch", resources=Resources(gpus=1))),
    )  # fmt: skip
    text = "".join(request.render() for request in requests)
    golden = GOLDEN / "slurm-group.sh"
    if os.environ.get("RUNBUS_GOLDEN") == "write":
        golden.write_text(text)

    assert text == golden.read_text()
    script = requests[0].render().encode()
    assert subprocess.run(["bash", "-n"], input=script, check=False).returncode == 0


def test_a_line_of_a_script_cannot_end_it() -> None:
    executor = SlurmExecutor(setup_lines=["true\nrb_script_ends\necho left"])
    (text, _) = (one.render() for one in together(*((executor, member(n)) for n in "ab")))

    script = text.partition("\n\n# request.sh")[0]
    assert script.count("rb_script_ends_\n") == 1
    assert "<<'rb_script_ends_'" in script


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"requeue": True}, "requeue"),
        ({"signal": "USR1@90"}, "signal"),
        ({"gpus": 4}, "gpus"),
        ({"gpus_per_task": 1, "ntasks_per_node": 2}, "gpus_per_task"),
        ({"resource_group": [SlurmResources(), SlurmResources()]}, "resource_group"),
    ],
    ids=["requeue", "signal", "gpus", "gpus of tasks", "components"],
)
def test_one_that_no_component_can_be_says_why_it_is_a_job_of_its_own(
    options: dict[str, Any], told: str
) -> None:
    executor = SlurmExecutor(**options)

    assert executor.capabilities.together is None
    line = f"# Slurm begins it apart from the others of group 'pair': it has {told}\n"
    assert executor.plan(member("a")).render().startswith(line)
    assert not executor.plan(job()).render().startswith("# Slurm")


def test_executors_begin_a_group_together_if_they_hand_over_in_one_place(tmp_path: Path) -> None:
    one, other = SlurmExecutor(mem="4G"), SlurmExecutor(name="other", nodes=2, launcher="srun")
    elsewhere = SlurmExecutor(job_dir=str(tmp_path))

    assert one.capabilities.together == other.capabilities.together is not None
    assert elsewhere.capabilities.together != one.capabilities.together


def test_what_sbatch_carries_over_to_later_components_comes_last() -> None:
    """It would give the job that asks for no memory that of the other."""
    small, large = SlurmExecutor(gpus_per_node=1), SlurmExecutor(mem="64G", time="60")
    text = together((large, member("large")), (small, member("small")))[0].render()

    first, second = options_of(text)
    assert (first[0][:14], second[0][:14]) == ("job-name=small", "job-name=large")
    assert not any(one.startswith(("mem", "time")) for one in first)
    folders = text.partition("rb_folders=(\n")[2].splitlines()[:2]
    assert [line.rpartition("jobs/")[2] for line in folders] == ["small/1'", "large/1'"]


def test_a_group_in_which_each_would_get_what_another_asks_for_is_refused() -> None:
    one, other = SlurmExecutor(mem="64G"), SlurmExecutor(time="60")

    with pytest.raises(UsageError, match="'b' would get the 'mem' of 'a': say it for both"):
        together((one, member("a")), (other, member("b")))


async def test_it_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    far = str(tmp_path / "far")
    executors = [SlurmExecutor(job_dir=far, mem="64G"), SlurmExecutor(job_dir=far, time="60")]
    requests = []
    for name, executor in zip("ab", executors, strict=True):
        folder = tmp_path / name
        folder.mkdir()
        requests.append(executor.plan(replace(member(name), folder=str(folder))))
    async with executors[0]:
        outcomes = await executors[0].submit_all(requests)

    assert [type(one) for one in outcomes] == [JobNotStarted] * 2
    assert "'b' would get the 'mem' of 'a'" in str(outcomes[1])
    assert not (tmp_path / "far").exists()


def test_tasks_of_a_member_start_in_its_own_component_and_alone_in_its_own_job() -> None:
    executor = SlurmExecutor(launcher="srun")
    words = """exec srun ${SLURM_HET_SIZE:+--het-group="$RUNBUS_HET_GROUP"} "$@"'"""

    assert words in executor.plan(member("a")).render()
    assert "SLURM_HET_SIZE" not in executor.plan(job()).render()
