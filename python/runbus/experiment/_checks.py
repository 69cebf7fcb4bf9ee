"""What no experiment can hold, refused before anything is recorded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from runbus import config
from runbus._ids import meaning_of, slug
from runbus._secrets import Secret
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runbus.abc import JobSpec
    from runbus.config import Argument
    from runbus.experiment._job import Job

    Worded = list[tuple[Job, tuple[Argument, ...]]]
    """Jobs, each with its command line."""

__all__ = [
    "Worded",
    "check_name",
    "check_places",
    "check_texts",
    "check_title",
    "check_unicode",
    "with_words",
    "withheld_by",
]


def check_title(project: str) -> None:
    """Refuse the title of an experiment that no record can hold, or that means another.

    Raises:
        UsageError: It is not valid Unicode, or it is "latest" or an id.
    """
    if means := meaning_of(slug(project)):
        raise UsageError(f"the project cannot be called {slug(project)!r}: that means {means}")
    check_unicode("", (("the project", project),))


def check_name(name: str) -> None:
    """Refuse the name of a job that means something else.

    Raises:
        UsageError: It is "latest" or an id.
    """
    if means := meaning_of(name):
        raise UsageError(f"a job cannot be called {name!r}: that means {means}")


def with_words(jobs: Sequence[Job], before: Sequence[Job] = ()) -> Worded:
    """Return checked jobs with their command lines, without those before them."""
    every = [*before, *jobs]
    names = Counter(job.name for job in every)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise UsageError(f"two jobs are named {twice[0]!r}")
    for job in jobs:
        check_name(job.name)
    groups = {job.name: job.group for job in every}
    for wrong in config.graph_problems({job.name: job.dependencies for job in every}, groups):
        raise UsageError(f"job {wrong.job!r}: {wrong.reason}")
    ready = [(job, config.words_of(job.task)) for job in jobs]
    for job, argv in ready:
        check_texts(job, argv)
    return ready


def check_places(specs: Iterable[JobSpec], limits: Mapping[str, int | None]) -> None:
    """Refuse a group of which more start together on an executor than that takes.

    Args:
        specs: The jobs.
        limits: How many jobs each executor takes at a time; None for any number.

    Raises:
        UsageError: So many can never start.
    """
    counted = Counter((spec.group, spec.executor) for spec in specs if spec.group)
    for (group, executor), count in counted.items():
        if (limit := limits.get(executor)) is not None and count > limit:
            many = f"{count} jobs that start together on {executor!r}, which takes {limit}"
            raise UsageError(f"group {group!r} has {many} at a time")


def withheld_by(jobs: Worded) -> tuple[str, ...]:
    """Return the variables that jobs name as their secrets: others do not inherit them."""
    references = {
        value.reference
        for job, _ in jobs
        for value in job.env.values()
        if isinstance(value, Secret)
    }
    names = (reference.partition(":") for reference in references)
    return tuple(sorted(name for kind, _, name in names if kind == "env"))


def check_texts(job: Job, argv: Iterable[Argument]) -> None:
    """Refuse what no record can hold: the bytes of a file name, say, that are not UTF-8."""
    texts = [
        ("its name", job.name),
        ("the text it is given", config.given_by(job.task)),
        *((repr(word), str(word)) for word in argv),
    ]
    # The value of a variable may be something that is not to be shown.
    texts += [(f"the variable {name!r}", f"{name}={value}") for name, value in job.env.items()]
    check_unicode(f"job {job.name!r}: ", texts)


def check_unicode(whose: str, texts: Iterable[tuple[str, str]]) -> None:
    for what, text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{whose}{what} is not valid Unicode") from None
