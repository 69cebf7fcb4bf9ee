"""What containers are asked to be, and what an engine's words mean: no engine is needed for it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus import Image
from runbus.abc import Observation
from runbus.errors import FieldInvalid, HttpRefused, SecretMissing, UsageError
from runbus.executors import DockerExecutor
from runbus.executors._docker_container import (
    alias_of,
    bindings,
    healthcheck_document,
    mounts_of,
    ulimits_of,
)
from runbus.executors._docker_images import (
    Progress,
    advice_for,
    derived_context,
    derived_name,
    login_of,
    registry_of,
)
from runbus.executors._docker_watch import end_of
from runbus.executors._docker_words import (
    ImageFacts,
    State,
    Told,
    demultiplexed,
    engine_socket,
    parted,
)
from runbus.jobs._verdict import verdict
from runbus.testing.conformance.executor import Harness


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4) + data


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12))
def test_what_a_container_wrote_is_parted_into_its_two_outputs(
    parts: list[tuple[int, bytes]],
) -> None:
    whole = b"".join(frame(stream, data) for stream, data in parts)

    out, err = demultiplexed(whole)

    assert out == b"".join(data for stream, data in parts if stream == 1)
    assert err == b"".join(data for stream, data in parts if stream == 2)


@given(st.binary(max_size=60))
def test_any_bytes_of_an_engine_are_taken(data: bytes) -> None:
    out, err = demultiplexed(data)

    assert len(out) + len(err) <= len(data)


def test_what_has_no_frames_came_from_a_terminal() -> None:
    assert demultiplexed(b"hello, world\r\n") == (b"hello, world\r\n", b"")
    assert demultiplexed(frame(1, b"abc")[:-1]) == (b"ab", b"")


def test_a_volume_is_a_folder_here_or_one_of_the_engines() -> None:
    mounts, binds = mounts_of(["/a b:/x", "~/d:/y:ro", "cache:/z", "/s:/t:ro,Z"])

    assert [(one["Type"], one["Source"], one["Target"], one["ReadOnly"]) for one in mounts] == [
        ("bind", "/a b", "/x", False),
        ("bind", str(Path("~/d").expanduser()), "/y", True),
        ("volume", "cache", "/z", False),
    ]
    assert binds == ("/s:/t:Z,ro",)


@pytest.mark.parametrize("text", ["", "/a", ":/a", "/a:b", "/a:/b:rx", "/a:"])
def test_a_volume_that_is_none_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        mounts_of([text])

    assert "SOURCE:TARGET" in str(caught.value.hint)


def test_ports_are_published_as_docker_writes_them() -> None:
    found = bindings(["8080:80", "127.0.0.1:53:53/udp", 9000, ":22", "[::1]:5:80"])

    assert found == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "5"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        "9000/tcp": [{"HostIp": "", "HostPort": "9000"}],
        "22/tcp": [{"HostIp": "", "HostPort": ""}],
    }


@pytest.mark.parametrize("text", ["", "x", "80:", "0", "70000", "1:2:3:4", "80/icmp", "-1", True])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FieldInvalid, match="ports"):
        bindings([text])


def test_limits_of_processes_have_one_number_or_two() -> None:
    assert ulimits_of(["nofile=10:20", "memlock:-1"]) == (
        {"Name": "nofile", "Soft": 10, "Hard": 20},
        {"Name": "memlock", "Soft": -1, "Hard": -1},
    )
    with pytest.raises(FieldInvalid, match="NAME=SOFT:HARD"):
        ulimits_of(["nofile"])


def test_a_health_check_is_in_seconds_here_and_in_nanoseconds_there() -> None:
    assert healthcheck_document({"test": "true", "interval": 1.5, "retries": 3}) == {
        "Test": ["CMD-SHELL", "true"],
        "Interval": 1_500_000_000,
        "Retries": 3,
    }
    assert healthcheck_document({"test": ["a", "b"]}) == {"Test": ["CMD", "a", "b"]}
    for bad in ({"intervall": 1}, {"interval": "soon"}, {"test": 3}):
        with pytest.raises(FieldInvalid, match="healthcheck"):
            healthcheck_document(bad)


@given(st.text(max_size=100))
def test_the_name_that_others_find_a_job_by_is_a_host_name(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", alias_of(name))


@pytest.mark.parametrize(
    ("image", "name", "tag", "registry"),
    [
        ("busybox", "busybox", "latest", "docker.io"),
        ("me/x:1", "me/x", "1", "docker.io"),
        ("host:5000/x", "host:5000/x", "latest", "host:5000"),
        ("ghcr.io/a/b:v2", "ghcr.io/a/b", "v2", "ghcr.io"),
        ("a@sha256:0", "a", "sha256:0", "docker.io"),
        ("localhost/x:1", "localhost/x", "1", "localhost"),
    ],
)
def test_the_name_of_an_image_has_parts(image: str, name: str, tag: str, registry: str) -> None:
    assert parted(image) == (name, tag)
    assert registry_of(image) == registry


def test_a_login_is_read_where_it_is_and_is_in_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("LOGIN", "me:pass:word")
    kept = base64.b64encode(b"you:word").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"ghcr.io": {"auth": kept}}}))

    def told(image: str, logins: dict[str, str]) -> dict[str, str]:
        found = login_of(image, logins)
        return dict(json.loads(base64.urlsafe_b64decode(found))) if found else {}

    assert told("reg.example/x", {"reg.example": "env:LOGIN"})["password"] == "pass:word"
    assert told("ghcr.io/x", {})["username"] == "you"
    assert told("busybox", {}) == {}
    monkeypatch.setenv("LOGIN", "hunter2")
    with pytest.raises(SecretMissing, match="USER:PASSWORD") as caught:
        told("reg.example/x", {"reg.example": "env:LOGIN"})
    assert "hunter2" not in str(caught.value)


def test_a_damaged_file_of_logins_is_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for text in ("", "[]", '{"auths": 3}', '{"auths": {"ghcr.io": {"auth": "ä"}}}'):
        (tmp_path / "config.json").write_text(text)
        assert login_of("ghcr.io/x", {}) == b""


def test_the_same_wishes_are_the_same_image() -> None:
    base = ImageFacts(id="sha256:1")

    def name(image: Image, of: ImageFacts = base) -> str:
        return derived_name(derived_context(of, image))

    one = name(Image(base="x", pip=("b", "a"), env={"A": "1"}))
    assert one == name(Image(base="y", pip=("a", "b"), secrets={"T": "env:T"}))
    assert one != name(Image(pip=("a",)))
    assert one != name(Image(pip=("a", "b")), ImageFacts(id="sha256:2"))


def test_a_pull_is_told_layer_by_layer_and_not_too_often() -> None:
    progress = Progress("image x")

    assert progress.take(Told(status="Pulling from library/x", id="latest"), 0.0) == ""
    first = progress.take(Told(status="Downloading", id="a", progress="[=> ]  1MB/9MB"), 0.0)
    assert first == "image x: 0 of 1 layers are here; downloading 1MB/9MB"
    assert progress.take(Told(status="Pull complete", id="a"), 0.1) == ""
    assert progress.take(Told(status="Already exists", id="b"), 5.0).startswith("image x: 2 of 2")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("pull access denied for x", "registry_logins"),
        ("Get http://r/v2/x/manifests/1: no basic auth credentials", "registry_logins"),
        ("dial tcp: lookup registry-1.docker.io: no such host", "docker load"),
        ("manifest unknown", "check the name"),
        ("write /blobs/x: no space left on device", "docker system df"),
        ("OCI permission denied", "None"),
    ],
)
def test_why_there_is_no_image_decides_what_to_try(reason: str, advice: str) -> None:
    assert advice in str(advice_for(HttpRefused("engine", reason, 404)))


@pytest.mark.parametrize(
    ("state", "has_begun", "code", "signal", "reason"),
    [
        (State(exit_code=137, o_o_m_killed=True), True, None, 9, "out of memory"),
        (State(exit_code=137), True, None, 9, "was killed"),
        (State(exit_code=5), False, 5, None, "before the job began: sorry"),
        (State(exit_code=0), False, None, None, "before the job began"),
        (State(exit_code=0), True, None, None, "no record"),
        (State(exit_code=111), False, 111, None, "user"),
        (State(exit_code=127, error="exec: not found"), False, 127, None, "exec: not found"),
    ],
    ids=["memory", "killed", "entrypoint", "deaf", "lost", "user", "error"],
)
def test_an_end_that_only_the_engine_saw_is_never_a_success(
    state: State, has_begun: bool, code: int | None, signal: int | None, reason: str
) -> None:
    ended = end_of(state, b"well\nsorry\n", 7, has_begun=has_begun)

    assert (ended.exit_code, ended.signal, ended.ended_ns) == (code, signal, 7)
    assert reason in ended.reason
    seen = Observation(phase="ended", exit_code=code, signal=signal, reason=ended.reason)
    assert verdict(seen, None) == ("FAILED", ended.reason)


def test_an_engine_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    with pytest.raises(UsageError, match="run runbus where the engine is"):
        engine_socket()
    assert engine_socket("unix:///run/x.sock") == engine_socket("/run/x.sock") == "/run/x.sock"


async def test_a_plan_shows_the_container_and_no_secret(tmp_path: Path) -> None:
    def make() -> DockerExecutor:
        return DockerExecutor(
            "busybox", num_gpus=-1, ports=["8080:8080"], shm_size=1 << 30, socket="/no.sock"
        )

    async with Harness(make, str(tmp_path)) as harness:
        job = harness.shell("echo ran", env={"API_KEY": "hunter2"}, secrets={"T": "env:T"})
        shown = harness.executor.plan(job).render()

    assert "hunter2" not in shown
    for part in ('"Count": -1', '"8080/tcp"', '"ShmSize": 1073741824', "echo ran", "busybox"):
        assert part in shown
