"""Tracelet's names for plugins: `from runbus.compat.tracelet.core.plugins import BackendPlugin`."""
