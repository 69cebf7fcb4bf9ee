"""Sets of jobs that are submitted and followed as one, and the runs that came of them."""

from runbus.experiment._catalog import RunRecord as RunRecord
from runbus.experiment._catalog import find_run as find_run
from runbus.experiment._catalog import open_run as open_run
from runbus.experiment._catalog import runs as runs
from runbus.experiment._experiment import AsyncExperiment as AsyncExperiment
from runbus.experiment._experiment import Job as Job
from runbus.experiment._experiment import sweep as sweep
from runbus.experiment._query import query as query

__all__ = ["AsyncExperiment", "Job", "RunRecord", "find_run", "open_run", "query", "runs", "sweep"]
