"""The contract of executors: what a job leaves where it worked can be read."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - fixtures are read at run time

import pytest

from runbus.abc import FilePatterns
from runbus.errors import Unsupported
from runbus.testing.conformance._harness import Contract, Harness

__all__ = ["FilesContract"]

_LEAVES = """
echo last >kept.ckpt; mkdir -p out/deep .hidden 'odd '; echo '{}' >out/a.json
echo '{"b": 1}' >out/deep/b.json; echo not >out/b.txt; echo no >.hidden/c.json; echo yes >'odd /
d.json'; chmod 700 kept.ckpt; ln -s /etc/hostname link.ckpt; mkfifo pipe.ckpt
ln -s /etc linked; exit 3
"""
_PATTERNS = ("*.ckpt", "**/*.json", "linked/*")


class FilesContract(Contract):
    """What `files` must do."""

    async def test_what_a_job_leaves_is_found_and_read_also_after_a_restart(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        folder = tmp_path / "where it works"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        job = harness.shell(_LEAVES, cwd=os.fspath(folder), artifacts=_PATTERNS)
        if not harness.executor.capabilities.files:
            with pytest.raises(Unsupported):
                harness.executor.plan(job)
            return
        await harness.run(job)
        await harness.restart()

        async with await harness.executor.files(job) as files:
            found = {one.path: one for one in await files.find(FilePatterns(_PATTERNS))}
            others = {path: found.pop(path).problem for path in ("link.ckpt", "pipe.ckpt")}
            read = {path: await files.read(path, 0, 100) for path in found}
            part = await files.read("kept.ckpt", 2, 2)
            same = await files.look("kept.ckpt")
            gone = await files.look("gone.ckpt")

        assert others == {
            "link.ckpt": "it is a symbolic link",
            "pipe.ckpt": "it is no regular file",
        }
        assert read == {
            "kept.ckpt": b"last\n",
            "odd /\nd.json": b"yes\n",
            "out/a.json": b"{}\n",
            "out/deep/b.json": b'{"b": 1}\n',
        }
        assert [one.size for one in found.values()] == [len(read[path]) for path in found]
        assert [one.path for one in found.values() if one.is_executable] == ["kept.ckpt"]
        assert (part, same, gone) == (b"st", found["kept.ckpt"], None)
