"""The half of a hub that has the services."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, overload

from runbus._listed import listed
from runbus.bus import check_choice
from runbus.hub._config import LEVELS, Globals
from runbus.hub._services import HubServices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from runbus.abc import DataStreamPlugin, MLOpsPlugin, ServicePlugin, TaskQueuePlugin
    from runbus.errors import ServiceUnavailable

__all__ = ["ServiceHub"]


class ServiceHub:
    """Services of different kinds, and their health.

    Args:
        services: What to register, in this order; one of each kind.
        globals_: The level and the environment.

    Attributes:
        globals: The level and the environment.
    """

    def __init__(self, services: Sequence[ServicePlugin], globals_: Globals) -> None:
        check_choice(globals_.log_level, "the hub", "log_level", LEVELS)
        self.globals = globals_
        self._log = _logger(globals_)
        self._services = HubServices(self._log)
        try:
            for service in listed(services, "services", object, "services"):
                self.register_plugin(service)
        except BaseException:
            self.shutdown()
            raise

    def register_plugin(self, plugin: ServicePlugin) -> None:
        """Initialize a service and use it from now on; the one of its kind before is shut down.

        Registered a second time, a service is left as it is.

        Raises:
            InvalidService: It is not a service.
            ServiceUnavailable: It cannot be initialized; the one before is still used.
            HubClosed: The hub was shut down.
        """
        self._services.register(plugin)

    @property
    def unavailable(self) -> Mapping[str, ServiceUnavailable]:
        """Why services of the hub's file could not be initialized, by kind."""
        return self._services.unavailable

    @overload
    def get_plugin(self, plugin_type: Literal["mlops"]) -> MLOpsPlugin | None: ...
    @overload
    def get_plugin(self, plugin_type: Literal["datastream"]) -> DataStreamPlugin | None: ...
    @overload
    def get_plugin(self, plugin_type: Literal["taskqueue"]) -> TaskQueuePlugin | None: ...
    @overload
    def get_plugin(self, plugin_type: str) -> ServicePlugin | None: ...
    def get_plugin(self, plugin_type: str) -> Any:
        """Return the service of a kind; None if there is none."""
        return self._services.get(plugin_type)

    def check_plugin_health(self) -> dict[str, dict[str, Any]]:
        """Ask all services at once how they are; takes 2 seconds at most.

        Returns:
            By kind, `{"healthy": bool, "details": dict}`. A service whose check raises or hangs is
            unhealthy, and so is one of the file that could not be initialized. Details are data,
            without what looks like a secret.

        Raises:
            HubClosed: The hub was shut down.
        """
        return self._services.health()

    def shutdown(self) -> None:
        """End the trainings, then shut down the services, the last one first. Safe to repeat.

        Raises:
            ShutdownFailed: Services could not be shut down; the others were.
        """
        self._services.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()


def _logger(globals_: Globals) -> logging.Logger:
    """Return a logger of one hub's level, whose messages go where those of `runbus.hub` go."""
    logger = logging.Logger("runbus.hub", globals_.log_level.upper())
    logger.parent = logging.getLogger("runbus.hub")
    return logger
