"""Many processes write one run: each its own journal, merged when read."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import runbus

if TYPE_CHECKING:
    from pathlib import Path


def run_script(tmp_path: Path, code: str, warnings: int = 0) -> None:
    """Run a script of its own: what is spawned imports the file it was started from."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (0, warnings), done.stderr


def test_a_run_sent_to_spawned_processes_is_written_by_each(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import multiprocessing, os, runbus

        def work(run, series, group, number):
            run.log("work", float(number))
            series.append(float(number))
            group.log(number, 1.0, 2.0)
            return os.getpid()

        if __name__ == "__main__":
            run = runbus.init(project="many")
            series, group = run.series("s"), run.group("a", "b")
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                tasks = [(run, series, group, number) for number in range(20)]
                pids = pool.starmap(work, tasks, chunksize=1)
                pool.close()
                pool.join()
            run.log("work", -1.0)
            assert os.getpid() not in pids
            run.finish()
        """,
    )

    (run,) = runbus.runs()
    assert sorted(run.metrics("work").values.tolist()) == [-1.0, *map(float, range(20))]
    assert sorted(run.metrics("s").values.tolist()) == list(map(float, range(20)))
    assert sorted(run.metrics("b").steps.tolist()) == list(range(20))
    # No process of the pool was killed: each has ended its journal.
    assert set(run.end_states()) == {0}
    assert 2 <= len(run.end_states()) <= 3


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_that_is_given_a_run_ends_its_journal(method: str, tmp_path: Path) -> None:
    run_script(
        tmp_path,
        f"""
        import multiprocessing, runbus

        def work(run):
            run.log("work", 1.0)

        if __name__ == "__main__":
            with runbus.init() as run:
                context = multiprocessing.get_context("{method}")
                process = context.Process(target=work, args=(run,))
                process.start()
                process.join()
        """,
    )

    (run,) = runbus.runs()
    assert run.end_states() == [0, 0]
    assert run.metrics("work").values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("ending", "state"), [("raise ValueError", "FAILED"), ("os.kill(os.getpid(), 9)", "LOST")]
)
def test_a_run_ends_as_the_process_that_made_it(ending: str, state: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, os, runbus

            def work(run):
                run.log("work", 1.0)

            if __name__ == "__main__":
                with runbus.init() as run:
                    context = multiprocessing.get_context("spawn")
                    process = context.Process(target=work, args=(run,))
                    process.start()
                    process.join()
                    {ending}
            """
        )
    )
    subprocess.run([sys.executable, str(script)], timeout=120, check=False)

    (run,) = runbus.runs()
    assert run.state == state
    assert len(run.metrics("work")) == 1
    run.seal()
    assert runbus.open_run(run.id).state == state


def test_joblib_takes_a_run_along(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import joblib, runbus

        def work(run, number):
            run.log("work", float(number))

        if __name__ == "__main__":
            with runbus.init() as run:
                joblib.Parallel(n_jobs=2)(joblib.delayed(work)(run, n) for n in range(10))
        """,
    )

    (run,) = runbus.runs()
    assert sorted(run.metrics("work").values.tolist()) == list(map(float, range(10)))


@pytest.mark.parametrize("how", ["argument", "global", "pool"])
def test_forked_children_write_journals_of_their_own(how: str, tmp_path: Path) -> None:
    run_script(
        tmp_path,
        f"""
        import multiprocessing, os, runbus

        def keep(given):
            global run, series
            run, series = given, given.series("series")

        def work(given, number):
            given = given or run
            for step in range(100):
                given.log("from a child", float(number))
            given.note(f"of {{number}}")
            (given.series("series") if given is not run else series).extend([1.0, 2.0])
            assert given.dropped == 0, given.last_error

        context = multiprocessing.get_context("fork")
        with runbus.init() as run:
            series = run.series("series")
            for step in range(50_000):
                run.log("before", 1.0)
            if "{how}" == "pool":
                with context.Pool(3, initializer=keep, initargs=(run,)) as pool:
                    pool.starmap(work, [(None, number) for number in range(3)], chunksize=1)
                    pool.close()
                    pool.join()
            else:
                given = run if "{how}" == "argument" else None
                children = [context.Process(target=work, args=(given, n)) for n in range(3)]
                for child in children:
                    child.start()
                for step in range(300):
                    run.log("loss", 0.5, step)
                for child in children:
                    child.join()
                assert [child.exitcode for child in children] == [0, 0, 0]
            run.note("of the parent")
            assert run.dropped == run.lost_records == 0
        """,
    )

    (run,) = runbus.runs()
    points = {name: summary.points for name, summary in run.summaries().items()}
    assert points["before"] == 50_000
    assert (points["from a child"], points["series"]) == (300, 6)
    assert sorted(note.text for note in run.notes) == ["of 0", "of 1", "of 2", "of the parent"]
    assert set(run.end_states()) == {0}
    assert run.state == "SUCCEEDED"


def test_a_forked_child_logs_while_threads_of_its_parent_do(tmp_path: Path) -> None:
    """What the threads of the parent held at the fork, nobody lets go of in the child."""
    run_script(
        tmp_path,
        """
        import os, threading, runbus

        run = runbus.init()
        is_over = threading.Event()

        def busy():
            while not is_over.is_set():
                run.log({"a": 1.0, "b": 2.0})
                run.note("n")
                run.sync()

        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            if (child := os.fork()) == 0:
                run.log("child", float(number))
                run.note("child")
                run.sync()
                os._exit(run.dropped + run.lost_records)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        is_over.set()
        for thread in threads:
            thread.join()
        run.finish()
        """,
    )

    (run,) = runbus.runs()
    assert sorted(run.metrics("child").values.tolist()) == list(map(float, range(20)))
    assert [note.text for note in run.notes].count("child") == 20
    assert run.state == "SUCCEEDED"


def test_a_child_that_is_forked_by_a_child_just_now_logs_too(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import os, runbus

        def forked(depth):
            if (child := os.fork()) == 0:
                run.log("depth", float(depth))
                if depth < 5:
                    forked(depth + 1)
                os._exit(run.dropped)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        with runbus.init() as run:
            forked(1)
        """,
    )

    (run,) = runbus.runs()
    assert sorted(run.metrics("depth").values.tolist()) == [1, 2, 3, 4, 5]


def test_threads_of_a_forked_child_that_log_first_lose_nothing(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import os, threading, runbus

        run = runbus.init()
        for number in range(20):
            if (child := os.fork()) == 0:
                together = threading.Barrier(8)

                def work():
                    together.wait()
                    run.log("child", 1.0)
                    run.note("child")

                threads = [threading.Thread(target=work) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                os._exit(run.dropped + run.lost_records)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        run.finish()
        """,
    )

    (run,) = runbus.runs()
    assert len(run.metrics("child")) == len(run.notes) == 160


def test_a_forked_child_logs_where_its_parent_has_values_on_a_device(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import os, runbus

        class Array:
            shape, dtype, is_cpu = (), "float32", False

            def __init__(self, value):
                self.value = value

            def item(self):
                assert os.getpid() == parent
                return self.value

        parent = os.getpid()
        run = runbus.init()
        run.log("loss", Array(1.0))
        if (child := os.fork()) == 0:
            run.log("child", 2.0)
            run.sync()
            os._exit(run.waiting + run.dropped)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        run.finish()
        """,
    )

    (run,) = runbus.runs()
    assert run.metrics("loss").values.tolist() == [1.0]
    assert run.metrics("child").values.tolist() == [2.0]


def test_a_child_that_is_forked_after_the_end_loses_what_it_logs_and_is_told_once(
    tmp_path: Path,
) -> None:
    run_script(
        tmp_path,
        """
        import os, runbus

        run = runbus.init()
        run.log("loss", 1.0)
        ready, go = os.pipe(), os.pipe()
        if (child := os.fork()) == 0:
            os.read(go[0], 1)
            for _ in range(1000):
                run.log("late", 1.0)
            run.note("late")
            os._exit((run.dropped, run.lost_records) != (1000, 1))
        run.finish()
        os.write(go[1], b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """,
        warnings=1,
    )

    (run,) = runbus.runs()
    assert run.metric_names() == ["loss"]
    assert len(run.end_states()) == 1


def test_workers_that_got_a_run_do_not_keep_it_running(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import asyncio, multiprocessing, runbus

        def work(run, number):
            run.log("work", float(number))

        async def follow(run_id):
            return [batch async for batch in runbus.open_run(run_id).follow()]

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                run = runbus.init()
                pool.apply(work, (run, 1))
                assert runbus.open_run(run.id).state == "RUNNING"
                run.finish()

                # The worker is there, with its journal open.
                stored = runbus.open_run(run.id)
                assert stored.state == "SUCCEEDED"
                stored.seal()
                assert stored.metrics("work").values.tolist() == [1.0]
                assert sum(map(len, asyncio.run(follow(run.id)))) == 1
        """,
    )


def test_a_worker_lets_go_of_runs_that_ended_and_of_those_it_has_not_used_lately(
    tmp_path: Path,
) -> None:
    run_script(
        tmp_path,
        """
        import multiprocessing, os, runbus

        def work(run, number):
            run.log("work", float(number))
            return len(os.listdir("/proc/self/fd"))

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                before = pool.apply(os.listdir, ("/proc/self/fd",))
                for number in range(40):
                    with runbus.init(project="ended") as run:
                        files = pool.apply(work, (run, number))
                assert files - len(before) <= 4, files
                assert runbus.runs(project="ended")[0].seal()
                assert runbus.runs(project="ended")[0].journal_bytes() == 0

                runs = [runbus.init(project="open") for _ in range(40)]
                for _ in range(2):
                    for number, run in enumerate(runs):
                        files = pool.apply(work, (run, number))
                assert files - len(before) <= 20, files
                for run in runs:
                    run.finish()
        """,
    )

    for number, run in enumerate(runbus.runs(project="ended")):
        assert run.metrics("work").values.tolist() == [number]
    for number, run in enumerate(runbus.runs(project="open")):
        assert run.metrics("work").values.tolist() == [number] * 2


def test_a_handle_that_others_displaced_goes_on_where_it_is_used_again() -> None:
    parents = [runbus.init(project="displaced") for _ in range(20)]
    handles = [pickle.dumps((run, run.series("s"), run.group("a", "b"))) for run in parents]
    code = """
        import pickle, sys
        handles = [pickle.loads(handle) for handle in pickle.load(sys.stdin.buffer)]
        for turn in range(2):
            for run, series, group in handles:
                run.log("loss", float(turn))
                series.append(float(turn), step=turn)
                group.log(turn, 1.0, 2.0)
                run.note(f"turn {turn}")
        assert all(run.dropped == run.lost_records == 0 for run, _, _ in handles)
        assert sum(run.is_open for run, _, _ in handles) == 16
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        input=pickle.dumps(handles),
        capture_output=True,
        timeout=150,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")

    for parent in parents:
        parent.finish()
    for stored in runbus.runs(project="displaced"):
        assert stored.metrics("loss").values.tolist() == [0.0, 1.0]
        assert stored.metrics("s").steps.tolist() == [0, 1]
        assert len(stored.metrics("b")) == 2
        assert [note.text for note in stored.notes] == ["turn 0", "turn 1"]


def test_a_pickled_run_is_the_same_run_in_its_own_process() -> None:
    with runbus.init() as run:
        again, series = pickle.loads(pickle.dumps((run, run.series("s"))))
        series.append(1.0)

        assert again is run
        assert series.name == "s"
        assert run.accepted == 1


@pytest.mark.parametrize("what", ["ended", "gone", "sealed"])
def test_a_pickle_of_a_run_that_is_over_opens_nothing_and_raises_nothing(what: str) -> None:
    # No word of the command line, which is in the pickle, too.
    with runbus.init(config={"lr": 0.1, "hf_token": "hf_Xq7Zk"}) as run:
        run.log("loss", 1.0)
        handle = pickle.dumps((run, run.series("loss")))
    assert b"hf_Xq7Zk" not in handle
    if what == "sealed":
        runbus.open_run(run.id).seal()
    elif what == "gone":
        shutil.rmtree(run.folder)
    code = """
        import os, pickle, sys
        run, series = pickle.load(sys.stdin.buffer)
        assert run.config == {"lr": 0.1, "hf_token": "***"}
        before = set(os.listdir("/proc/self/fd"))
        run.log("late", 1.0)
        run.log({"late": 1.0, "later": 2.0})
        series.extend([1.0, 2.0])
        run.note("late")
        run.sync()
        # Less, if garbage was collected meanwhile that had a file.
        assert set(os.listdir("/proc/self/fd")) <= before
        print(run.dropped, run.lost_records, run.closed)
        run.finish()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        input=handle,
        capture_output=True,
        timeout=150,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, b"5 1 False\n")
    (warning,) = done.stderr.splitlines()
    assert b"has ended or is gone" in warning
    assert os.path.exists(run.folder) == (what != "gone")
    if what != "gone":
        stored = runbus.open_run(run.id)
        assert (stored.metric_names(), stored.state) == (["loss"], "SUCCEEDED")


@pytest.mark.parametrize(
    ("variables", "which"),
    [
        ({}, ""),
        ({"RANK": "3"}, "-r3"),
        ({"SLURM_PROCID": "0"}, "-r0"),
        ({"OMPI_COMM_WORLD_RANK": "12", "SLURM_PROCID": "0"}, "-r12"),
        ({"PMI_RANK": "1"}, "-r1"),
        ({"RANK": "first"}, ""),
    ],
)
def test_the_rank_of_a_launcher_is_in_the_name_of_the_journal(
    variables: dict[str, str], which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with runbus.init() as run:
        assert run.path.endswith(f"-{os.getpid()}{which}.journal")
