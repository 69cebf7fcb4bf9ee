"""Many processes write one run: each its own journal, merged when read."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import runbus
from runbus.errors import HomeUnusable

if TYPE_CHECKING:
    from pathlib import Path


def run_script(tmp_path: Path, code: str, warnings: int = 0) -> None:
    """Run a script of its own: what is spawned imports the file it was started from."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=False
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
    subprocess.run([sys.executable, str(script)], timeout=50, check=False)

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


def test_workers_of_a_data_loader_neither_hang_nor_write_twice(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import multiprocessing, os, sys, runbus

        def load(run, batches):
            for number in range(100):
                run.log("from a worker", 1.0)
                batches.put(number)

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            with runbus.init() as run:
                for step in range(50_000):
                    run.log("before", 1.0)
                batches = context.Queue()
                workers = [context.Process(target=load, args=(run, batches)) for _ in range(3)]
                for worker in workers:
                    worker.start()
                for step in range(300):
                    batches.get()
                    run.log("loss", 0.5, step)
                for worker in workers:
                    worker.join()
                assert [worker.exitcode for worker in workers] == [0, 0, 0]
                assert run.dropped == 0
        """,
        warnings=3,  # that what a worker logs is lost
    )

    (run,) = runbus.runs()
    points = {name: summary.points for name, summary in run.summaries().items()}
    assert points == {"before": 50_000, "loss": 300}


def test_a_pickled_run_is_the_same_run_in_its_own_process() -> None:
    with runbus.init() as run:
        again, series = pickle.loads(pickle.dumps((run, run.series("s"))))
        series.append(1.0)

        assert again is run
        assert series.name == "s"
        assert run.accepted == 1


def test_a_run_whose_folder_is_not_here_says_so(tmp_path: Path) -> None:
    with runbus.init() as run:
        text = pickle.dumps(run).replace(run.folder.encode(), b"/" * len(run.folder))
    with pytest.raises(HomeUnusable, match=r"cannot use the folder /+ of a run: ") as caught:
        pickle.loads(text)
    assert "handed" in caught.value.hint


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
