"""What a container is to be, as the engine's API takes it: rendered from options and a job."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from runbus.errors import FieldInvalid, UsageError
from runbus.executors._docker_words import ATTEMPT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec

__all__ = [
    "SAMPLER_THERE",
    "ContainerOptions",
    "alias_of",
    "bindings",
    "container_document",
    "container_name",
    "healthcheck_document",
    "is_own_network",
    "mounts_of",
    "ulimits_of",
    "with_gpus",
    "with_image",
    "with_sampler",
]

WRAPPER_THERE = "/.runbus-wrap"
"""Where the wrapper program lies in a container."""

SAMPLER_THERE = "/.runbus-sample"
"""Where the program lies that samples beside a job."""

_PORT = re.compile(
    r"(?:(?:(?P<ip>[0-9.]+|\[[0-9a-fA-F:]+\]):)?(?P<host>[0-9]*):)?(?P<there>[0-9]+)"
    r"(?:/(?P<protocol>tcp|udp|sctp))?"
)
_MODES = {"ro", "rw", "z", "Z"}
_NETWORKS = {"bridge", "host", "none", "default"}


class ContainerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the containers of an executor have in common; see `DockerExecutor`."""

    volumes: tuple[dict[str, Any], ...] = ()
    binds: tuple[str, ...] = ()
    ports: dict[str, list[dict[str, str]]] = {}
    network: str = ""
    num_gpus: int | None = None
    runtime: str = ""
    shm_bytes: int | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    ulimits: tuple[dict[str, Any], ...] = ()
    ipc_mode: str = ""
    healthcheck: dict[str, Any] | None = None
    privileged: bool = False
    read_only: bool = False
    tmpfs: dict[str, str] = {}
    user: str = ""
    entrypoint: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    engine_options: dict[str, Any] = {}


def container_name(job: JobSpec) -> str:
    """Return the name of the container that an attempt is: the same for every submit of it."""
    digest = hashlib.sha256(os.fsencode(f"{job.folder}\0{job.experiment_id}\0{job.attempt}"))
    slug = re.sub(r"[^a-zA-Z0-9]+", "-", job.name).strip("-").lower()[:30].rstrip("-")
    return "-".join(part for part in ("runbus", slug, digest.hexdigest()[:16]) if part)


def alias_of(name: str) -> str:
    """Return the name under which the containers of a network find a job: a valid host name."""
    return re.sub(r"[^a-zA-Z0-9-]+", "-", name).strip("-").lower()[:63].rstrip("-") or "job"


def is_own_network(name: str) -> bool:
    """Whether a network is one that has a name of its own, and is made if it is not there."""
    return bool(name) and name not in _NETWORKS and not name.startswith("container:")


def container_document(
    job: JobSpec, options: ContainerOptions, image: str, wrapper: str
) -> dict[str, Any]:
    """Return what `POST /containers/create` is sent for an attempt.

    Its folder, its run's folder and its package lie in the container where they lie here.

    Args:
        job: The job.
        options: What the containers have in common.
        image: The image.
        wrapper: The file of the wrapper program here.
    """
    words = [WRAPPER_THERE, "run", job.folder]
    host: dict[str, Any] = {
        "Mounts": [*_own_mounts(job, wrapper), *options.volumes],
        "Binds": list(options.binds),
        "PortBindings": options.ports,
        "NetworkMode": options.network or "default",
        "RestartPolicy": {"Name": "no"},
        "Privileged": options.privileged,
        "ReadonlyRootfs": options.read_only,
        "Tmpfs": options.tmpfs,
        "Ulimits": list(options.ulimits),
        "DeviceRequests": _device_requests(options.num_gpus),
    }
    chosen = {
        "Runtime": options.runtime,
        "ShmSize": options.shm_bytes,
        "Memory": options.memory_bytes,
        # As much swap as memory is the engine's default, and a job that swaps is no faster dead.
        "MemorySwap": options.memory_bytes,
        "NanoCpus": options.cpus and round(options.cpus * 1e9),
        "PidsLimit": options.pids,
        "IpcMode": options.ipc_mode,
    }
    host |= {name: value for name, value in chosen.items() if value}
    extra = dict(options.engine_options)
    host |= extra.pop("HostConfig", {})
    document: dict[str, Any] = {
        "Image": image,
        "Labels": {
            **options.labels,
            ATTEMPT: job.folder,
            "runbus.experiment": job.experiment_id,
            "runbus.job": job.name,
        },
        "WorkingDir": "/",
        "User": options.user,
        "ExposedPorts": {port: {} for port in options.ports},
        "HostConfig": host,
        "NetworkingConfig": _networking(job, options.network),
    }
    if options.healthcheck is not None:
        document["Healthcheck"] = options.healthcheck
    if options.entrypoint is None:
        # The image's own may prepare what its programs need; it ends by starting its arguments.
        document["Cmd"] = words
    else:
        document["Entrypoint"], document["Cmd"] = [*options.entrypoint, *words], []
    return document | extra


def _own_mounts(job: JobSpec, wrapper: str) -> list[dict[str, Any]]:
    mounts = [_bind(job.folder), _bind(job.run_folder), _bind(wrapper, WRAPPER_THERE, True)]
    if job.package is not None and job.package.image is None:
        mounts.append(_bind(job.package.path, is_read_only=True))
    return mounts


def _bind(source: str, target: str = "", is_read_only: bool = False) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target or source,
        "ReadOnly": is_read_only,
    }


def _device_requests(count: int | None) -> list[dict[str, Any]]:
    return [{"Driver": "", "Count": count, "Capabilities": [["gpu"]]}] if count else []


def with_gpus(document: dict[str, Any], gpus: Sequence[str]) -> dict[str, Any]:
    """Return a container that has the GPUs that its job was lent."""
    if not gpus:
        return document
    asked = [{"Driver": "", "DeviceIDs": [*gpus], "Capabilities": [["gpu"]]}]
    return {**document, "HostConfig": {**document["HostConfig"], "DeviceRequests": asked}}


def with_sampler(document: dict[str, Any], sampler: str) -> dict[str, Any]:
    """Return a container that has the program that samples beside its job.

    Args:
        document: The container.
        sampler: The file of the program here; empty if there is none.
    """
    if not sampler:
        return document
    host = document["HostConfig"]
    mounts = [*host.get("Mounts", ()), _bind(sampler, SAMPLER_THERE, True)]
    return {**document, "HostConfig": {**host, "Mounts": mounts}}


def with_image(document: dict[str, Any], image: str, known_as: str) -> dict[str, Any]:
    """Return a container of an image, whose job is told which one that is.

    Args:
        document: The container.
        image: The name of the image.
        known_as: What the image is to be called in records.
    """
    given = document.get("Env") or []
    return {**document, "Image": image, "Env": [f"RUNBUS_IMAGE={known_as}", *given]}


def _networking(job: JobSpec, network: str) -> dict[str, Any]:
    if not is_own_network(network):
        return {}
    alias = alias_of(job.name)
    return {
        "EndpointsConfig": {network: {"Aliases": [alias, f"{alias}.{alias_of(job.experiment_id)}"]}}
    }


def mounts_of(volumes: Sequence[str]) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """Return what `SOURCE:TARGET[:MODES]` asks for: mounts, and binds as the engine reads them.

    A source that begins with `/`, `.` or `~` is a path here; another one is the name of a volume,
    which the engine makes if it has none. A bind is what only that form can say: labels of SELinux.

    Raises:
        FieldInvalid: A text is none of those.
    """
    mounts: list[dict[str, Any]] = []
    binds: list[str] = []
    for text in volumes:
        source, _, rest = text.partition(":")
        target, _, modes = rest.partition(":")
        given = {mode for mode in modes.split(",") if mode}
        if not source or not target.startswith("/") or not given <= _MODES:
            advice = "write SOURCE:TARGET or SOURCE:TARGET:ro, with an absolute TARGET"
            raise FieldInvalid("volumes", repr(text), "expected a source and a target", advice)
        is_path = source[0] in "/.~"
        if is_path:
            source = os.path.abspath(os.path.expanduser(source))
        if given & {"z", "Z"}:
            binds.append(f"{source}:{target}:{','.join(sorted(given))}")
            continue
        mounts.append(
            {
                "Type": "bind" if is_path else "volume",
                "Source": source,
                "Target": target,
                "ReadOnly": "ro" in given,
            }
        )
    return tuple(mounts), tuple(binds)


def bindings(ports: Sequence[str | int]) -> dict[str, list[dict[str, str]]]:
    """Return what `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]` asks for, by the container's ports.

    A port alone is published under the same number; with an empty HOST the engine chooses one.

    Raises:
        FieldInvalid: A text is not of that form, or a number is no port.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for text in ports:
        parts = _PORT.fullmatch(str(text))
        numbers = [] if parts is None else [parts["there"], parts["host"] or "1"]
        if parts is None or isinstance(text, bool) or not all(
            1 <= int(number) <= 65535 for number in numbers
        ):  # fmt: skip
            advice = "write '8080:80', '127.0.0.1:8080:80/tcp', or a number"
            raise FieldInvalid("ports", repr(text), "expected HOST:CONTAINER", advice)
        asked = parts["there"] if parts["host"] is None else parts["host"]
        there = f"{int(parts['there'])}/{parts['protocol'] or 'tcp'}"
        address = (parts["ip"] or "").strip("[]")
        found.setdefault(there, []).append({"HostIp": address, "HostPort": asked})
    return found


def ulimits_of(given: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Return what `NAME=SOFT[:HARD]` asks for; the first sign may be a colon, too.

    Raises:
        FieldInvalid: A text is not of that form.
    """
    found = []
    for text in given:
        parts = re.fullmatch(r"([a-z]+)[=:](-1|[0-9]+)(?::(-1|[0-9]+))?", text)
        if parts is None:
            advice = "write 'nofile=1024:4096' or 'memlock=-1'"
            raise FieldInvalid("ulimits", repr(text), "expected NAME=SOFT:HARD", advice)
        soft = int(parts[2])
        found.append({"Name": parts[1], "Soft": soft, "Hard": int(parts[3] or soft)})
    return tuple(found)


_TIMES = {
    "interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}  # fmt: skip


def healthcheck_document(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a health check as the engine has it.

    Args:
        given: `test`, a command line or a list of words; `interval`, `timeout`, `start_period` and
            `start_interval` in seconds; `retries`. None for that of the image.

    Raises:
        FieldInvalid: Something else is in it.
    """
    if given is None:
        return None
    found: dict[str, Any] = {}
    for name, value in given.items():
        key = name.lower()
        try:
            if key == "test":
                found["Test"] = ["CMD-SHELL", value] if isinstance(value, str) else _check(value)
            elif key == "retries":
                found["Retries"] = int(value)
            else:
                found[_TIMES[key]] = round(float(value) * 1e9)
        except (KeyError, TypeError, ValueError) as error:
            advice = f"it has test, retries, {', '.join(_TIMES)}"
            raise FieldInvalid("healthcheck", f"{name}={value!r}", str(error), advice) from error
    return found


def _check(words: Sequence[str]) -> list[str]:
    first = words[0] if words else "NONE"
    return list(words) if first in {"CMD", "CMD-SHELL", "NONE"} else ["CMD", *words]


def check_paths(job: JobSpec) -> None:
    """Refuse folders that cannot be named in JSON.

    Raises:
        UsageError: One is no UTF-8.
    """
    for path in (job.folder, job.run_folder):
        try:
            path.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"job {job.name!r}: the folder {path!a} is no UTF-8, which the engine needs"
            ) from None
