"""What SSHExecutor would send, and what it refuses. No machine is needed for that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus.abc import JobSpec, Resources
from runbus.attempt import AttemptBody
from runbus.errors import LoginRefused, Unsupported, UsageError
from runbus.events import Image
from runbus.executors import SSHExecutor
from runbus.packaging import PatternPackager, build_package_blocking
from runbus.transports import LocalTunnel, SSHTunnel


def job(folder: Path, *argv: str, cwd: str = "/") -> JobSpec:
    return JobSpec(
        experiment_id="e", name="a job", run_id="e-1", executor="ssh", argv=argv, cwd=cwd,
        env={"RUNBUS_RUN": str(folder / "runs" / "e-1"), "KEEP": "as it is"},
        folder=str(folder / "jobs" / "1-a" / "1"), run_folder=str(folder / "runs" / "e-1"),
    )  # fmt: skip


def test_paths_below_the_job_folder_are_the_machines(tmp_path: Path) -> None:
    executor = SSHExecutor([LocalTunnel("/far away")])

    script = executor.plan(job(tmp_path, "true")).of(AttemptBody).script

    assert "export RUNBUS_RUN='/far away/e/runs/e-1'\n" in script
    assert "export KEEP='as it is'\n" in script


def test_the_home_of_a_machine_is_left_for_its_shell_to_tell(tmp_path: Path) -> None:
    executor = SSHExecutor([LocalTunnel("~/my jobs")])

    script = executor.plan(job(tmp_path, "true")).of(AttemptBody).script

    assert "export RUNBUS_RUN=''\"$HOME\"'/my jobs/e/runs/e-1'\n" in script


def test_paths_in_the_packaged_folder_lead_to_the_unpacked_one(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "train.py").touch()
    package = build_package_blocking(PatternPackager("*"), str(tree))
    executor = SSHExecutor([LocalTunnel("/far")], python="/there/python")
    asked = replace(
        job(tmp_path, sys.executable, str(tree / "train.py"), "--x", cwd=str(tree / "sub")),
        package=package,
    )

    script = executor.plan(asked).of(AttemptBody).script

    archive = f"/far/packages/{package.sha256}.tar.gz"
    assert f"tar -xzf {archive} -C /far/e/jobs/1-a/1/code || exit 126\n" in script
    assert "\ncd /far/e/jobs/1-a/1/code/sub || " in script
    assert script.endswith("\nexec /there/python /far/e/jobs/1-a/1/code/train.py --x\n")
    outside = executor.plan(replace(asked, cwd="/elsewhere")).of(AttemptBody).script
    assert "\ncd /far/e/jobs/1-a/1/code || " in outside


def test_what_no_machine_can_give_is_refused(tmp_path: Path) -> None:
    executor = SSHExecutor([LocalTunnel("/far")], gpus=["0"])
    asked = replace(job(tmp_path, "true"), image=Image(pip=("torch",)), resources=Resources(gpus=2))

    with pytest.raises(Unsupported, match=r"Python packages and 2 GPUs \(there are 1\)"):
        executor.plan(asked)


@pytest.mark.parametrize("host", ["", "a:b", "user@", ":22"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="is not a host"):
        SSHExecutor([host])


def test_a_pool_needs_hosts_that_can_be_told_apart() -> None:
    with pytest.raises(UsageError, match="at least one host"):
        SSHExecutor([])
    with pytest.raises(UsageError, match="have one name"):
        SSHExecutor([LocalTunnel("/x"), LocalTunnel("/x")])


def test_hosts_given_as_text_are_named_as_they_were_written() -> None:
    executor = SSHExecutor(["a", "me@b", "me@c:2222"])

    assert [host.name for host in executor._hosts] == ["a", "me@b", "me@c:2222"]


async def test_an_identity_that_is_not_there_lets_nobody_in(tmp_path: Path) -> None:
    async with SSHTunnel("h", port=1, identity=str(tmp_path / "Key"), config="") as tunnel:
        with pytest.raises(LoginRefused, match=r"there is no file '.*/Key'"):
            await tunnel.call(b"true")
