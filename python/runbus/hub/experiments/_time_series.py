"""Forecasts of a series from its last values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from runbus.errors import ExtraMissing, ModelUnreadable
from runbus.hub.experiments._state import load_state, numpy, save_state
from runbus.hub.experiments._type import ExperimentType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TimeSeriesExperiment"]

_KIND = "time_series"


class TimeSeriesExperiment(ExperimentType):
    """Forecasts a series by ridge regression on its last values.

    Its data is one series of finite numbers, evenly spaced in time: `(n,)`. `predict` returns the
    values that follow. `score` is R² of the forecasts of one step.

    Args:
        window: How many values a forecast looks back at.
        horizon: How many values `predict` returns.
        alpha: How strongly the coefficients are held small.
        holdout: Which part of the data, its end, is kept from training to measure with.

    Raises:
        FieldInvalid: A value is out of its range.
    """

    def __init__(
        self,
        *,
        window: Annotated[int, Meta(ge=1)] = 12,
        horizon: Annotated[int, Meta(ge=1)] = 1,
        alpha: Annotated[float, Meta(ge=0)] = 1.0,
        holdout: Annotated[float, Meta(ge=0, lt=1)] = 0.2,
    ) -> None:
        self.window = window
        self.horizon = horizon
        self.alpha = alpha
        self.holdout = holdout
        self._coefficients: Any = None
        self._intercept = 0.0
        self._model: Any = None

    def format_data(self, data: Any) -> Any:
        """Return a series as an array of float64.

        Raises:
            ValueError: It is not one series of finite numbers, longer than the window.
        """
        np = numpy()
        series = np.asarray(data, dtype=np.float64)
        if series.ndim != 1:
            raise ValueError(f"expected one series of numbers, found the shape {series.shape}")
        if not np.isfinite(series).all():
            first = int(np.flatnonzero(~np.isfinite(series))[0])
            raise ValueError(f"value {first} of the series is not finite")
        if len(series) < self.window:
            raise ValueError(f"{len(series)} values are fewer than the window of {self.window}")
        return series

    def create_model(self) -> None:
        """Make a model that is not trained.

        Raises:
            ExtraMissing: scikit-learn is not installed.
        """
        try:
            from sklearn.linear_model import Ridge
        except ImportError as error:
            raise ExtraMissing("a time series", "scikit-learn", "hub") from error
        self._model = Ridge(alpha=self.alpha)

    def run(self, data: Any) -> Mapping[str, float]:
        """Train on the beginning of the series; return `train/r2` and, of its end, `test/r2`.

        Raises:
            ValueError: There are too few values.
        """
        at = len(data) - int(len(data) * self.holdout)
        inputs, targets = self._windows(data[:at])
        if len(targets) < 2:
            raise ValueError(f"{at} values are too few to train with a window of {self.window}")
        self._model.fit(inputs, targets)
        self._coefficients = self._model.coef_
        self._intercept = float(self._model.intercept_)
        found = {"train/r2": self.score(data[:at])}
        rest = data[at - self.window :]
        if len(rest) > self.window + 1:
            found["test/r2"] = self.score(rest)
        return found

    def predict(self, data: Any) -> list[float]:
        """Return the values that follow a series."""
        last = [*data[-self.window :]]
        for _ in range(self.horizon):
            last.append(float(last[-self.window :] @ self._coefficients) + self._intercept)
        return [float(one) for one in last[-self.horizon :]]

    def score(self, data: Any) -> float:
        """Return R² of the forecasts of one step; 0.0 for a series that never changes."""
        inputs, targets = self._windows(data)
        spread = float(((targets - targets.mean()) ** 2).sum())
        wrong = targets - inputs @ self._coefficients - self._intercept
        return 1.0 - float((wrong**2).sum()) / spread if spread else 0.0

    def save(self, folder: str) -> None:
        """Write the coefficients."""
        values = {"window": self.window, "intercept": self._intercept}
        save_state(folder, _KIND, values, coefficients=self._coefficients)

    def load(self, folder: str) -> None:
        """Read the coefficients.

        Raises:
            ModelUnreadable: They are missing or damaged, or of another window.
        """
        values, arrays = load_state(folder, _KIND, "coefficients")
        coefficients, intercept = arrays["coefficients"], values.get("intercept")
        if coefficients.shape != (self.window,) or not isinstance(intercept, float):
            raise ModelUnreadable(folder, f"it is not of a window of {self.window}")
        self._coefficients, self._intercept = coefficients, intercept

    def _windows(self, series: Any) -> tuple[Any, Any]:
        """Return the values before each one that can be forecast, and those.

        Raises:
            ValueError: The series is not longer than the window.
        """
        if len(series) <= self.window:
            raise ValueError(f"{len(series)} values are too few for a window of {self.window}")
        windows = numpy().lib.stride_tricks.sliding_window_view(series, self.window)
        return windows[:-1], series[self.window :]
