"""A backend of joblib that runs what is parallel on the workers of a pool. Needs joblib."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import joblib
from joblib.parallel import ParallelBackendBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

__all__ = ["TaskPool", "running_on"]

_NAME = "runbus"


class TaskPool(Protocol):
    """What the backend needs of a pool."""

    @property
    def workers(self) -> int:
        """How many functions run at a time."""
        ...

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Have a function called on a worker."""
        ...


class _PoolBackend(ParallelBackendBase):  # type: ignore[misc]
    """Runs batches of joblib as tasks of a pool."""

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, pool: TaskPool, **settings: Any) -> None:
        super().__init__(**settings)
        self._pool = pool

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many run at a time: of a negative number, as many fewer than all."""
        if n_jobs == 0:
            raise ValueError("n_jobs is 0: give how many run at a time, or -1 for all workers")
        workers = max(1, self._pool.workers)
        if n_jobs is None:
            return workers
        return max(1, workers + 1 + n_jobs) if n_jobs < 0 else n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[..., Any] | None = None) -> Any:
        """Have a batch run; the callback is called with its future."""
        future = self._pool.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return what a batch returned, or raise what it raised."""
        return out.result()


@contextmanager
def running_on(pool: TaskPool) -> Iterator[None]:
    """Have `joblib.Parallel` of this thread run on a pool unless it names another backend."""
    joblib.register_parallel_backend(_NAME, partial(_PoolBackend, pool))
    with joblib.parallel_config(backend=_NAME):
        yield
