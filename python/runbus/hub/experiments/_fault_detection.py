"""Faults as measurements that are unlike those of a machine that is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from runbus.errors import ExtraMissing, ModelUnreadable
from runbus.hub.experiments._state import load_state, numpy, save_state
from runbus.hub.experiments._type import ExperimentType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FaultDetectionExperiment", "Measured"]

_KIND = "fault_detection"


class Measured(NamedTuple):
    """Measurements, as `FaultDetectionExperiment.format_data` returns them.

    Attributes:
        values: Array, float64 `(samples, features)`.
        faults: Array, bool `(samples,)`: which samples are known to be faults; None if that is
            not known.
    """

    values: Any
    faults: Any


class FaultDetectionExperiment(ExperimentType):
    """Detects faults: samples that are unlike most of those that it was trained with.

    Its data are samples of finite numbers, `(samples, features)`, or a mapping of columns, as of a
    data frame; or a mapping with either as `values` and, as `faults`, whether each sample is one:
    known faults are kept out of training.
    `predict` returns, for each sample, whether it is a fault. `score` is the balanced accuracy
    where faults are known (0.5 is chance), and elsewhere the share of samples that are none.

    Args:
        model: `pca` takes for a fault what principal components cannot explain, `ee` what is far
            from the center of the data in the metric of its covariance.
        components: How many principal components there are, or how much of the variance they must
            explain if below 1.
        contamination: Which share of the samples without known faults is taken for faults.
        seed: What the search for a covariance begins with.
    """

    def __init__(
        self,
        *,
        model: Literal["pca", "ee"] = "pca",
        components: Annotated[float, Meta(gt=0)] = 0.9,
        contamination: Annotated[float, Meta(gt=0, lt=0.5)] = 0.05,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.components = components
        self.contamination = contamination
        self.seed = seed
        self._estimator: Any = None
        self._state: dict[str, Any] = {}

    def format_data(self, data: Any) -> Measured:
        """Return samples, and which are faults, as arrays.

        Raises:
            ValueError: They are not of one form, not finite, or not as many as the labels.
        """
        np = numpy()
        faults = None
        if isinstance(data, dict) and "values" in data:
            faults = data.get("faults")
            data = data["values"]
        if isinstance(data, dict):
            data = np.column_stack([np.asarray(one, dtype=np.float64) for one in data.values()])
        values = np.asarray(data, dtype=np.float64)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"expected samples of features, found the shape {values.shape}")
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise ValueError(f"sample {first} has a value that is not finite")
        if faults is not None:
            faults = np.asarray(faults).astype(bool)
            if faults.shape != (len(values),):
                raise ValueError(f"{faults.size} labels do not fit {len(values)} samples")
        return Measured(values, faults)

    def create_model(self) -> None:
        """Make a model that is not trained.

        Raises:
            ExtraMissing: scikit-learn is not installed.
        """
        try:
            from sklearn.covariance import MinCovDet
            from sklearn.decomposition import PCA
        except ImportError as error:
            raise ExtraMissing("fault detection", "scikit-learn", "hub") from error
        if self.model == "pca":
            components = self.components if self.components < 1 else int(self.components)
            self._estimator = PCA(components, svd_solver="full")
        else:
            self._estimator = MinCovDet(random_state=self.seed)

    def run(self, data: Measured) -> Mapping[str, float]:
        """Train on all samples that are not known as faults; return `threshold` and their number.

        Raises:
            ValueError: There are too few samples.
        """
        np = numpy()
        values = data.values if data.faults is None else data.values[~data.faults]
        if len(values) < 2:
            raise ValueError(f"{len(values)} samples without a fault are too few")
        mean, spread = values.mean(axis=0), values.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        self._estimator.fit((values - mean) / spread)
        self._state = {"mean": mean, "spread": spread, **self._learned()}
        threshold = float(np.quantile(self._distances(values), 1 - self.contamination))
        self._state["threshold"] = np.asarray([threshold])
        return {"threshold": threshold, "samples": float(len(values))}

    def _learned(self) -> dict[str, Any]:
        if self.model == "pca":
            return {"components": self._estimator.components_, "center": self._estimator.mean_}
        return {
            "components": self._estimator.get_precision(),
            "center": self._estimator.location_,
        }

    def _distances(self, values: Any) -> Any:
        """Return how unlike the samples are that it was trained with."""
        state = self._state
        features = len(state["mean"])
        if values.shape[1] != features:
            raise ValueError(f"expected {features} features, found {values.shape[1]}")
        scaled = (values - state["mean"]) / state["spread"] - state["center"]
        if self.model == "pca":
            explained = scaled @ state["components"].T @ state["components"]
            return ((scaled - explained) ** 2).sum(axis=1)
        return ((scaled @ state["components"]) * scaled).sum(axis=1)

    def predict(self, data: Measured) -> list[bool]:
        """Return for each sample whether it is a fault.

        Raises:
            ValueError: The samples have another number of features.
        """
        return [bool(one) for one in self._distances(data.values) > self._state["threshold"][0]]

    def score(self, data: Measured) -> float:
        """Return the balanced accuracy, or the share of samples that are no fault.

        Raises:
            ValueError: The samples have another number of features.
        """
        np = numpy()
        found = np.asarray(self.predict(data))
        if data.faults is None or data.faults.all() or not data.faults.any():
            return float(1 - found.mean())
        return float((found[data.faults].mean() + (~found[~data.faults]).mean()) / 2)

    def save(self, folder: str) -> None:
        """Write the state of the model as arrays."""
        save_state(folder, _KIND, {"model": self.model}, **self._state)

    def load(self, folder: str) -> None:
        """Read the state of a model.

        Raises:
            ModelUnreadable: It is missing or damaged, or of another model.
        """
        names = ("mean", "spread", "center", "components", "threshold")
        values, state = load_state(folder, _KIND, *names)
        if values.get("model") != self.model:
            raise ModelUnreadable(folder, f"its model is {values.get('model')!r}")
        features = state["mean"].shape
        fits = len(features) == 1 and state["components"].ndim == 2
        fits = fits and features == state["spread"].shape == state["center"].shape
        if not fits or state["components"].shape[1:] != features or state["threshold"].size != 1:
            raise ModelUnreadable(folder, "its arrays do not fit together")
        self._state = state
