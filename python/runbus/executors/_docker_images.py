"""Images of an engine: fetched from their registries, and built with what jobs ask for besides."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import re
import tarfile
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from runbus._files import read_file
from runbus._secrets import Secret
from runbus.codec import DecodeError, decode_json, encode_json
from runbus.errors import FileUnreadable, HostError, HttpRefused, SecretMissing
from runbus.executors._docker_words import parted
from runbus.plugins import image_script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Literal

    from runbus.events import Image
    from runbus.executors._docker_engine import Engine
    from runbus.executors._docker_words import ImageFacts, Told

__all__ = [
    "CODE",
    "Images",
    "Progress",
    "derived_context",
    "derived_name",
    "is_derived",
    "registry_of",
]

logger = logging.getLogger("runbus.executors")

_NAME, CODE = "runbus/image", "runbus/code"
"""What images are called that are built here, with packages or with code: no registry has them."""
_THERE = "/opt/runbus"
_HUB = "docker.io"
_HUB_IN_CONFIG = "https://index.docker.io/v1/"
_SAY_S = 2.0
_KNOWN_S = 10.0
_DONE = {"Pull complete", "Already exists", "Pushed", "Layer already exists"}
_NO_LOGIN = re.compile(
    r"(?<!permission )denied|unauthorized|authentication required|no basic auth credentials"
)
_COLORS = re.compile("\x1b\\[[0-9;]*m")
_STEPS = ("Step ", "---> ", "Removing intermediate container")
"""How the engine's own lines begin among those of what a build runs."""


class Images:
    """Makes the images of jobs ready, each once, however many jobs wait for it.

    Args:
        engine: The engine.
        pull: When an image is fetched: if the engine lacks it, always (once), or never.
        logins: References to `USER:PASSWORD` by registries.
        network: The network of what runs while an image is built; empty for the engine's own.
    """

    def __init__(
        self,
        engine: Engine,
        pull: Literal["missing", "always", "never"],
        logins: Mapping[str, str],
        network: str = "",
    ) -> None:
        self._engine = engine
        self._pull = pull
        self._logins = dict(logins)
        self._network = network
        self._locks: dict[str, anyio.Lock] = {}
        self._ready: dict[tuple[str, Image], str] = {}
        self._fetched: set[str] = set()
        self._known: dict[str, tuple[float, str]] = {}

    async def name_of(self, base: str, image: Image) -> str:
        """Return the name of the image that a job gets; one that must be built is built first.

        Raises:
            HostError: The engine or a registry refuses it, or does not answer.
            SecretMissing: The login of a registry cannot be read.
        """
        if self._pull == "always" and base not in self._fetched:
            await self.fetch(base)
        if not is_derived(image):
            return base
        known = (base, image)
        async with self.lock(f"{base} {image.digest}"):
            if known not in self._ready:
                self._ready[known] = await self._derive(base, image)
        return self._ready[known]

    async def fetch(self, name: str) -> bool:
        """Fetch an image that the engine lacks; whether that is allowed and of any use.

        Raises:
            HostError: The engine or the registry refuses it, or does not answer.
            SecretMissing: The login of the registry cannot be read.
        """
        if self._pull == "never":
            return False
        if name.startswith((f"{_NAME}:", f"{CODE}:")):
            # It was removed meanwhile: no registry has it, and it is built again.
            self._ready = {known: built for known, built in self._ready.items() if built != name}
            return False
        async with self.lock(name):
            if name in self._fetched and await self._engine.image(name):
                return True
            try:
                await self._pull_from_registry(name)
            except HttpRefused as error:
                # A registry's words often name only itself.
                reason = f"image {name}: {error.reason}"
                raise HttpRefused(error.host, reason, error.status) from error
            self._fetched.add(name)
            return True

    async def _pull_from_registry(self, name: str) -> None:
        progress = Progress(f"image {name}")
        async with aclosing(self._engine.pull(name, login_of(name, self._logins))) as lines:
            async for told in lines:
                if said := progress.take(told, time.monotonic()):
                    logger.info("%s", said)

    async def facts_of(self, name: str) -> ImageFacts:
        """Look at an image; one that the engine lacks is fetched first.

        Raises:
            HostError: There is none, or the engine or the registry does not answer.
            SecretMissing: The login of the registry cannot be read.
        """
        facts = await self._engine.image(name)
        if facts is None and await self.fetch(name):
            facts = await self._engine.image(name)
        if facts is None:
            raise HttpRefused(f"unix://{self._engine.socket}", f"No such image: {name}", 404)
        return facts

    async def known_as(self, name: str) -> str:
        """Return what records call an image: its name and its digest, if the engine has it.

        It is looked up again after some seconds: a name may come to be that of another image.

        Raises:
            HostError: The engine does not answer.
        """
        now = time.monotonic()
        known = self._known.get(name)
        if known is None or now - known[0] > _KNOWN_S:
            facts = await self._engine.image(name)
            if facts is None:
                return name
            known = self._known[name] = now, facts.known_as(name)
        return known[1]

    async def _derive(self, base: str, image: Image) -> str:
        context = derived_context(await self.facts_of(base), image)
        name = derived_name(context)
        if await self._engine.image(name) is None:
            await self.build(name, context, base)
        return name

    async def build(
        self,
        name: str,
        context: bytes | AsyncIterator[bytes],
        base: str,
        *,
        dockerfile: str = "Dockerfile",
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Build an image.

        Args:
            name: The name that it gets.
            context: An archive with a Dockerfile.
            base: What it is built from, as a person calls it.
            dockerfile: What the Dockerfile is called in the archive.
            arguments: The arguments of the build.

        Raises:
            HostError: The engine refuses it, something of the build failed, or it does not answer.
        """
        logger.info("image %s is built from %s", name, base)
        said: list[str] = []
        building = self._engine.build(
            context, name, {"runbus.image": base}, self._network,
            dockerfile=dockerfile, arguments=arguments,
        )  # fmt: skip
        try:
            async with aclosing(building) as lines:
                async for told in lines:
                    line = _COLORS.sub("", told.stream).strip()
                    if line and not line.startswith(_STEPS):
                        said = [*said[-2:], line]
        except HttpRefused as error:
            # What the program said that failed is in the lines before.
            reason = "; ".join([error.reason, *said])
            raise HttpRefused(error.host, f"image of {base}: {reason}", error.status) from error

    def lock(self, name: str) -> anyio.Lock:
        """Return the lock under which something is made ready once."""
        return self._locks.setdefault(name, anyio.Lock())


def is_derived(image: Image) -> bool:
    """Whether an image asks for more than a base."""
    return bool(image.pip or image.apt or image.python or image.pip_indexes)


def derived_context(base: ImageFacts, image: Image) -> bytes:
    """Return the archive from which an image is built: the same for the same wishes.

    Args:
        base: The image that it is built from; its containers' user stays.
        image: What is asked for; its variables and secrets are the job's own affair.
    """
    script = image_script(replace(image, base="", env={}, secrets={}))
    dockerfile = (
        f"FROM {base.id}\n"
        "USER 0\n"
        f"COPY image.sh {_THERE}/image.sh\n"
        f"RUN sh {_THERE}/image.sh {_THERE}\n"
        f"ENV PATH={_THERE}/venv/bin:$PATH\n"
        f"USER {base.user or 0}\n"
    )
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in (("Dockerfile", dockerfile), ("image.sh", script)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


def derived_name(context: bytes) -> str:
    """Return the name of the image that is built from an archive."""
    return f"{_NAME}:{hashlib.sha256(context).hexdigest()[:32]}"


def registry_of(image: str) -> str:
    """Return the host of the registry that an image comes from."""
    first, slash, _ = parted(image)[0].partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host else _HUB


def login_of(image: str, logins: Mapping[str, str]) -> bytes:
    """Return what the engine tells a registry about who asks; nothing if there is no login.

    Args:
        image: The image.
        logins: References to `USER:PASSWORD` by registries; otherwise what `docker login` has kept.

    Raises:
        SecretMissing: A reference leads nowhere.
    """
    registry = registry_of(image)
    if reference := logins.get(registry):
        text = Secret(reference).value().strip()
        user, colon, password = text.partition(":")
        if not colon:
            raise SecretMissing(reference, "it is not USER:PASSWORD")
    else:
        user, password = _kept_login(registry)
    if not password:
        return b""
    asked = {"username": user, "password": password, "serveraddress": registry}
    return base64.urlsafe_b64encode(encode_json(asked))


def _kept_login(registry: str) -> tuple[str, str]:
    """Return the login that `docker login` has written to its file; nothing if it has none."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        kept: dict[str, Any] = decode_json(
            read_file(os.path.join(folder, "config.json")), dict[str, Any]
        )
        name = _HUB_IN_CONFIG if registry == _HUB else registry
        text = base64.b64decode(kept["auths"][name]["auth"]).decode()
    except (OSError, FileUnreadable, DecodeError, KeyError, TypeError, ValueError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password


class Progress:
    """Sums up what a pull tells of each layer.

    Args:
        title: What it is about.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._layers: dict[str, bool] = {}
        self._said = -_SAY_S

    def take(self, told: Told, now: float) -> str:
        """Take a line in; return what to say now, nothing if something was said just before.

        Args:
            told: The line.
            now: This moment, in seconds of any clock that is never set.
        """
        if not told.id or told.status.startswith("Pulling from"):
            return ""
        done = told.status in _DONE
        self._layers[told.id] = done or self._layers.get(told.id, False)
        if now - self._said < _SAY_S:
            return ""
        self._said = now
        whole = sum(self._layers.values())
        amount = told.progress.rpartition("]")[2].strip()
        now_doing = f"{told.status.lower()} {amount}".strip()
        return f"{self._title}: {whole} of {len(self._layers)} layers are here; {now_doing}"


def advice_for(error: HostError) -> str | None:
    """Return what to try when an image could not be had; None where nothing can be said."""
    reason = error.reason.lower()
    if "no space left on device" in reason:
        return "the engine's disk is full: docker system df tells of what, docker image prune helps"
    if _NO_LOGIN.search(reason):
        return "docker login REGISTRY keeps a login, or give the executor registry_logins"
    if "no such host" in reason or "network is unreachable" in reason or "timeout" in reason:
        return "the engine does not reach the registry: load the image by hand, with docker load"
    if "no such image" in reason or "not found" in reason or "manifest unknown" in reason:
        return "check the name and the tag, or build the image first"
    return None
