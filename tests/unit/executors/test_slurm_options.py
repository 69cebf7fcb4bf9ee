"""What SlurmExecutor takes and refuses, and the scripts that it would send."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.abc import UNMET, After, Copy, JobSpec, Resources, Timeouts
from runbus.attempt import observe_folder
from runbus.errors import FieldInvalid, UsageError
from runbus.events import CONDITIONS, Condition
from runbus.executors import SlurmExecutor, SlurmResources
from runbus.executors._slurm.body import SlurmBody
from runbus.executors._slurm.script import array_name, waiting

GOLDEN = Path(__file__).parents[2] / "golden" / "scripts"


def job(**changed: Any) -> JobSpec:
    given: dict[str, Any] = {
        "experiment_id": "20260101-000000-ab", "name": "Train it!", "run_id": "r-1",
        "executor": "slurm", "argv": ("python", "train.py"), "cwd": "/code",
        "env": {"lr": "0.1 $x"},
        "folder": "/home/me/.runbus/jobs/1-train/1", "run_folder": "/home/me/.runbus/runs/r-1",
    }  # fmt: skip
    return JobSpec(**{**given, **changed})


def planned(executor: SlurmExecutor, asked: JobSpec) -> str:
    return executor.plan(asked).render()


def directives(text: str) -> dict[str, str]:
    """Return the lines for sbatch as it would split them."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#SBATCH "):
            (word,) = shlex.split(line.removeprefix("#SBATCH "))
            name, _, value = word.removeprefix("--").partition("=")
            found[name] = value
    return found


@pytest.mark.parametrize(
    ("name", "options", "asked"),
    [
        ("slurm", {}, {}),
        (
            "slurm-full",
            {
                "account": "lab", "partition": "gpu", "qos": "high", "nodes": 2,
                "ntasks_per_node": 8, "cpus_per_task": 4, "gpus_per_node": "a100:8", "mem": "0",
                "time": "1-12:00:00", "constraint": "a100&ib", "exclude": ["n1", "n2"],
                "exclusive": True, "comment": 'for "me" # and \\others', "signal": "USR1@90",
                "additional_parameters": {"mail_type": "END", "contiguous": True},
                "setup_lines": ["module load cuda/12"], "job_dir": "~/my jobs",
            },
            {"timeouts": Timeouts(run_s=90)},
        ),
        (
            "slurm-after",
            {},
            {
                "after": (
                    After(job="load", folder="/home/me/.runbus/jobs/0-load/2", when="afterok"),
                    After(job="it's", folder="/home/me/.runbus/jobs/2-it's/1", when="afternotok"),
                )
            },
        ),
        ("slurm-pyxis", {"container_image": "nvcr.io#nvidia/pytorch:24.05-py3"}, {}),
        ("slurm-oci", {"container_image": "/images/bundle", "container_runtime": "oci"}, {}),
        (
            "slurm-apptainer",
            {
                "container_image": "~/images/train.sif", "container_runtime": "apptainer",
                "container_mounts": ["~/data:/data:ro"], "launcher": "torchrun", "nodes": 2,
            },
            {"resources": Resources(gpus=4)},
        ),
        (
            "slurm-charliecloud",
            {"container_image": "registry/train@sha256:ab", "container_runtime": "charliecloud"},
            {},
        ),
        (
            "slurm-profiled",
            {
                "launcher": "ft_launcher", "nodes": 2, "gpus_per_node": 8, "nsys": True,
                "launcher_args": ["--max-restarts=3", "--ft-rank-heartbeat-timeout=450"],
            },
            {},
        ),
        (
            "slurm-components",
            {
                "account": "lab", "launcher": "srun", "signal": "USR1@90",
                "additional_parameters": {"mail_type": "END"},
                "resource_group": [
                    SlurmResources(partition="gpu", nodes=2, gpus_per_node=8),
                    SlurmResources(partition="cpu", ntasks_per_node=4, mem="256G"),
                ],
            },
            {"timeouts": Timeouts(run_s=90)},
        ),
        (
            "slurm-array",
            {"array": "0,6,16-32:4%2"},
            {"name": "train[6]", "copy": Copy(of="train", index=6)},
        ),
        (
            "slurm-requeue",
            {"requeue": True, "container_image": "/images/train.sqsh"},
            {"secrets": {"TOKEN": "env:TOKEN"}, "given": "values"},
        ),
        (
            "slurm-components-torchrun",
            {
                "launcher": "torchrun", "gpus_per_node": "a100:8", "time": "2:00:00",
                "container_image": "/images/train.sqsh",
                "resource_group": [
                    SlurmResources(nodes=2),
                    SlurmResources(nodes=3, gpus_per_node="h100:4", time="1:00:00"),
                ],
            },
            {},
        ),
    ],
    ids=[
        "plain", "full", "after", "pyxis", "oci", "apptainer", "charliecloud", "profiled",
        "components", "array", "requeue", "components-torchrun",
    ],
)  # fmt: skip
def test_the_scripts_are_those_that_were_looked_at(
    name: str, options: dict[str, Any], asked: dict[str, Any]
) -> None:
    """`RUNBUS_GOLDEN=write` keeps a new one."""
    text = planned(SlurmExecutor(**options), job(**asked))
    golden = GOLDEN / f"{name}.sh"
    if os.environ.get("RUNBUS_GOLDEN") == "write":
        golden.write_text(text)

    assert text == golden.read_text()
    assert subprocess.run(["bash", "-n"], input=text.encode(), check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"mem": "64 GB"}, "mem"),
        ({"time": "two hours"}, "time"),
        ({"gpus_per_node": "a100:"}, "gpus_per_node"),
        ({"signal": "USR1@soon"}, "signal"),
        ({"exclusive": "please"}, "exclusive"),
        ({"comment": "two\nlines"}, "comment"),
        ({"partition": "a\n#SBATCH --uid=0"}, "partition"),
    ],
    ids=["mem", "time", "gpus", "signal", "exclusive", "comment", "injected"],
)
def test_a_value_that_slurm_does_not_read_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        SlurmExecutor(**options)

    assert caught.value.field == field


def test_a_component_is_checked_with_what_the_executor_says_besides() -> None:
    with pytest.raises(UsageError, match="'mem' and 'mem_per_cpu' contradict"):
        SlurmExecutor(mem="64G", resource_group=[SlurmResources(mem_per_cpu="2G")])
    with pytest.raises(FieldInvalid, match="64 GB"):
        SlurmExecutor(resource_group=[SlurmResources(), SlurmResources(mem="64 GB")])
    with pytest.raises(UsageError, match="begins no job of several components anew"):
        SlurmExecutor(requeue=True, resource_group=[SlurmResources()])
    with pytest.raises(UsageError, match="nodes are those of a component"):
        SlurmExecutor(nodes=2, resource_group=[SlurmResources()])
    with pytest.raises(FieldInvalid, match="components"):
        SlurmExecutor(resource_group=[{"nodes": 2}])  # type: ignore[list-item]


def test_what_sbatch_would_take_from_an_earlier_component_is_refused() -> None:
    gpus = SlurmResources(gpus_per_node=2, mem="64G")
    executor = SlurmExecutor(resource_group=[SlurmResources(), gpus, SlurmResources(nodes=2)])

    with pytest.raises(UsageError, match=r"component 3 of .* the 'mem' of component 2: say it"):
        executor.plan(job())

    for last in (SlurmResources(mem="1G"), SlurmResources(mem_per_cpu="1G")):
        SlurmExecutor(resource_group=[SlurmResources(), gpus, last]).plan(job())
    SlurmExecutor(mem="8G", resource_group=[gpus, SlurmResources()]).plan(job())


def test_a_job_of_several_components_does_not_say_itself_how_many_gpus_it_needs() -> None:
    executor = SlurmExecutor(resource_group=[SlurmResources(), SlurmResources(gpus_per_node=2)])

    with pytest.raises(UsageError, match="'resource_group'"):
        executor.plan(job(resources=Resources(gpus=1)))


def test_one_component_is_an_ordinary_job() -> None:
    text = planned(SlurmExecutor(resource_group=[SlurmResources(nodes=2)], launcher="srun"), job())

    assert "hetjob" not in text
    assert text == planned(SlurmExecutor(nodes=2, launcher="srun"), job())


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("mail_typ", "'mail-type'"),
        ("reservatoin", "'reservation'"),
        ("partition", "partition="),
        ("gpus-per-node", "gpus_per_node="),
        ("output", "logs"),
        ("array", "array="),
    ],
)
def test_another_option_is_one_of_sbatch_and_not_ours(name: str, advice: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        SlurmExecutor(additional_parameters={name: "x"})

    assert advice in str(caught.value.hint)


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="'mem' and 'mem_per_cpu'"):
        SlurmExecutor(mem="4G", mem_per_cpu="1G")
    with pytest.raises(UsageError, match="'gpus_per_node' and 'gres'"):
        SlurmExecutor(gpus_per_node=1, gres="gpu:2")


def test_a_job_says_how_many_gpus_and_its_executor_of_which_kind() -> None:
    executor = SlurmExecutor(gpus_per_node="a100:8")

    text = planned(executor, job(resources=Resources(gpus=2)))

    assert directives(text)["gpus-per-node"] == "a100:2"
    assert text.count("--gpus-per-node") == 1


def test_gpus_are_not_asked_for_in_two_ways() -> None:
    with pytest.raises(UsageError, match="'gres'"):
        SlurmExecutor(gres="gpu:a100:4").plan(job(resources=Resources(gpus=2)))


def test_slurm_gives_a_job_more_time_than_its_own_limit() -> None:
    asked = job(timeouts=Timeouts(run_s=600))

    assert int(directives(planned(SlurmExecutor(), asked))["time"]) > 10
    assert directives(planned(SlurmExecutor(time="5"), asked))["time"] == "5"
    assert "time" not in directives(planned(SlurmExecutor(), job()))


def test_each_attempt_has_a_name_of_its_own_that_stays() -> None:
    first = directives(planned(SlurmExecutor(), job()))["job-name"]
    again = directives(planned(SlurmExecutor(), job()))["job-name"]
    other = directives(planned(SlurmExecutor(), job(folder="/home/me/.runbus/jobs/1-train/2")))

    assert first == again != other["job-name"]
    assert first.startswith("train-it-")


def test_executors_of_one_cluster_and_folder_share_a_queue_unless_they_are_not_to() -> None:
    queue = SlurmExecutor().capabilities.after
    assert queue is not None
    assert SlurmExecutor(partition="gpu", name="gpu").capabilities.after == queue
    assert SlurmExecutor(job_dir="/elsewhere").capabilities.after != queue
    assert SlurmExecutor(native_dependencies=False).capabilities.after is None
    own = SlurmExecutor(additional_parameters={"dependency": "singleton"})
    assert own.capabilities.after is None
    mixed = SlurmExecutor(resource_group=[SlurmResources(nodes=1), SlurmResources(nodes=2)])
    assert mixed.capabilities.after is None


BEGAN_NOT = f'{{"status":78,"signal":null,"reason":"{UNMET}","uptime":0}}'
WELL = '{"status":0,"signal":null,"reason":"","uptime":1.0,"user":"0m0s"}'
BADLY = '{"status":3,"signal":null,"reason":"","uptime":1.0,"user":"0m0s"}'
KILLED = '{"status":137,"signal":9,"reason":"","uptime":1.0,"user":"0m0s"}'
ASKED = '{"status":0,"signal":null,"reason":"cancelled","uptime":1.0,"user":"0m0s"}'
BLANK = f"{' ' * 511}\n"


@pytest.mark.parametrize(
    ("record", "lets"),
    [
        (WELL, {"afterok", "afterany"}),
        (BADLY, {"afternotok", "afterany"}),
        (KILLED, {"afternotok", "afterany"}),
        # How that counts, only who has asked for the end knows.
        (ASKED, {"afterany"}),
        (BEGAN_NOT, set()), (BLANK, set()), (None, set()), ("cut", set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("when", CONDITIONS)
def test_a_job_begins_only_after_a_record_of_the_end_that_it_needs(
    tmp_path: Path, record: str | None, lets: set[str], when: Condition
) -> None:
    own, other = tmp_path / "jobs/1-child/1", tmp_path / "jobs/0-it's/2"
    for folder in (own, other, tmp_path / "bin"):
        folder.mkdir(parents=True)
    if record is not None:
        (other / "exit.json").write_text(record.strip().ljust(511) + "\n")
    (own / "secrets").touch()
    (tmp_path / "bin/sleep").symlink_to("/bin/true")
    child = job(after=(After(job="it's", folder=str(other), when=when),))
    done = subprocess.run(
        ["bash", "-c", f"{waiting(child).decode()}echo begins"], cwd=own, capture_output=True,
        env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}, check=False,
    )  # fmt: skip

    seen = observe_folder(str(own))
    if when in lets:
        assert (done.returncode, done.stdout, seen) == (0, b"begins\n", None)
    else:
        assert seen is not None
        assert (done.returncode, done.stdout, seen.reason) == (78, b"", UNMET)
        assert (seen.phase, seen.started_ns) == ("ended", 0)
    assert (own / "secrets").exists() == (when in lets)


def test_a_job_that_is_to_end_leaves_that_to_its_wrapper(tmp_path: Path) -> None:
    own = tmp_path / "jobs/1-child/1"
    own.mkdir(parents=True)
    (own / "cancel").touch()
    child = job(after=(After(job="p", folder="/jobs/0-p/1", when="afterok"),))
    done = subprocess.run(
        ["bash", "-c", f"{waiting(child).decode()}echo on"], cwd=own, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"on\n", b"")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_text_without_control_characters_reaches_sbatch(text: str) -> None:
    # How sbatch itself reads such a line is seen against the real one.
    rendered = planned(SlurmExecutor(comment=text, job_dir="/far"), job())
    (line,) = [one for one in rendered.split("\n") if one.startswith("#SBATCH --comment=")]

    assert shlex.split(line.removeprefix("#SBATCH "))[0] == f"--comment={text}"


def test_a_command_runs_once_for_each_task_or_once_a_machine() -> None:
    plain = planned(SlurmExecutor(nodes=2), job())
    tasks = planned(SlurmExecutor(nodes=2, ntasks_per_node=4, launcher="srun"), job())
    torch = planned(SlurmExecutor(nodes=2, gpus_per_node=8, launcher="torchrun"), job())

    assert "srun" not in plain
    assert "srun --kill-on-bad-exit=1 --export=ALL sh -c " in tasks
    assert "--nodes=2 --ntasks=2 --ntasks-per-node=1 sh -c " in torch
    assert '--rdzv-endpoint="$RUNBUS_MASTER_ADDR:$RUNBUS_MASTER_PORT"' in torch
    assert all(text.endswith(" sh python train.py\n") for text in (tasks, torch))


def test_a_container_is_made_by_srun() -> None:
    executor = SlurmExecutor(
        container_image="nvcr.io#nvidia/pytorch:24.05-py3", container_mounts=["/data:/data:ro"]
    )

    text = planned(executor, job())

    assert "--ntasks=1 " in text
    assert "--container-image=nvcr.io#nvidia/pytorch:24.05-py3" in text
    assert ":/data:ro" in text
    assert "--container-workdir=/code" in text


@pytest.mark.parametrize(
    "options",
    [
        {"srun_args": ["--mpi=pmix"]},
        {"srun_args": ["--mpi=pmix"], "container_runtime": "apptainer"},
        {"container_mounts": ["/a:/a"]},
        {"container_mounts": ["/a:/a"], "container_runtime": "oci"},
        {"container_mounts": ["/a:/a:ro"], "container_runtime": "charliecloud"},
        {"container_mounts": ["/a"], "container_runtime": "apptainer"},
        {"container_runtime": "docker"},
        {"launcher": "mpirun"},
        {"launcher_args": ["--max-restarts=3"]},
        {"launcher_args": ["--max-restarts=3"], "launcher": "srun"},
    ],
    ids=[
        "srun",
        "no-srun",
        "mounts",
        "bundle",
        "modes",
        "one",
        "runtime",
        "launcher",
        "no-launcher",
        "no-torchrun",
    ],
)
def test_what_nothing_would_take_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SlurmExecutor(**options)


def test_attempts_share_a_script_of_an_array_that_holds_what_differs_once() -> None:
    bodies = [
        SlurmExecutor(time="10").plan(job(folder=f"/home/me/jobs/{n}-it's/1")).of(SlurmBody)
        for n in range(3)
    ]
    folders = {n: f"/base/e/jobs/{n}-it's/1" for n in (0, 2)}

    name = array_name([one.name for one in bodies])
    script = bodies[0].batch_of(name, folders, b"true").text

    assert len({one.like for one in bodies}) == 1
    assert directives(script.decode())["array"] == "0,2"
    assert directives(script.decode())["job-name"] == name
    head = script.decode().partition("cd ")[0]
    for index, folder in folders.items():
        asked = f'SLURM_ARRAY_TASK_ID={index}\n{head}printf %s "$rb_folder"'
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        assert done.stdout == folder


@pytest.mark.parametrize(
    "other",
    [{"resources": Resources(gpus=1)}, {"timeouts": Timeouts(run_s=600)}],
    ids=["gpus", "time"],
)
def test_attempts_that_ask_for_other_things_share_no_array(other: dict[str, Any]) -> None:
    executor = SlurmExecutor()

    assert executor.plan(job()).of(SlurmBody).like != executor.plan(job(**other)).of(SlurmBody).like


def test_a_script_that_is_told_to_end_before_its_wrapper_is_there_leaves_that_to_it(
    tmp_path: Path,
) -> None:
    body = SlurmExecutor(setup_lines=["kill -s USR2 $$"]).plan(job()).of(SlurmBody)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text("""printf '{"status":7}' >exit.json; touch wrapped""")
    script = body.batch(str(tmp_path), f"sh {shlex.quote(str(wrapper))}".encode())

    done = subprocess.run(["bash", "-c", script.text], timeout=120, check=False)

    assert (done.returncode, (tmp_path / "wrapped").exists()) == (7, True)
