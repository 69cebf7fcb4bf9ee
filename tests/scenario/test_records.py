"""What runs record, while processes are killed, disks are full, and several write at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import runbus
from runbus.jobs import JobState
from runbus.metrics import StoredRun

ROUNDS = int(os.environ.get("RUNBUS_KILL_ROUNDS", "12"))

TRAINER = textwrap.dedent("""
    import os, runbus, tempfile
    run = runbus.init(project="killed")
    source = tempfile.mkdtemp(dir=os.environ["RUNBUS_HOME"])
    step = 0
    while True:
        for name in ("a", "b"):
            with open(os.path.join(source, name), "w") as file:
                file.write(f"{name}-{step}-" * 20_000)
        run.log_artifact(os.path.join(source, "a"), step=step)
        run.log_artifact(source, "folder", step=step)
        run.log_text("long", f"{step}-" * 30_000, step)
        run.note(str(step))
        os.write(1, b".")
        step += 1
""")


def test_a_kill_at_any_moment_leaves_a_whole_index_and_no_half_file() -> None:
    dice = random.Random(5)
    for number in range(ROUNDS):
        count = dice.randrange(1, 8)
        command = [sys.executable, "-c", TRAINER]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as trainer:
            assert trainer.stdout is not None
            done = len(trainer.stdout.read(count))
            # Somewhere within what comes next: a round takes some milliseconds.
            end = time.perf_counter() + dice.uniform(0, 0.01)
            while time.perf_counter() < end:
                pass
            trainer.kill()
            done += len(trainer.stdout.read())
        assert trainer.returncode == -signal.SIGKILL

        run = runbus.runs(project="killed")[-1]
        assert len(runbus.runs(project="killed")) == number + 1
        assert run.state is JobState.LOST
        assert run.damage() == {}
        notes = [int(note.text) for note in run.notes]
        # The last round may be recorded, and its dot not yet be written.
        assert notes == list(range(len(notes)))
        assert len(notes) in (done, done + 1)
        for name in ("a", "folder"):
            steps = [one.step for one in run.artifacts(name)]
            assert steps == list(range(len(steps)))
            assert len(steps) in (len(notes), len(notes) + 1)
        assert all(one.is_whole() for one in run.artifacts())
        for text in run.text("long"):
            assert text.text == f"{text.step}-" * 30_000
        assert_nothing_half_is_visible(run)


def assert_nothing_half_is_visible(run: StoredRun) -> None:
    """Every folder of content that has its name is whole; what is not is hidden."""
    named = {os.path.dirname(one.path) for one in run.artifacts()}
    root = Path(run.folder) / "artifacts"
    texts = {text.text.encode() for text in run.text()}
    for shelf in root.iterdir():
        if shelf.name.startswith(".new-") or str(shelf) in named:
            continue
        # Stored, and the process killed before it was recorded; or a long text.
        (path,) = shelf.iterdir()
        if path.is_dir():
            assert len(list(path.iterdir())) == 2
        else:
            data = path.read_bytes()
            part = (
                data[: data.index(b"-", 2) + 1] if data[:1] == b"a" else data.split(b"-")[0] + b"-"
            )
            assert data in texts or data == part * (20_000 if data[:1] == b"a" else 30_000)


WRITER = textwrap.dedent("""
    import os, sys, runbus
    who = sys.argv[1]
    run = runbus.init()
    path = os.path.join(os.environ["RUNBUS_HOME"], f"file-{who}")
    for step in range(60):
        with open(path, "w") as file:
            file.write(f"content-{step}")
        run.log_artifact(path, "shared", step=step)
        run.params({f"{who}/step": step, "last": who})
        run.tag(f"{who}-{step % 3}")
        run.log_text(who, str(step), step)
    assert run.lost_records == 0
""")


def test_two_processes_record_one_run_without_waiting_for_each_other() -> None:
    with runbus.init(project="two") as run:
        environment = os.environ | {"RUNBUS_RUN": run.folder}
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, who], env=environment)
            for who in ("one", "two")
        ]
        stored = runbus.open_run(run.id)
        while any(writer.poll() is None for writer in writers):
            # Whatever is seen meanwhile is whole.
            assert all(one.is_whole() for one in stored.artifacts())
        assert [writer.wait() for writer in writers] == [0, 0]

    stored = runbus.open_run(run.id)
    shared = stored.artifacts("shared")
    assert sorted(one.step or 0 for one in shared) == sorted([*range(60), *range(60)])
    for one in shared:
        assert Path(one.path).read_text() == f"content-{one.step}"
    # The same content of both is stored once.
    assert len(list((Path(run.folder) / "artifacts").iterdir())) == 60
    assert stored.params["one/step"] == stored.params["two/step"] == 59
    assert set(stored.tags) == {f"{who}-{n}" for who in ("one", "two") for n in range(3)}
    for who in ("one", "two"):
        assert [text.text for text in stored.text(who)] == [str(step) for step in range(60)]
    times = [one.time_ns for one in shared]
    assert times == sorted(times)


def test_a_full_disk_loses_records_counted_and_told_once_and_never_raises(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import logging, os, sys
        folder = sys.argv[1]
        os.environ["RUNBUS_HOME"] = folder + "/home"
        import runbus
        told = []
        class Keep(logging.Handler):
            def emit(self, record):
                told.append(record.getMessage())
        logging.getLogger("runbus.metrics").addHandler(Keep())
        run = runbus.init()
        made = [run.log_text("long", os.urandom(60_000).hex()) for _ in range(60)]
        lost = run.lost_records
        assert 20 < lost < 60, lost
        source = folder + "/source"
        open(source, "wb").close()
        os.truncate(source, 3_000_000)  # a hole: it takes no room
        assert run.log_artifact(source) is None
        assert run.lost_records == lost + 1
        assert len(told) == 1 and "records are lost: no space left" in told[0], told
        stored = runbus.open_run(run.id)
        assert len(stored.text("long")) == 60 - lost
        # Nothing half is left behind: the room is given back.
        artifacts = run.folder + "/artifacts"
        assert not [name for name in os.listdir(artifacts) if name.startswith(".new-")]
        # Make room: the next one is kept, and that is reported.
        for name in sorted(os.listdir(artifacts))[:10]:
            (file,) = os.listdir(f"{artifacts}/{name}")
            os.unlink(f"{artifacts}/{name}/{file}")
            os.rmdir(f"{artifacts}/{name}")
        run.log_text("again", "x" * 100_000)
        assert runbus.open_run(run.id).text("again")[0].text == "x" * 100_000
        assert len(told) == 2 and f"kept again; {lost + 1} were lost" in told[1], told
        run.finish()
        assert runbus.open_run(run.id).damage() == {}
    """)
    mount = 'mount -t tmpfs -o size=4M none "$1" || exit 77; shift; exec "$@"'
    inside = [sys.executable, "-c", program, str(tmp_path)]
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh", str(tmp_path)]
    result = subprocess.run(
        [*command, *inside], capture_output=True, text=True, timeout=120, check=False
    )
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
