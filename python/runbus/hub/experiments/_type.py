"""The port of types of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExperimentType"]


@runtime_checkable
class ExperimentType(Protocol):
    """What a hub trains and asks for predictions.

    A hub makes an instance of the class with the configuration of the experiment, field by field.
    In the job that trains it calls `format_data`, `create_model`, `run`, `score` and `save`; in
    its own process `load`, then `format_data` and `predict` or `score`, as often as it is asked.
    """

    def format_data(self, data: Any) -> Any:
        """Return data as the other methods take it.

        Args:
            data: What was given to the hub: an array, or what JSON holds.

        Raises:
            ValueError: It cannot be used; says what is wrong with it.
        """
        ...

    def create_model(self) -> None:
        """Make a model that is not trained."""
        ...

    def run(self, data: Any) -> Mapping[str, float]:
        """Train the model.

        Args:
            data: What `format_data` returned.

        Returns:
            What is to be logged as metrics of the run.
        """
        ...

    def predict(self, data: Any) -> Any:
        """Return what the model says of data: what JSON can hold, or an array."""
        ...

    def score(self, data: Any) -> float:
        """Return how good the model is on data; more is better."""
        ...

    def save(self, folder: str) -> None:
        """Write the model to an empty folder."""
        ...

    def load(self, folder: str) -> None:
        """Read what `save` has written. The files may come from anywhere.

        Raises:
            ModelUnreadable: They are missing or damaged.
        """
        ...
