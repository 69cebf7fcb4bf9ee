"""What `runbus doctor` asks container engines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio

from runbus.cli._checks import Check, space_check
from runbus.config import executor_config
from runbus.errors import ConfigInvalid, RunbusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["engine_checks"]

_TIMEOUT_S = 15.0


def engine_checks(executors: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Ask the engine of every executor that runs containers, each once, and for their images."""
    wanted: dict[str, _Wanted] = {}
    for data in executors:
        if data.get("type") == "docker":
            try:
                config: Any = executor_config(data, "docker")
            except ConfigInvalid:  # told by who would use it
                continue
            wanted.setdefault(config.socket, _Wanted()).add(config)
    return [check for socket, asked in wanted.items() for check in anyio.run(_ask, socket, asked)]


class _Wanted:
    """What the executors of one engine need of it."""

    def __init__(self) -> None:
        self.images: dict[str, None] = {}
        self.needs_gpus = False

    def add(self, config: Any) -> None:
        """Take in an executor."""
        if config.container_image:
            self.images[config.container_image] = None
        self.needs_gpus |= bool(config.num_gpus)


async def _ask(socket: str, wanted: _Wanted) -> list[Check]:
    """Return what is to be said about one engine."""
    from runbus.executors import ask_engine  # costs what httpx costs

    title = f"engine {socket}" if socket else "engine"
    try:
        with anyio.fail_after(_TIMEOUT_S):
            facts, missing = await ask_engine(socket, tuple(wanted.images))
    except RunbusError as error:
        advice = error.hint or "start the engine, or name its socket: DOCKER_HOST, or socket="
        return [Check(title, False, str(error), advice)]
    except TimeoutError:
        advice = "docker version shows where it hangs"
        return [Check(title, False, f"no answer within {_TIMEOUT_S:.0f} s", advice)]
    return list(_judged(title, facts, missing, wanted))


def _judged(
    title: str, facts: Mapping[str, Any], missing: Sequence[str], wanted: _Wanted
) -> Iterator[Check]:
    version, driver = facts.get("ServerVersion", "?"), facts.get("Driver", "?")
    yield Check(title, True, f"version {version}, {driver}")
    root = facts.get("DockerRootDir")
    if isinstance(root, str) and os.path.isdir(root):
        found = os.statvfs(root)
        yield space_check(f"{title}: disk", found.f_bavail * found.f_frsize)
    for image in missing:
        advice = f"the first job fetches it; docker pull {image} tells whether that works"
        yield Check(f"{title}: image {image}", True, "not there yet", advice)
    if wanted.needs_gpus and "nvidia" not in (facts.get("Runtimes") or {}):
        advice = "install the NVIDIA container toolkit, and restart the engine"
        yield Check(f"{title}: GPUs", False, "it has no runtime for them", advice)
