"""Optuna chooses the values of trials: each as it begins, from what those before have measured."""

from runbus_optuna._plugin import Optuna

__all__ = ["Optuna"]
