"""Leading the jobs of an experiment to their ends, and following what another process leads."""

from runbus.supervisor._follow import Follower as Follower
from runbus.supervisor._standing import refusal as refusal
from runbus.supervisor._supervisor import Supervisor as Supervisor

__all__ = ["Follower", "Supervisor", "refusal"]
