"""A job, as everybody who has to do with it gets it."""

from __future__ import annotations

import msgspec

from runbus.abc.packager import Package
from runbus.events import Image, Resources, RetryPolicy, Timeouts

__all__ = ["JobSpec"]


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as it is handed to an executor.

    Attributes:
        experiment_id: The experiment it belongs to.
        name: Its name, unique within the experiment and safe as a folder name.
        run_id: The run that records what it measures.
        executor: The name of the executor that it goes to.
        argv: The program and its arguments, as the operating system gets them.
        given: A text that the program finds in the file `given` of the folder `RUNBUS_ATTEMPT`; no
            such file if empty. What is too long for a command line, or not for everybody to see.
        cwd: The folder it starts in.
        env: What is added to the environment it inherits.
        secrets: What else is added, as references by the names of the variables: see `Secret`.
        withheld: Variables of the submitting process that no job of the experiment inherits,
            because some job names them as secrets.
        folder: Where an attempt's request, logs and records lie.
        run_folder: Where the run keeps what it measures.
        attempt: Which attempt this is, from 1.
        resources: Which share of a machine it gets.
        timeouts: How long it may run, wait for its start, and be silent.
        retry: After which ends it gets another attempt.
        package: The code that travels with it: it runs in a copy of its own. None for none.
        image: What the machine must hold before the job starts.
        bootstrap: Lines of POSIX shell that run first; one that fails fails the job.
    """

    experiment_id: str
    name: str
    run_id: str
    executor: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    folder: str
    run_folder: str
    attempt: int = 1
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    package: Package | None = None
    image: Image = Image()
    bootstrap: tuple[str, ...] = ()
    secrets: dict[str, str] = {}
    withheld: tuple[str, ...] = ()
    given: str = ""
