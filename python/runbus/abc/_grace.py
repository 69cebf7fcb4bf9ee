"""How long a job that is told to end may take."""

GRACE_S = 10
"""Seconds between TERM and KILL, unless another number is asked for."""
