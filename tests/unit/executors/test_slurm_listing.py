"""What squeue, sacct and sbatch write, read whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.executors._slurm.asked import refusal
from runbus.executors._slurm.listing import (
    Fact,
    parse_largest_array,
    parse_sacct,
    parse_squeue,
    parse_submitted,
)
from runbus.executors._slurm.numbers import compressed, expanded, spans

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30
)
OURS = st.from_regex(r"[a-z][a-z0-9-]{0,20}-[a-z2-7]{12}", fullmatch=True)


def test_a_waiting_and_a_running_job_are_read() -> None:
    found = parse_squeue(
        b"7|PENDING|N/A||Nodes required for job are DOWN, DRAINED|a-1\n"
        b"8_3|RUNNING|1795950822|node[1-2]|None|b-2\n"
    )

    assert found["a-1"] == Fact(
        id="7", name="a-1", state="PENDING", reason="Nodes required for job are DOWN, DRAINED"
    )
    assert found["b-2[3]"] == Fact(
        id="8_3", name="b-2[3]", state="RUNNING", start_s=1795950822, nodes="node[1-2]"
    )


def test_the_components_of_a_job_are_one_job_that_is_as_the_first_of_them() -> None:
    listed = (
        b"7+1|PENDING|N/A||Resources|a-1\n"
        b"7+0|PENDING|N/A||None|a-1\n"
        b"9+0|RUNNING|1795950822|node1|None|b-2\n"
        b"9+1|COMPLETING|1795950822|node[2-3]|None|b-2\n"
    )
    found = parse_squeue(listed)

    assert found["a-1"] == Fact(id="7", name="a-1", state="PENDING", reason="Resources")
    assert found["b-2"] == Fact(
        id="9", name="b-2", state="RUNNING", start_s=1795950822, nodes="node1,node[2-3]"
    )


def test_components_with_names_of_their_own_are_jobs_of_one_number() -> None:
    found = parse_squeue(
        b"7+0|RUNNING|1795950822|node1|None|a-1\n"
        b"7+1|RUNNING|1795950822|node2|None|b-2\n"
        b"9|RUNNING|1795950822|node3|None|c-3\n"
        b"11+0|RUNNING|1795950822|node1|None|d-4\n"
        b"11+1|RUNNING|1795950822|node2|None|d-4\n"
    )

    told = {name: (fact.id, fact.part, fact.nodes) for name, fact in found.items()}
    assert told == {
        "a-1": ("7", "7+0", "node1"), "b-2": ("7", "7+1", "node2"), "c-3": ("9", "9", "node3"),
        "d-4": ("11", "11", "node1,node2"),
    }  # fmt: skip


def test_a_job_ended_as_its_first_component_did() -> None:
    found = parse_sacct(
        b"7+0|FAILED|3:0|1795950822|node1|None|a-1\n"
        b"7+1|CANCELLED by 0|0:0|1795950822|node2|None|a-1\n"
    )

    assert (found["a-1"].id, found["a-1"].state, found["a-1"].exit_code) == ("7", "FAILED", 3)


def test_how_a_job_ended_is_read_from_its_last_row() -> None:
    found = parse_sacct(
        b"7|REQUEUED|0:0|1795950822|node1||a-1\n"
        b"7|CANCELLED by 1000|0:15|1795950900|node1|None|a-1\n"
    )

    fact = found["a-1"]
    assert (fact.state, fact.detail) == ("CANCELLED", "by 1000")
    assert (fact.exit_code, fact.signal) == (0, 15)


@given(
    state=st.from_regex(r"[A-Z_]{1,20}", fullmatch=True), reason=WORDS, name=OURS,
    nodes=WORDS.filter(lambda text: "|" not in text),
)  # fmt: skip
def test_any_reason_and_any_state_survives(state: str, reason: str, name: str, nodes: str) -> None:
    line = f"12|{state}|N/A|{nodes}|{reason}|{name}\n".encode()

    fact = parse_squeue(line)[name]

    assert (fact.id, fact.state) == ("12", state)
    assert fact.reason in {reason.strip(), ""}


@given(st.binary(max_size=300), OURS)
def test_nothing_that_is_written_breaks_the_reading_of_the_next_line(
    noise: bytes, name: str
) -> None:
    ours = f"5|RUNNING|N/A|n1|None|{name}\n".encode()

    assert parse_squeue(noise + b"\n" + ours)[name].state == "RUNNING"
    parse_sacct(noise)


def test_a_line_that_was_cut_off_says_nothing() -> None:
    assert parse_squeue(b"5|RUNNING|N/A|n1|None|a-1") == {}


@pytest.mark.parametrize(
    ("output", "number"),
    [
        (b"123\n", "123"),
        (b"123;cluster\n", "123"),
        (b"Welcome to the cluster\n123\n", "123"),
        (b"", None),
        (b"Submitted\n", None),
    ],
    ids=["plain", "cluster", "greeting", "empty", "words"],
)
def test_the_number_of_a_job_is_found(output: bytes, number: str | None) -> None:
    assert parse_submitted(output) == number


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Socket timed out on send/recv operation", "unknown"),
        ("Unable to contact slurm controller (connect failure)", "later"),
        ("QOSMaxSubmitJobPerUserLimit; Job violates accounting/QOS policy (…)", "quota"),
        ("Job violates accounting/QOS policy (job submit limit, user's size …)", "refused"),
        ("Invalid account or account/partition combination specified", "refused"),
        ("", "refused"),
    ],
    ids=["timed-out", "down", "quota", "policy", "account", "nothing"],
)  # fmt: skip
def test_a_refusal_is_told_from_an_answer_that_was_lost(said: str, kind: str) -> None:
    assert refusal(said) == kind


def test_elements_of_an_array_are_told_apart_by_their_indices() -> None:
    queue = parse_squeue(b"8_3|RUNNING|1||None|b-2\n8_4|PENDING|1||Priority|b-2\n")
    accounts = parse_sacct(
        b"8_[5,7-8%2]|CANCELLED by 0|0:0|||None|b-2\n8_3|FAILED|3:0|1|n|None|b-2\n"
    )

    assert {name: fact.state for name, fact in queue.items()} == {
        "b-2[3]": "RUNNING", "b-2[4]": "PENDING",
    }  # fmt: skip
    assert {name: (fact.id, fact.state) for name, fact in accounts.items()} == {
        "b-2[3]": ("8_3", "FAILED"), "b-2[5]": ("8_5", "CANCELLED"),
        "b-2[7]": ("8_7", "CANCELLED"), "b-2[8]": ("8_8", "CANCELLED"),
    }  # fmt: skip


@given(st.text(st.sampled_from("0123456789_[]-,%+ ²٣"), max_size=12))
def test_no_number_is_too_strange(number: str) -> None:
    assert all(one.replace("_", "", 1).replace("+", "", 1).isdigit() for one in expanded(number))


@given(st.lists(st.integers(0, 40), min_size=1), st.sets(st.integers(1, 99), max_size=3))
def test_the_elements_of_an_array_are_written_as_slurm_writes_them(
    indices: list[int], plain: set[int]
) -> None:
    *others, array = compressed([*map(str, plain), *(f"7_{index}" for index in indices)])

    assert {int(number) for number in others} == plain
    assert array.startswith("7_[")
    read = set()
    for part in array[3:-1].split(","):
        low, _, high = part.partition("-")
        read |= set(range(int(low), int(high or low) + 1))
    assert read == set(indices)
    assert array[3:-1] == spans(read)


@pytest.mark.parametrize(
    ("said", "largest"),
    [
        (b"MaxArraySize            = 1001\nMaxBatchRequeue = 5\n", 1001),
        (b"MaxArraySize = many\n", None),
        (b"slurm_load_ctl_conf error: Unable to contact slurm controller\n", None),
        (b"MaxArraySize = 1001", None),
    ],
    ids=["told", "no-number", "down", "cut"],
)
def test_how_large_an_array_may_be_is_read_from_the_configuration(
    said: bytes, largest: int | None
) -> None:
    assert parse_largest_array(said) == largest
