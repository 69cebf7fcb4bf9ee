"""Submit to terminal state of N trivial local jobs: `python -m benches.rivals.jobs RIVAL N`.

Prints the seconds. A third word asks for other circumstances: `turn` for one job after the other,
a number for so many finished jobs in the rival's home.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benches.rivals.environments import environment
from benches.scratch import scratch

__all__ = ["measured"]


def measured(rival: str, count: int, circumstances: str = "", *, rounds: int = 3) -> float:
    """Return the median seconds that a rival takes for `count` trivial jobs."""
    command = [environment(rival), "-m", "benches.rivals.jobs", rival, str(count), circumstances]
    return statistics.median(
        float(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        )
        for _ in range(rounds)
    )


def submitit(count: int, _: str) -> float:
    import submitit as rival

    with scratch() as folder:
        executor = rival.LocalExecutor(folder)
        begin = time.perf_counter()
        for job in [executor.submit(int, "1") for _ in range(count)]:
            job.result()
        return time.perf_counter() - begin


def torchx(count: int, _: str) -> float:
    from torchx.components.utils import sh
    from torchx.runner import get_runner

    with scratch() as folder, get_runner("bench") as runner:
        begin = time.perf_counter()
        config = {"log_dir": folder}
        for handle in [runner.run(sh("true"), "local_cwd", cfg=config) for _ in range(count)]:
            runner.wait(handle, wait_interval=0.01)
        return time.perf_counter() - begin


def psij(count: int, _: str) -> float:
    from psij import Job, JobExecutor, JobSpec

    executor = JobExecutor.get_instance("local")
    begin = time.perf_counter()
    jobs = [Job(JobSpec(executable="/bin/true")) for _ in range(count)]
    for job in jobs:
        executor.submit(job)
    for job in jobs:
        job.wait()
    return time.perf_counter() - begin


def nemo_run(count: int, circumstances: str) -> float:
    with scratch() as folder:
        os.environ["NEMORUN_HOME"] = folder
        finished = {
            name: ["SUCCEEDED", name, f"/some/path/experiments/title/title_{number}/job", ["job"]]
            for number in range(int(circumstances) if circumstances.isdigit() else 0)
            for name in [f"job-{number:06d}-abcdefghij"]
        }
        Path(folder, ".local_jobs.json").write_text(json.dumps(finished))
        import nemo_run as rival

        begin = time.perf_counter()
        with rival.Experiment(
            "bench", executor=rival.LocalExecutor(), log_level="ERROR", clean_mode=True
        ) as experiment:
            for number in range(count):
                experiment.add(rival.Script(inline="echo hi"), name=f"t{number}")
            experiment.run(sequential=circumstances == "turn", detach=False, tail_logs=False)
        return time.perf_counter() - begin


if __name__ == "__main__":
    rivals = {"submitit": submitit, "torchx": torchx, "psij": psij, "nemo_run": nemo_run}
    print(rivals[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
