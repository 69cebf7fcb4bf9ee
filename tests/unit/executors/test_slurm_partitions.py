"""Which partition a job gets that leaves it open, and what programs say of partitions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.executors._slurm.choosing import Needs, choose, needs_of
from runbus.executors._slurm.partitions import (
    RULES,
    Partition,
    Rules,
    parse_partitions,
    seconds_of,
)

TOLD = f"""\
cpu|up|1-00:00:00|2/6/0/8|64|256000|(null)
gpu|up|12:00:00|4/0/1/5|32|512000|gpu:a100:8(S:0-1),nvme:1
gpu|up|12:00:00|0/2/0/2|32|1024000|gpu:h100:8
old|drain|infinite|0/1/0/1|16+|64000+|(null)
{RULES}
PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES MaxNodes=4 MinNodes=0 \
MaxCPUsPerNode=UNLIMITED State=UP MaxMemPerNode=UNLIMITED
PartitionName=gpu AllowGroups=ALL AllowAccounts=vision,text AllowQos=ALL Default=NO \
MaxNodes=UNLIMITED MinNodes=0 MaxCPUsPerNode=16 State=UP MaxMemPerNode=UNLIMITED
"""


def test_what_both_programs_say_is_one_table() -> None:
    cpu, a100, h100, old = parse_partitions(TOLD.encode())

    assert (cpu.nodes, cpu.idle, cpu.time_s) == (8, 6, 86400)
    assert cpu.rules == Rules(state="UP", is_default=True, nodes=4)
    assert (a100.gres, h100.gres) == ("gpu:a100:8(S:0-1),nvme:1", "gpu:h100:8")
    assert a100.rules.accounts == ("vision", "text")
    assert old.rules == Rules()


@given(st.binary())
def test_no_answer_is_too_strange(answer: bytes) -> None:
    found = parse_partitions(answer + b"\n" + RULES.encode() + b"\n" + answer)

    choose(Needs(), found)


@given(st.text(alphabet="a|/:+0gpu(),-\n"))
def test_no_table_is_too_strange(answer: str) -> None:
    choose(Needs(gpus=1), parse_partitions(answer.encode()))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400), ("1:30", 90), ("1:00:00", 3600), ("2-12", 216000), ("1-00:30", 88200),
        ("2-12:00:00", 216000), ("infinite", None), ("UNLIMITED", None), ("", None),
    ],
)  # fmt: skip
def test_a_time_is_read_as_slurm_reads_it(text: str, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        ({}, Needs()),
        ({"time": "UNLIMITED"}, Needs(time_s=math.inf)),
        ({"mem": "64G", "time": "90"}, Needs(memory_mib=65536, time_s=5400)),
        ({"ntasks-per-node": "4", "cpus-per-task": "8", "mem-per-cpu": "2G"},
         Needs(cpus=32, memory_mib=65536)),
        ({"gpus-per-node": "a100:4", "cpus-per-gpu": "8", "mem-per-gpu": "1000"},
         Needs(cpus=32, gpus=4, kind="a100", memory_mib=4000)),
        ({"gpus": "6", "nodes": "4"}, Needs(nodes=4, gpus=2)),
        ({"gpus-per-task": "2", "ntasks-per-node": "4"}, Needs(cpus=4, gpus=8)),
        ({"gres": "nvme:2,gpu:h100:3", "account": "me", "qos": "long"},
         Needs(gpus=3, kind="h100", account="me", qos="long")),
    ],
    ids=["none", "any-time", "memory", "tasks", "gpus", "all-gpus", "task-gpus", "gres"],
)  # fmt: skip
def test_what_a_job_asks_for_is_counted_for_each_machine(
    asked: dict[str, str], needs: Needs
) -> None:
    assert needs_of(asked) == needs


def there(name: str, **values: Any) -> Partition:
    usual = {"state": "up", "time": "infinite", "nodes": 4, "cpus": "8", "memory_mib": "1000"}
    return Partition(name=name, **{**usual, "idle": 4, **values})


@pytest.mark.parametrize(
    ("needs", "partitions", "chosen"),
    [
        (Needs(), [there("a", gres="gpu:8"), there("b", idle=0)], "b"),
        (Needs(nodes=2), [there("a", time="1:00:00", idle=1), there("b")], "b"),
        (Needs(), [there("a"), there("b", time="1:00:00")], "b"),
        (Needs(), [there("a"), there("b", idle=1, rules=Rules(is_default=True))], "b"),
        (Needs(), [there("a", idle=2), there("b")], "b"),
        (Needs(), [there("b"), there("a")], "a"),
        (Needs(gpus=2, kind="h100"),
         [there("a", gres="gpu:t4:8"), there("b", gres="gpu:t4:8"), there("b", gres="gpu:h100:2")],
         "b"),
    ],
    ids=["no-gpus", "idle", "short", "default", "most-idle", "name", "kind"],
)  # fmt: skip
def test_of_partitions_that_take_a_job_one_is_chosen(
    needs: Needs, partitions: list[Partition], chosen: str
) -> None:
    assert choose(needs, partitions)[0] == chosen


@pytest.mark.parametrize(
    ("needs", "values", "reason"),
    [
        (Needs(), {"state": "inact"}, "it is inact"),
        (Needs(), {"rules": Rules(state="DRAIN")}, "it is drain"),
        (Needs(time_s=3601), {"time": "1:00:00"}, "its jobs run at most 1:00:00"),
        (Needs(account="c"), {"rules": Rules(accounts=("a", "b"))}, "it is for the accounts a, b"),
        (Needs(account="c"), {"rules": Rules(denied=("c",))}, "it takes no jobs of the account c"),
        (Needs(qos="long"), {"rules": Rules(qos=("short",))}, "it takes the qos short"),
        (Needs(nodes=3), {"rules": Rules(nodes=1)}, "its jobs get at most 1 machine"),
        (Needs(), {"rules": Rules(min_nodes=2)}, "its jobs take at least 2 machines"),
        (Needs(cpus=5), {"rules": Rules(cpus=4)}, "its jobs get at most 4 CPUs on a machine"),
        (Needs(memory_mib=9), {"rules": Rules(memory_mib=8)},
         "its jobs get at most 8 MiB on a machine"),
        (Needs(cpus=9), {}, "its machines have 8 CPUs"),
        (Needs(memory_mib=1001), {}, "its machines have 1000 MiB"),
        (Needs(gpus=1), {}, "its machines have no GPUs"),
        (Needs(gpus=1, kind="h100"), {"gres": "gpu:a100:2"}, "its machines have gpu:a100:2"),
        (Needs(nodes=5), {}, "it has 4 such machines"),
    ],
)  # fmt: skip
def test_a_partition_that_does_not_take_a_job_says_why(
    needs: Needs, values: dict[str, Any], reason: str
) -> None:
    assert choose(needs, [there("only", **values)]) == ("", {"only": reason})


def test_what_is_asked_for_may_be_all_that_there_is() -> None:
    exact = Needs(nodes=4, time_s=3600, cpus=8, memory_mib=1000, gpus=2, account="a")
    only = there("a", time="1:00:00", gres="gpu:2", rules=Rules(accounts=("a",), nodes=4))

    assert choose(exact, [only]) == ("a", {})
