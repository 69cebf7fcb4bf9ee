"""What slurmrestd is asked, and what its answers mean, however odd they are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from runbus import Secret
from runbus.codec import decode_json
from runbus.errors import ApiUnknown, FieldInvalid, HostError, HttpRefused, UsageError
from runbus.executors import SlurmExecutor
from runbus.executors._slurm.listing import Fact
from runbus.executors._slurm.partitions import Rules
from runbus.executors._slurm.rest import Rest
from runbus.executors._slurm.rest_answers import (
    Accounted,
    Errors,
    Listed,
    facts_of_accounts,
    facts_of_queue,
)
from runbus.executors._slurm.rest_asked import KNOWN, Address, ListSizes, choose, document, offered
from runbus.executors._slurm.rest_partitions import Node, kinds_of_nodes
from runbus.executors._slurm.rest_values import expires_s
from runbus.executors._slurm.script import Batch
from runbus.executors._slurm.verdict import Accounts, Standing, fact_of, noted
from runbus.transports import LocalTunnel


def test_an_address_is_a_socket_or_a_server_and_may_say_who_asks() -> None:
    assert Address.of("unix:///run/s.sock") == Address("http://localhost", "/run/s.sock")
    assert Address.of("http://me@head:6820/") == Address("http://head:6820", "", "me")
    assert Address.of("https://[::1]:1/slurm/api") == Address("https://[::1]:1/slurm/api")


@pytest.mark.parametrize(
    "text",
    ["head:6820", "unix://run/s.sock", "ftp://head", "http://", "http://h:x", "http://h?a=b"],
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(FieldInvalid, match="rest is the address"):
        Address.of(text)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(FieldInvalid) as caught:
        SlurmExecutor(rest="http://me:hunter2@head:6820")

    assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.hint}"
    with pytest.raises(UsageError, match="give rest"):
        SlurmExecutor(token=Secret("env:SLURM_JWT"))


def test_the_newest_version_that_both_sides_speak_is_taken() -> None:
    ours = ["/slurm/v0.0.40/jobs/", "/slurm/v0.0.41/jobs/", "/slurm/v0.0.99/x"]
    paths = [*ours, "/slurmdb/v0.0.40/x", "/openapi/v3", "/slurm/v9/x"]

    versions, accounts = offered(paths)

    assert versions == ["v0.0.99", "v0.0.41", "v0.0.40"]
    assert accounts == {"v0.0.40"}
    assert choose(versions) == "v0.0.41"
    assert choose(["v0.0.99"]) is None
    assert choose(["v0.0.42", "v0.0.43"]) == "v0.0.43"


OPTIONS = [
    ("job-name", "a"), ("no-requeue", ""), ("mem", "1G"), ("time", "1-02:30:01"),
    ("nodelist", "n1,n[2-3]"), ("gres", "craynetwork:1"), ("gpus-per-node", "a100:2"),
]  # fmt: skip


def sent(version: str, *more: tuple[str, str]) -> Mapping[str, Any]:
    batch = Batch([[*OPTIONS, *more]], b"true\n")
    return document(batch, {"A": "it's\n1"}, "0027", version)


def test_options_are_said_as_each_version_takes_them() -> None:
    old, new = sent("v0.0.38"), sent("v0.0.42", ("signal", "B:USR1@90"))

    assert old["job"]["memory_per_node"] == "1G"
    assert old["job"]["no_requeue"] is True
    assert old["script"] == new["job"]["script"] == "#!/bin/bash\ntrue\n"
    assert old["job"]["environment"]["A"] == "it's\n1"
    assert "A=it's\n1" in new["job"]["environment"]
    assert "SLURM_UMASK=00027" in new["job"]["environment"]
    assert new["job"]["memory_per_node"]["number"] == 1024
    assert new["job"]["time_limit"]["number"] == 24 * 60 + 151
    assert new["job"]["required_nodes"] == ["n1", "n[2-3]"]
    assert new["job"]["tres_per_node"] == "gres/craynetwork:1,gres/gpu:a100:2"
    assert new["job"]["requeue"] is False
    assert new["job"]["kill_warning_flags"] == ["BATCH_JOB"]


def test_components_are_jobs_of_one_request_and_the_script_is_of_the_first() -> None:
    parts = [[("nodes", "1"), ("gpus-per-node", "2")], [("nodes", "3"), ("ntasks-per-node", "2")]]

    old, new = (
        document(Batch(parts, b"true\n"), {"A": "1"}, "0027", version)
        for version in ("v0.0.38", "v0.0.42")
    )

    assert [job["nodes"] for job in old["jobs"]] == [job["nodes"] for job in new["jobs"]]
    assert ("job" in old, old["script"]) == (False, "#!/bin/bash\ntrue\n")
    assert [job.get("script") for job in new["jobs"]] == ["#!/bin/bash\ntrue\n", None]
    assert old["jobs"][0]["environment"] == old["jobs"][1]["environment"]
    assert old["jobs"][0]["environment"]["SLURM_GPUS_PER_NODE_HET_GROUP_0"] == "2"
    assert "SLURM_NTASKS_PER_NODE_HET_GROUP_1=2" in new["jobs"][1]["environment"]


@pytest.mark.parametrize("version", KNOWN)
def test_each_version_is_told_what_a_job_waits_for(version: str) -> None:
    waits = "afterany:12:13_4"
    assert sent(version, ("dependency", waits))["job"]["dependency"] == waits


@pytest.mark.parametrize("option", ["signal", "contiguous", "no-such"])
def test_an_option_that_a_version_does_not_have_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}.*v0.0.38"):
        sent("v0.0.38", (option, "B:USR1@90"))


def queue(*jobs: Mapping[str, Any], user: str = "me") -> dict[str, Fact]:
    listed = decode_json(json.dumps({"errors": [], "jobs": jobs}), Listed)
    assert listed.jobs is not None
    return facts_of_queue(listed.jobs, user)


def number(value: int | None) -> Mapping[str, Any]:
    return {"set": value is not None, "infinite": False, "number": value or 0}


def test_jobs_are_told_alike_by_old_and_new_versions() -> None:
    plain = {"job_id": 5, "array_job_id": 0, "array_task_id": None, "name": "a", "user_name": "me",
             "job_state": "RUNNING", "state_reason": "None", "start_time": 7, "nodes": "n1",
             "exit_code": 0}  # fmt: skip
    wordy = {**plain, "array_job_id": number(0), "array_task_id": number(None),
             "job_state": ["RUNNING"], "start_time": number(7),
             "exit_code": {"status": ["SUCCESS"], "return_code": number(0)}}  # fmt: skip

    assert queue(plain)["a"]._replace(exit_code=None) == queue(wordy)["a"]._replace(exit_code=None)
    assert queue(plain)["a"].nodes == "n1"
    assert queue({**plain, "exit_code": 7 << 8})["a"].exit_code == 7
    assert queue({**plain, "exit_code": 9})["a"].signal == 9
    assert queue({**plain, "job_state": ["CANCELLED", "COMPLETING"]})["a"].state == "COMPLETING"


def test_the_components_of_a_job_are_one_job() -> None:
    first = {"job_id": 7, "het_job_id": 7, "het_job_offset": 0, "name": "a", "user_name": "me",
             "job_state": "RUNNING", "nodes": "n1"}  # fmt: skip
    other = {**first, "job_id": 8, "het_job_offset": 1, "job_state": "FAILED", "nodes": "n[2-3]"}
    rows = decode_json(json.dumps({"jobs": [
        {"job_id": job, "het": {"job_id": 7, "job_offset": job - 7}, "name": "a", "user": "me",
         "state": {"current": state}} for job, state in ((8, "CANCELLED"), (7, "FAILED"))
    ]}), Accounted).jobs  # fmt: skip

    told = queue(other, first)["a"]

    assert (told.id, told.state, told.nodes) == ("7", "RUNNING", "n1,n[2-3]")
    assert queue({**first, "het_job_id": number(7), "het_job_offset": number(0)})["a"].id == "7"
    assert [fact[:3] for fact in facts_of_accounts(rows or (), "me").values()] == [
        ("7", "a", "FAILED")
    ]


@pytest.mark.parametrize("is_new", [False, True], ids=["old", "new"])
def test_a_partition_is_chosen_by_the_rules_and_idle_machines_that_versions_tell(
    is_new: bool,
) -> None:
    old = {"name": "gpu", "state": "UP", "flags": ["default"], "max_time_limit": -1,
           "allowed_accounts": "vision,text", "denied_accounts": "", "allowed_qos": "long",
           "maximum_nodes_per_job": 2, "min nodes per job": 1, "maximum_cpus_per_node": -1,
           "maximum_memory_per_node": 500, "nodes": "n[1-3]"}  # fmt: skip
    new = {"name": "gpu", "partition": {"state": ["UP"]}, "nodes": {"configured": "n[1-3]"},
           "accounts": {"allowed": "vision,text", "deny": ""}, "qos": {"allowed": "long"},
           "maximums": {"nodes": number(2), "cpus_per_node": number(None), "time": number(None),
                        "partition_memory_per_node": number(500)},
           "minimums": {"nodes": 1}}  # fmt: skip
    states: list[tuple[Any, Any]] = [(["IDLE"], None), (["IDLE", "DRAIN"], None), (["MIXED"], None)]
    if not is_new:
        states = [("idle", []), ("idle", ["DRAIN"]), ("mixed", [])]
    nodes = [
        Node(partitions=["gpu"], cpus=4, real_memory=900, state=state, state_flags=flags)
        for state, flags in states
    ]

    (found,) = kinds_of_nodes([new if is_new else old], nodes)

    assert (found.nodes, found.idle, found.time, found.state) == (3, 1, "infinite", "up")
    assert found.rules == Rules(
        state="UP", is_default=not is_new, accounts=("vision", "text"), qos=("long",), nodes=2,
        min_nodes=1, memory_mib=500,
    )  # fmt: skip


async def test_jobs_are_asked_for_one_by_one_where_the_list_of_all_is_too_long(
    tmp_path: Path,
) -> None:
    job = {"job_id": 5, "name": "a", "user_name": "", "job_state": "RUNNING"}
    listed = http(json.dumps({"errors": [], "jobs": [job]}).encode())
    unknown = http(b'{"errors": [{"error_number": 2017}], "jobs": []}', status=500)
    away = http(b'{"errors": [{"error_number": 1}], "jobs": []}', status=500)

    asked: list[bytes] = []
    answers = http(PATHS), listed, listed, unknown, listed, away
    sizes = ListSizes(long_bytes=1, one_bytes=10)
    async with asking(tmp_path, *answers, asked=asked, sizes=sizes) as rest:
        for ids in (["5"], ["5", "9_2"], [""]):
            assert list(await rest.queue(ids)) == ["a"]
        with pytest.raises(HostError):
            await rest.queue(["5"])

    about = [line.split()[1].rpartition(b"/")[2] for line in asked[1:]]
    assert about[:1] + sorted(about[1:3]) + about[3:] == [b"jobs", b"5", b"9", b"jobs", b"5"]


async def test_a_list_that_is_too_long_to_be_read_is_asked_for_job_by_job(
    tmp_path: Path,
) -> None:
    job = {"job_id": 5, "name": "a", "user_name": "", "job_state": "RUNNING"}
    whole = http(json.dumps({"errors": [], "jobs": [job] * 100}).encode())
    one = http(json.dumps({"errors": [], "jobs": [job]}).encode())

    sizes = ListSizes(most_bytes=2000)
    async with asking(tmp_path, http(PATHS), whole, one, whole, sizes=sizes) as rest:
        assert list(await rest.queue(["5"])) == ["a"]
        with pytest.raises(HostError, match="too long"):
            await rest.queue()


def test_a_job_of_another_user_is_not_taken_for_ours() -> None:
    assert queue({"job_id": 5, "name": "a", "user_name": "other", "job_state": "FAILED"}) == {}


@pytest.mark.parametrize(
    "job",
    [
        {}, {"job_id": "x", "name": "a"}, {"job_id": 1, "name": ["a"]}, {"job_id": -(1 << 80)},
        {"array_job_id": 5, "name": "a", "array_task_string": "0-99999999999"},
        {"array_job_id": 5, "name": "a", "array_task_string": "[]%x"},
    ],
)  # fmt: skip
def test_what_is_not_a_job_is_passed_over(job: Mapping[str, Any]) -> None:
    assert queue({"user_name": "me", **job}) == {}


def test_a_state_that_nobody_knows_survives() -> None:
    found = queue({"job_id": 5, "name": "a", "user_name": "me", "job_state": ["DREAMING"]})

    assert found["a"].state == "DREAMING"


def test_an_element_that_a_long_array_is_too_long_to_list_still_waits() -> None:
    """Else it would be taken for one that somebody took out of its array."""
    listed = queue({"job_id": 5, "array_job_id": 5, "name": "a", "user_name": "me",
                    "job_state": "PENDING", "array_task_string": "0,2,4,16..."})  # fmt: skip
    told = {"a[6]": Fact("5_6", "a[6]", "FAILED", source="slurmdbd")}

    assert sorted(listed) == ["a", "a[0]", "a[2]", "a[4]"]
    late = fact_of(listed, "a[17]")
    assert late is not None
    assert (late.id, late.state) == ("5_17", "PENDING")
    ended = noted(Standing(), "a[6]", listed, Accounts(told, answered=True), 1.0)
    assert ended.fact is not None
    assert ended.fact.state == "FAILED"


def accounts(*rows: Mapping[str, Any]) -> dict[str, Fact]:
    found = decode_json(json.dumps({"jobs": rows}), Accounted)
    assert found.jobs is not None
    return facts_of_accounts(found.jobs, "me")


def test_the_accounts_tell_how_jobs_ended_and_which_elements_wait() -> None:
    row = {"job_id": 6, "name": "a", "user": "me", "nodes": "None assigned",
           "state": {"current": ["CANCELLED"], "reason": "None"}, "kill_request_user": "root",
           "array": {"job_id": 0, "task_id": number(None), "task": ""},
           "exit_code": {"return_code": number(None), "signal": {"id": number(15)}}}  # fmt: skip
    bits = {**row, "array": {"job_id": 5, "task_id": None, "task": "0x15"}}
    spans = {**row, "array": {"job_id": 5, "task_id": number(None), "task": "1-2,7"}}

    (alone,) = accounts(row).values()

    assert (alone.id, alone.state, alone.detail, alone.signal) == ("6", "CANCELLED", "by root", 15)
    assert (alone.nodes, alone.reason) == ("", "")
    assert sorted(accounts(bits)) == ["a[0]", "a[2]", "a[4]"]
    assert sorted(accounts(spans)) == ["a[1]", "a[2]", "a[7]"]


def test_a_failure_whose_code_the_accounts_forget_is_told_with_that_of_the_controller() -> None:
    said = queue({"job_id": 5, "name": "a", "user_name": "me", "job_state": "FAILED",
                  "exit_code": 73 << 8})  # fmt: skip
    told = accounts({"job_id": 5, "name": "a", "user": "me", "state": {"current": "FAILED"},
                     "exit_code": {"status": "SUCCESS", "return_code": 0}})  # fmt: skip

    found = noted(Standing(), "a", said, Accounts(told, answered=True), 1.0).fact

    assert found is not None
    assert found.exit_code == 73


def test_a_number_is_a_job_also_where_something_is_wrong() -> None:
    text = '{"job_id": 5, "errors": [{"error_code": 2015, "error": "not available now"}]}'

    assert decode_json(text, Errors).number == "5"
    assert decode_json('{"result": {"job_id": 6}}', Errors).number == "6"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": "Invalid partition name specified", "error_code": 2000}, "refused"),
        ({"error": "Unable to contact slurm controller (connect failure)"}, "later"),
        ({"error": "Zero Bytes were transmitted or received"}, "unknown"),
        ({"error": "Invalid job array specification", "description": "failed"}, "large"),
        ({"description": "QOSMaxSubmitJobPerUserLimit"}, "quota"),
    ],
)
def test_an_error_means_what_the_same_words_of_sbatch_mean(
    error: Mapping[str, Any], kind: str
) -> None:
    assert decode_json(json.dumps({"errors": [error]}), Errors).refusal == kind


def test_the_end_of_a_token_is_read_from_it_where_it_says_one() -> None:
    assert expires_s("eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3OTU5ODcyMTl9.x") == 1795987219
    for text in ("", "x", "a.b.c", "a.W10.c", "a.eyJleHAiOiJ4In0.c", "a.\xff.c"):
        assert expires_s(text) is None


PATHS = b'{"paths": {"/slurm/v0.0.38/jobs": {}, "/slurmdb/v0.0.38/jobs": {}}}'


@asynccontextmanager
async def asking(
    folder: Path,
    *answers: bytes,
    asked: list[bytes] | None = None,
    sizes: ListSizes = ListSizes(),  # noqa: B008 - it cannot be changed
) -> AsyncIterator[Rest]:
    """Ask a server on a socket, which answers so, once after the other."""
    told, heard = list(answers), [] if asked is None else asked

    async def answer(stream: ByteStream) -> None:
        async with stream:
            heard.append(await stream.receive())
            await stream.send(told.pop(0))

    listener = await anyio.create_unix_listener(folder / "s")
    async with listener, anyio.create_task_group() as serving:
        serving.start_soon(listener.serve, answer)
        rest = Rest(f"unix://{folder}/s", None, LocalTunnel(str(folder)), sizes)
        yield rest
        await rest.close()
        serving.cancel_scope.cancel()


def http(body: bytes, *, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def test_a_server_of_versions_that_nobody_knows_is_told_with_both_lists(
    tmp_path: Path,
) -> None:
    paths = http(b'{"paths": {"/slurm/v0.0.99/jobs/": {}, "/slurm/v0.0.98/jobs/": {}}}')

    async with asking(tmp_path, paths) as rest:
        with pytest.raises(ApiUnknown) as caught:
            await rest.queue()

    assert caught.value.offered == ("v0.0.99", "v0.0.98")
    assert caught.value.known == KNOWN
    assert "v0.0.98" in str(caught.value)
    assert KNOWN[0] in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        http(b'{"jobs": [], "errors": [{"error": "Unable to contact slurm controller"}]}'),
        http(b'{"errors": []}'),
        http(b'{"errors": [], "jobs": 7}'),
        http(b'{"errors": [], "jobs": [{"job_id"'),
        http(b"<html><title>502</title></html>", status=500),
        http(b"[" * 100000),
        http(b""),
    ],
    ids=["errors", "no list", "no jobs", "cut", "page", "nested", "empty"],
)
async def test_an_answer_that_is_not_whole_says_nothing_about_jobs(
    tmp_path: Path, answer: bytes
) -> None:
    async with asking(tmp_path, http(PATHS), answer) as rest:
        with pytest.raises(HostError):
            await rest.queue()


@pytest.mark.parametrize(
    "error",
    ['"error_number": 1', '"error_number": -1', '"error": "Unable to contact slurm controller"'],
)
async def test_an_end_that_no_controller_has_heard_of_is_told(tmp_path: Path, error: str) -> None:
    away = http(b'{"errors": [{%s}]}' % error.encode(), status=500)
    unknown = http(b'{"errors": [{"error_number": 2017, "error": "Invalid job id specified"}]}')

    async with asking(tmp_path, http(PATHS), away, unknown) as rest:
        with pytest.raises(HostError):
            await rest.end(["5"])

        await rest.end(["5"])


async def test_numbers_are_said_to_the_accounts_as_a_version_takes_them(tmp_path: Path) -> None:
    for version, query in ((b"38", b"step=1%2C2"), (b"40", b"step=1&step=2")):
        asked: list[bytes] = []
        paths, empty = http(PATHS.replace(b"38", version)), http(b'{"jobs": []}')
        async with asking(tmp_path, paths, empty, asked=asked) as rest:
            told = await rest.accounts(["1", "2"], [])

        assert told.answered
        assert query in asked[1]


async def test_the_script_of_a_group_is_told_once_and_by_no_signal_that_all_of_it_would_get(
    tmp_path: Path,
) -> None:
    done = http(b'{"errors": []}')
    for version, told in (
        (b"38", [b"DELETE /slurm/v0.0.38/job/7?signal=TERM "]),
        (b"40", [b"DELETE /slurm/v0.0.40/job/5?signal=USR2&flags=BATCH_JOB ",
                 b"DELETE /slurm/v0.0.40/job/7?signal=USR2&flags=BATCH_JOB "]),
    ):  # fmt: skip
        asked: list[bytes] = []
        paths = http(PATHS.replace(b"38", version))
        async with asking(tmp_path, paths, done, done, asked=asked) as rest:
            await rest.tell_to_end(["5+0", "5+1", "7"])

        assert sorted(one.partition(b"HTTP")[0] for one in asked[1:]) == told


async def test_a_version_that_is_gone_is_asked_for_anew(tmp_path: Path) -> None:
    gone = http(b"Unable find requested URL.", status=404)
    newer = http(PATHS.replace(b"38", b"40"))
    empty = http(b'{"errors": [], "jobs": []}')

    async with asking(tmp_path, http(PATHS), gone, newer, empty) as rest:
        with pytest.raises(HttpRefused):
            await rest.queue()

        assert await rest.queue() == {}
        assert await rest.version() == "v0.0.40"
