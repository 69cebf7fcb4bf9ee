"""The life of one managed plugin: its blocking methods, called one at a time, each with an end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from runbus._revealed import unrevealed
from runbus.errors import ConfigInvalid, ConfigProblem, PluginStuck
from runbus.plugins._blocking import LIMIT_S, call_blocking, failing_as
from runbus.plugins._config_schema import check_config, with_defaults
from runbus.plugins._managed import metadata_of
from runbus.plugins._plain_secrets import with_secrets
from runbus.plugins._settings import said_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.config import SaidPlugin
    from runbus.plugins._managed import PluginBase

__all__ = ["SETTINGS", "ManagedLife", "checked_config"]

T = TypeVar("T")

_STATUS_S = 1.5
"""A little less than a kernel gives to the health of a plugin."""

SETTINGS = ("experiment_name", "project", "interval_s")
"""What any managed plugin may be given, whether its schema names it or not."""


def checked_config(name: str, schema: Mapping[str, Any] | None, given: Any) -> dict[str, Any]:
    """Return what a plugin is configured with: checked, with defaults, and with secrets. Blocking.

    What is given goes before `configure_plugins`, variables such as `RUNBUS_PLUGIN_NAME_FIELD`, and
    the section `plugins` of `runbus.yaml`.

    Raises:
        ConfigInvalid: It does not fit; every problem is told with its place, and no secret.
        SchemaInvalid: The schema is wrong.
        SecretMissing: A secret is not where it should be.
    """
    if not isinstance(given, Mapping | None):
        problem = ConfigProblem("", "is no mapping", "a mapping", type(given).__name__)
        raise ConfigInvalid(f"plugin {name!r}", (problem,))
    said = said_of(name, {str(key): with_secrets(one) for key, one in (given or {}).items()})
    filled = with_defaults(schema, said.values())
    if problems := check_config(schema, filled, also=SETTINGS):
        told = [_located(problem, said, given or {}) for problem in problems]
        raise ConfigInvalid(f"plugin {name!r}", tuple(told))
    return filled


def _located(problem: ConfigProblem, said: SaidPlugin, given: Mapping[str, Any]) -> ConfigProblem:
    """Return a problem with the place where the value was said, unless that is the call."""
    first = re.split(r"[.\[]", problem.path, maxsplit=1)[0]
    if first in given or first not in said.data:
        return problem
    return problem._replace(origin=said.origin((first,)))


class ManagedLife:
    """Calls the methods of one instance in worker threads.

    Args:
        plugin: The instance.
        config: What `initialize` gets, with what is said elsewhere of plugins of this name.
        limit_s: How long one call may take, unless the plugin says so itself.
        name: What it goes by; what it says itself if empty.

    Attributes:
        plugin: The instance.
        metadata: What it says of itself.
        name: What it goes by.
        is_initialized: Whether `initialize` has returned.
        is_stuck: Whether a call did not come back: no further method is called.
        end_error: What `stop` raised; None if nothing.
    """

    def __init__(
        self,
        plugin: PluginBase,
        config: Mapping[str, Any] | None = None,
        *,
        limit_s: float = LIMIT_S,
        name: str = "",
    ) -> None:
        self.plugin = plugin
        self.metadata = metadata_of(plugin)
        self.name = name or self.metadata.name
        self._limit_s = limit_s
        self.is_initialized = False
        self.is_stuck = False
        self.end_error: Exception | None = None
        self._config = config
        self._is_asked = False

    @property
    def limit_s(self) -> float:
        """How long the next call may take, in seconds."""
        own = self.plugin.call_s
        return self._limit_s if own is None else own

    async def call(self, fn: Callable[..., T], *args: Any, doing: str) -> T:
        """Call a method; the caller sees to it that no other one runs.

        Cancelled, the method runs on in its thread, and no other is called any more.

        Raises:
            PluginStuck: It did not return in time, or one before did not.
            Exception: What it raised.
        """
        if self.is_stuck:
            raise PluginStuck(self.name, doing, 0.0)
        ended = False
        try:
            value = await call_blocking(
                fn, *args, plugin=self.name, doing=doing, limit_s=self.limit_s
            )
            ended = True
        except PluginStuck:
            raise
        except Exception:
            ended = True
            raise
        finally:
            self.is_stuck = not ended  # also where this was cancelled
        return value

    async def initialize(self) -> None:
        """Check the configuration, and let the plugin have it.

        Raises:
            ConfigInvalid: It does not fit the plugin's schema; see `checked_config`.
            Exception: What the plugin raised.
        """
        config = await call_blocking(
            checked_config,
            self.name,
            self.metadata.config_schema,
            self._config,
            plugin=self.name,
            doing="reading the configuration",
        )
        await self.call(self.plugin.initialize, config, doing="initialize")
        self.is_initialized = True

    async def begin(self) -> None:
        """Start the plugin; initialize it before, if that was not done.

        Raises:
            PluginError: The method that failed, and why.
        """
        if not self.is_initialized:
            with failing_as(self.name, "initialize"):
                await self.initialize()
        with failing_as(self.name, "start"):
            await self.call(self.plugin.start, doing="start")

    async def end(self) -> None:
        """Stop the plugin, unless it is stuck or was never initialized; safe to repeat.

        Raises:
            PluginError: `stop` failed, and why.
        """
        if self.is_initialized and not self.is_stuck:
            self.is_initialized = False
            with failing_as(self.name, "stop"):
                try:
                    await self.call(self.plugin.stop, doing="stop")
                except Exception as error:
                    self.end_error = error
                    raise

    async def status(self) -> dict[str, Any]:
        """Return what the plugin tells; of one that hangs or fails, that."""
        if self._is_asked:
            return {"error": "get_status() does not return"}
        self._is_asked = True
        try:
            status = await call_blocking(
                self._ask, plugin=self.name, doing="get_status", limit_s=_STATUS_S
            )
        except PluginStuck:
            return {"error": "get_status() does not return"}
        except Exception as error:
            return {"error": unrevealed(f"{type(error).__name__}: {error}")}
        return {str(name): value for name, value in status.items()}

    def _ask(self) -> dict[Any, Any]:
        """Ask the plugin; runs in a worker thread, which may hang: nobody else asks until then."""
        try:
            return dict(self.plugin.get_status())
        finally:
            self._is_asked = False
