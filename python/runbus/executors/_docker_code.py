"""Images of packaged code: built once from a package, named by what is in them, and pushed."""

from __future__ import annotations

import hashlib
import logging
import tarfile
import time
import zlib
from contextlib import aclosing
from gzip import BadGzipFile, GzipFile
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runbus.errors import HttpRefused, PackageChanged, UsageError, os_reason
from runbus.executors._docker_engine import Engine
from runbus.executors._docker_images import CODE, Images, Progress, login_of, registry_of
from runbus.executors._docker_words import engine_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from runbus.abc import ImageRecipe, Package

__all__ = ["CodeImages", "build_image"]

logger = logging.getLogger("runbus.executors")

_DOCKERFILE = ".runbus.Dockerfile"
"""What the Dockerfile is called beside the code, which may have one of its own."""

_BLOCK = 1 << 20


class CodeImages:
    """Builds the images that packages ask for, each once, however many jobs wait for it.

    Args:
        engine: The engine.
        images: The engine's other images, such as those that they are built from.
        logins: References to `USER:PASSWORD` by registries, for packages that have none.
    """

    def __init__(self, engine: Engine, images: Images, logins: Mapping[str, str]) -> None:
        self._engine = engine
        self._images = images
        self._logins = dict(logins)
        self._pushed: dict[str, str] = {}

    async def name_of(self, base: str, package: Package, recipe: ImageRecipe) -> str:
        """Return the name of the image of a package: by its digest if it is in a registry.

        An image that the engine has already is not built again; what has been pushed by this
        object is not pushed again.

        Args:
            base: The image that it is built from.
            package: The package.
            recipe: How it is built.

        Raises:
            HostError: The engine or a registry refuses it, or does not answer.
            PackageChanged: The archive is gone or damaged.
            SecretMissing: The login of a registry cannot be read.
        """
        facts = await self._images.facts_of(base)
        digest = hashlib.sha256(f"{facts.id}\0{package.sha256}\0{recipe.dockerfile}".encode())
        tag = digest.hexdigest()[:32]
        name = f"{recipe.repository or CODE}:{tag}"
        async with self._images.lock(name):
            if await self._engine.image(name) is None:
                context = _context(recipe.dockerfile, package)
                await self._images.build(
                    name, context, base,
                    dockerfile=_DOCKERFILE, arguments={"BASE_IMAGE": facts.id},
                )  # fmt: skip
            if not recipe.repository:
                return name
            if name not in self._pushed:
                self._pushed[name] = await self._push(tag, recipe)
        return self._pushed[name]

    async def _push(self, tag: str, recipe: ImageRecipe) -> str:
        name = f"{recipe.repository}:{tag}"
        own = {registry_of(name): recipe.login} if recipe.login else {}
        progress = Progress(f"push of {name}")
        pushing = self._engine.push(recipe.repository, tag, login_of(name, self._logins | own))
        try:
            async with aclosing(pushing) as lines:
                async for told in lines:
                    if said := progress.take(told, time.monotonic()):
                        logger.info("%s", said)
        except HttpRefused as error:
            reason = f"image {name} cannot be pushed: {error.reason}"
            raise HttpRefused(error.host, reason, error.status) from error
        pushed = (await self._images.facts_of(name)).digest_in(recipe.repository)
        if not pushed:
            reason = f"image {name} was pushed, and has no digest"
            raise HttpRefused(f"unix://{self._engine.socket}", reason, 200)
        return pushed


async def build_image(package: Package, *, base: str = "", socket: str = "") -> str:
    """Build the image of a package, and push it if that is asked for.

    What a `DockerExecutor` does before it starts a job; for machines that fetch the image
    themselves, such as those of a cluster. Cancelling it ends the build.

    Args:
        package: The package, of a `DockerImagePackager`.
        base: What it is built from, if its packager does not say that.
        socket: The engine's socket; that of `DOCKER_HOST`, Docker or Podman if empty.

    Returns:
        The name of the image: in the registry by its digest, if it was pushed.

    Raises:
        UsageError: The package is to be no image, or nothing says what it is built from.
        HostError: The engine or a registry refuses it, or does not answer.
        PackageChanged: The archive is gone or damaged.
        SecretMissing: The login of the registry cannot be read.
        ExtraMissing: httpx is not installed.
    """
    recipe = package.image
    if recipe is None:
        raise UsageError("this package is no image: package it with a DockerImagePackager")
    if not (base := recipe.base or base):
        raise UsageError("nothing says what the image is built from: give it a base_image")
    async with Engine(engine_socket(socket)) as engine:
        images = Images(engine, "missing", {})
        return await CodeImages(engine, images, {}).name_of(base, package, recipe)


async def _context(dockerfile: str, package: Package) -> AsyncIterator[bytes]:
    """Yield the archive that an image is built from: a Dockerfile, and then the package's own.

    Raises:
        PackageChanged: The package is gone or damaged.
    """
    data = dockerfile.encode()
    entry = tarfile.TarInfo(_DOCKERFILE)
    entry.size = len(data)
    padding = bytes(-len(data) % tarfile.BLOCKSIZE)
    yield entry.tobuf(tarfile.GNU_FORMAT) + data + padding
    try:
        with GzipFile(package.path) as file:
            while block := await anyio.to_thread.run_sync(file.read, _BLOCK):
                yield block
    except (EOFError, zlib.error, BadGzipFile) as error:
        raise PackageChanged(package.path, f"it is damaged: {error}") from error
    except OSError as error:
        raise PackageChanged(package.path, os_reason(error)) from error
