"""The ports at which the ranks of jobs meet: no two the same, and none where somebody listens."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus import Command, Job, Kernel, LocalExecutor
from runbus._ids import new_experiment_id
from runbus.abc import JobSpec, Resources
from runbus.attempt import MEETING_PORTS, at_a_free_port, on_one_node, rendezvous
from runbus.experiment import ExperimentDraft

PRINTS = Command(("sh", "-c", "echo $MASTER_PORT $RUNBUS_MASTER_PORT"))


def spec(number: int = 1, attempt: int = 1, experiment: str = "20260101-000000-abcdef") -> JobSpec:
    return JobSpec(
        experiment_id=experiment,
        name="a",
        run_id=f"{experiment}-{number}",
        folder="/home/jobs/a/1",
        run_folder="/home/runs/a",
        argv=("true",),
        cwd="/",
        attempt=attempt,
        executor="local",
        env={},
    )


def port(job: JobSpec) -> int:
    alone = on_one_node(job)
    assert alone.env["MASTER_PORT"] == alone.env["RUNBUS_MASTER_PORT"]
    return int(alone.env["MASTER_PORT"])


def test_no_two_jobs_of_an_experiment_meet_at_one_port() -> None:
    ports = [port(spec(number)) for number in range(1, 5_001)]
    assert len({*ports}) == 5_000
    assert {*ports} <= {*MEETING_PORTS}
    # What a failed attempt has left behind is not in the way of the next one.
    attempts = [port(spec(7, attempt)) for attempt in range(1, 10)]
    assert len({*attempts}) == 9
    assert port(spec(7, 2)) not in ports[:4_000]
    assert port(spec(experiment="e")) != port(spec(experiment="f"))
    assert port(replace(spec(), folder="/elsewhere/1")) == port(spec())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_a_port_at_which_somebody_listens_is_left_alone(family: int) -> None:
    job, listener = _taken(family)
    with listener:
        other = at_a_free_port(on_one_node(job))
        assert other is not None
        assert other != port(job)
        chosen = on_one_node(replace(job, env={"RUNBUS_MASTER_PORT": "4711"}))
        assert at_a_free_port(chosen) is None  # somebody knows better
    assert at_a_free_port(on_one_node(job)) is None


def test_a_second_port_at_which_somebody_listens_is_left_alone_too() -> None:
    job, listener = _taken()
    with listener:
        while True:
            second = at_a_free_port(on_one_node(job))
            assert second is not None
            try:
                other = socket.create_server(("", second))
            except OSError:
                continue  # somebody else was there first, and by now it is known
            with other:
                third = at_a_free_port(on_one_node(job))
            break

    assert third is not None
    assert third not in {second, port(job)}


def _taken(family: int = socket.AF_INET) -> tuple[JobSpec, socket.socket]:
    """Return a job, and what listens at its port: some may be taken by others.

    The jobs of each call have ports of their own: another process may run such a test, too.
    """
    experiment = new_experiment_id()
    for number in range(1, 100):
        job = spec(number, experiment=experiment)
        listener = socket.socket(family)
        try:
            listener.bind(("", port(job)))
        except OSError:
            listener.close()
            continue
        listener.listen()
        return job, listener
    raise AssertionError("100 ports are taken")


async def test_a_local_job_meets_at_a_port_where_nobody_listens() -> None:
    draft = ExperimentDraft("p", [Job(name="a", task=PRINTS)])
    executor = LocalExecutor()
    draft.prepare({"local": executor})
    planned = port(draft.specs[0])
    with socket.socket() as listener:
        try:
            listener.bind(("", planned))
        except OSError:
            pass  # by somebody else, then
        else:
            listener.listen()
        async with Kernel(plugins=[executor]) as kernel:
            await draft.run(kernel.bus)
    one, other = (Path(draft.specs[0].folder) / "stdout.log").read_text().split()
    assert one == other
    assert int(one) in {*MEETING_PORTS} - {planned}


def test_addresses_tell_who_is_the_first() -> None:
    told = rendezvous("3", "1", "10.0.0.1,10.0.0.2,10.0.0.3", "4711", "8")

    assert told == {
        "RUNBUS_NNODES": "3",
        "RUNBUS_NODE_RANK": "1",
        "RUNBUS_NODE_IPS": "10.0.0.1,10.0.0.2,10.0.0.3",
        "RUNBUS_MASTER_ADDR": "10.0.0.1",
        "RUNBUS_MASTER_PORT": "4711",
        "RUNBUS_GPUS_PER_NODE": "8",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "4711",
    }


def test_a_shell_finds_the_first_of_addresses_that_it_expands() -> None:
    told = rendezvous("2", "$rank", "$nodes", "$port", "8")
    script = 'RUNBUS_NODE_IPS=10.0.0.1,10.0.0.2; echo "' + told["MASTER_ADDR"] + '"'

    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=120)

    assert done.stdout == b"10.0.0.1\n"
    assert told["RUNBUS_MASTER_ADDR"] == told["MASTER_ADDR"]


def test_a_job_on_one_machine_is_the_first_of_one_with_the_gpus_it_is_given() -> None:
    job = replace(spec(), resources=Resources(gpus=2), env={"MASTER_ADDR": "its own"})

    assert on_one_node(job, port=4711).env == rendezvous("1", "0", "127.0.0.1", "4711", "2") | {
        "MASTER_ADDR": "its own"
    }
    assert on_one_node(job, 3).env["RUNBUS_GPUS_PER_NODE"] == "3"
    assert on_one_node(job, 0).env["RUNBUS_GPUS_PER_NODE"] == "0"


@pytest.mark.parametrize("run", ["alone", "not-numbered", "of-é\udce9-7"])
def test_any_name_of_a_run_leads_to_a_port(run: str) -> None:
    assert port(replace(spec(), run_id=run)) in MEETING_PORTS
