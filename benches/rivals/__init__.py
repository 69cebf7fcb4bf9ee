"""Rivals, each run as a process of its own with the same work."""
