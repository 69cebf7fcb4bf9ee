"""A job that the kernel really kills because memory ran out. Needs root and control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runbus.attempt import WRAPPER, observe_folder, wrapper_program
from runbus.testing._waiting import wait_until

pytestmark = pytest.mark.services

LIMIT = 64 << 20
MOUNT = Path("/sys/fs/cgroup")


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with little memory and no swap, below the one of this process."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    paths = {name: path for _, name, path in (line.split(":", 2) for line in lines)}
    if "memory" in paths:
        parent = MOUNT / "memory" / paths["memory"].strip("/")
        limits = {"memory.limit_in_bytes": LIMIT, "memory.memsw.limit_in_bytes": LIMIT}
    else:
        # Beside this process: with the controller on, a group has groups or processes, not both.
        # The one at the top alone has both.
        parent = MOUNT / Path(paths[""]).parent.relative_to("/")
        limits = {"memory.max": LIMIT, "memory.swap.max": 0}
        (parent / "cgroup.subtree_control").write_text("+memory")
    folder = parent / f"runbus-test-{os.urandom(4).hex()}"
    folder.mkdir()
    for name, value in limits.items():
        # Where the kernel counts no swap there is nothing to say so.
        if (folder / name).exists():
            (folder / name).write_text(str(value))
    yield folder
    wait_until(lambda: _is_removed(folder))


def _is_removed(folder: Path) -> bool:
    # What was killed may still be on its way out.
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


@pytest.fixture(params=[[], ["dash"], ["bash"], ["busybox", "sh"]], ids=lambda it: "-".join(it))
def wrapper(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The words that run the wrapper: the program, or the script in a shell."""
    if request.param:
        return [*request.param, WRAPPER]
    path = wrapper_program(tmp_path)
    assert path is not None
    return [path]


def test_the_kernel_s_kill_is_told_from_any_other(
    group: Path, tmp_path: Path, wrapper: list[str]
) -> None:
    program = f"{sys.executable} -c 'x = bytearray({4 * LIMIT})'"
    reasons = []
    for name, line in [("eats", f"exec {program}"), ("dies", "kill -9 $$"), ("had", program)]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "request.sh").write_text(
            '${rb_alone:+exec "$rb_alone" sh "$rb_request"}\n' + line + "; exit 3\n"
        )
        join = f'echo $$ >{group}/cgroup.procs; exec "$@"'
        words = [*wrapper, "run", str(folder)]
        subprocess.run(["sh", "-c", join, "sh", *words], start_new_session=True, timeout=120)
        seen = observe_folder(str(folder))
        assert seen is not None
        reasons.append((seen.exit_code, seen.signal, seen.reason))

    meanwhile = "exit code 3, after the kernel killed a process that ran out of memory"
    assert reasons == [(None, 9, "out of memory"), (None, 9, ""), (3, None, meanwhile)]
