"""Submit to terminal state of N trivial local jobs: `python -m benches.rivals.jobs RIVAL N`.

Prints the seconds.
"""

from __future__ import annotations

import sys
import tempfile
import time


def submitit(count: int) -> float:
    import submitit as rival

    with tempfile.TemporaryDirectory() as folder:
        executor = rival.LocalExecutor(folder)
        begin = time.perf_counter()
        for job in [executor.submit(int, "1") for _ in range(count)]:
            job.result()
        return time.perf_counter() - begin


def torchx(count: int) -> float:
    from torchx.components.utils import sh
    from torchx.runner import get_runner

    with tempfile.TemporaryDirectory() as folder, get_runner("bench") as runner:
        begin = time.perf_counter()
        config = {"log_dir": folder}
        for handle in [runner.run(sh("true"), "local_cwd", cfg=config) for _ in range(count)]:
            runner.wait(handle, wait_interval=0.01)
        return time.perf_counter() - begin


def psij(count: int) -> float:
    from psij import Job, JobExecutor, JobSpec

    executor = JobExecutor.get_instance("local")
    begin = time.perf_counter()
    jobs = [Job(JobSpec(executable="/bin/true")) for _ in range(count)]
    for job in jobs:
        executor.submit(job)
    for job in jobs:
        job.wait()
    return time.perf_counter() - begin


if __name__ == "__main__":
    rivals = {"submitit": submitit, "torchx": torchx, "psij": psij}
    print(rivals[sys.argv[1]](int(sys.argv[2])))
