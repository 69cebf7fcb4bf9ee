"""`skyward.plugins`: the plugin value, and those that come with it."""

from __future__ import annotations

from runbus.plugins import Plugin, phase
from runbus.plugins.frameworks import cuml, huggingface, jax, joblib, keras, mps, sklearn, torch

__all__ = [
    "Plugin",
    "cuml",
    "huggingface",
    "jax",
    "joblib",
    "keras",
    "mps",
    "phase",
    "sklearn",
    "torch",
]
