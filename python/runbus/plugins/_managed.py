"""Base classes of managed plugins: plain classes with plain, blocking methods.

Which of them a class has is the face of the plugin. All their methods are called one at a time, in
a worker thread.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from runbus._revealed import unrevealed
from runbus.errors import InvalidPlugin
from runbus.plugins._metadata import MetricType, PluginMetadata, PluginType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runbus.plugins._point import Metric

__all__ = ["BackendPlugin", "CollectorPlugin", "PluginBase", "ProcessorPlugin", "metadata_of"]


class PluginBase(ABC):
    """A plugin that is initialized with its configuration, started, and stopped.

    `get_metadata` may be a class method or not. The class is made without arguments.

    Attributes:
        config: What `initialize` was given; empty before.
        call_s: How long a call of one of its methods may take, in seconds, where the plugin knows
            better than who uses it, as one that uploads large artifacts may. It is read before each
            call.
    """

    config: Mapping[str, Any] = {}
    call_s: float | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "initialize" in vars(cls):
            cls.initialize = _keeping_config(vars(cls)["initialize"])  # type: ignore[method-assign]

    @abstractmethod
    def get_metadata(self) -> PluginMetadata:
        """Return what the plugin says of itself; must work before `initialize`."""

    def initialize(self, config: dict[str, Any]) -> None:
        """Take the configuration: it was checked against `config_schema`, its defaults are in it.

        Called once, before `start`. What fails here is told, and the plugin is not started.

        Args:
            config: A dictionary of its own.
        """
        self.config = config

    def start(self) -> None:  # noqa: B027 - few need it
        """Begin; called once after `initialize`."""

    def stop(self) -> None:  # noqa: B027
        """End, and let go of everything; called once, as the last method, if `initialize` returned.

        What a sink was to take it has taken by then.
        """

    def get_status(self) -> dict[str, Any]:
        """Return what there is to tell; may be called at any time, and must not wait."""
        return {}


class BackendPlugin(PluginBase):
    """A sink: takes what runs measure, and the params and artifacts that it says it can handle.

    A method that raises loses that one thing for this plugin, which is counted. Raise
    `ConnectionError`, `TimeoutError` or an error with `retryable = True` to be given the same thing
    again later.
    """

    def can_handle_type(self, metric_type: MetricType) -> bool:
        """Tell whether the plugin wants such things; asked once a kind, after `start`."""
        return True

    @abstractmethod
    def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
        """Take a point of a metric.

        Args:
            name: The metric.
            value: The value.
            iteration: The step.
        """

    @abstractmethod
    def log_params(self, params: dict[str, Any]) -> None:
        """Take params by name; names of nested ones are joined with "/"."""

    @abstractmethod
    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        """Take a file or folder.

        Args:
            local_path: Where it lies. It does not change.
            artifact_path: What the run calls it.
        """

    def log_text(self, name: str, text: str, iteration: int | None = None) -> None:
        """Take a text: what a run logged as one, or what a collector measured that is no number.

        Args:
            name: What it is.
            text: The text.
            iteration: The step; None if none was given.
        """


class CollectorPlugin(PluginBase):
    """A source: `collect` is called on an interval, and what it returns becomes metrics.

    Attributes:
        interval_s: Seconds from one `collect` to the next; the configuration's `interval_s` comes
            first.
    """

    interval_s: ClassVar[float] = 10.0

    @abstractmethod
    def collect(self) -> Mapping[str, Any]:
        """Measure; return numbers, and what else there is, by name. May be nested."""


class ProcessorPlugin(PluginBase):
    """A stage between sources and sinks: changes points, drops them, or makes more of them."""

    @abstractmethod
    def process(self, metric: Metric) -> Metric | Iterable[Metric] | None:
        """Return what becomes of a point: itself or another one, several, or None for nothing.

        A point for which this raises goes no further, and is counted.
        """


def metadata_of(plugin: PluginBase | type[PluginBase]) -> PluginMetadata:
    """Return what a plugin says of itself, asking the class before an instance of it.

    Raises:
        InvalidPlugin: It does not say it, or something else than metadata.
    """
    cls = plugin if isinstance(plugin, type) else type(plugin)
    owner: Any = plugin
    try:
        told_by = inspect.getattr_static(cls, "get_metadata", None)
        if isinstance(plugin, type) and not isinstance(told_by, classmethod | staticmethod):
            owner = plugin()
        said = owner.get_metadata()
    except Exception as error:
        problem = unrevealed(f"does not say what it is: {type(error).__name__}: {error}")
        raise InvalidPlugin(cls.__qualname__, problem) from error
    if not isinstance(said, PluginMetadata):
        problem = f"has a get_metadata() that returns {type(said).__name__}, not PluginMetadata"
        raise InvalidPlugin(cls.__qualname__, problem)
    wanted = _KINDS.get(said.type)
    if wanted is not None and not issubclass(cls, wanted):
        problem = f"says it is a {said.type}, and is no {wanted.__name__}"
        raise InvalidPlugin(cls.__qualname__, problem)
    return said


_KINDS: dict[PluginType, Any] = {
    PluginType.BACKEND: BackendPlugin,
    PluginType.COLLECTOR: CollectorPlugin,
    PluginType.PROCESSOR: ProcessorPlugin,
}


def _keeping_config(initialize: Callable[..., None]) -> Callable[..., None]:
    """Return `initialize` that keeps what it is given as `config`, without its doing."""

    @wraps(initialize)
    def kept(self: PluginBase, config: dict[str, Any]) -> None:
        self.config = config
        initialize(self, config)

    return kept
