"""Packages that become an image: the code, on top of a base."""

from __future__ import annotations

import os
import posixpath
import re

from msgspec.structs import replace

from runbus._files import read_file
from runbus.abc import Contents, ImageRecipe, Packager
from runbus.codec import encode_json
from runbus.errors import FieldInvalid, FileUnreadable, PackageUnreadable, os_reason
from runbus.packaging._pattern import PatternPackager

__all__ = ["DockerImagePackager"]

_LONGEST = 1 << 20
_REPOSITORY = re.compile(r"[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+", re.ASCII)


class DockerImagePackager(Packager):
    """Packages code as an image of a container engine, on top of a base.

    The archive is that of the packager within, and is kept as any other. A `DockerExecutor` builds
    the image from it before the first job of it starts, under a name that tells its contents: the
    base, the Dockerfile and every file. So the same code is built once, and an image that was
    removed is built again. Jobs start in `folder`, which is their container's own.

    Args:
        base_image: What it is built from; the job's own image, or that of its executor, if empty.
        dockerfile_template: The Dockerfile, as a path relative to the root or as a text of several
            lines. `ARG BASE_IMAGE` and `FROM $BASE_IMAGE` begin with the base, and its context are
            the packaged files. If None, these are copied to `folder`, and nothing else is done.
        packager: Chooses the files; if None, all but `.git`, `.venv` and `__pycache__`.
        folder: Where in the image the files lie; a Dockerfile must put them there.
        push: Where the image is pushed to, as `REGISTRY/NAME`; jobs then have it by its digest.
        login: The reference to `USER:PASSWORD` for that registry, such as `env:REGISTRY_LOGIN`;
            if empty, what `docker login` has kept.

    Raises:
        FieldInvalid: The folder or the name in the registry is none.
    """

    def __init__(
        self,
        base_image: str = "",
        dockerfile_template: str | None = None,
        *,
        packager: Packager | None = None,
        folder: str = "/code",
        push: str = "",
        login: str = "",
    ) -> None:
        if posixpath.normpath(folder) != folder or not re.fullmatch(r"/[^/\0\n].*", folder):
            raise FieldInvalid("folder", repr(folder), "it is no absolute path", "write '/code'")
        if push and not _REPOSITORY.fullmatch(push):
            advice = "write 'registry.example.org:5000/team/train', without a tag"
            raise FieldInvalid("push", repr(push), "it names no repository of a registry", advice)
        self.base_image = base_image
        self.dockerfile_template = dockerfile_template
        self.packager = packager or PatternPackager("*", exclude=(".venv", "__pycache__"))
        self.folder = folder
        self.push = push
        self.login = login

    def contents(self, root: str, scratch: str) -> Contents:
        """Return what the packager within chooses, and how an image is built of it.

        Raises:
            UsageError: There is nothing to package, or not as asked.
            PackageUnreadable: The Dockerfile cannot be read.
        """
        recipe = ImageRecipe(
            dockerfile=self._dockerfile(root),
            folder=self.folder,
            base=self.base_image,
            repository=self.push,
            login=self.login,
        )
        return replace(self.packager.contents(root, scratch), image=recipe)

    def _dockerfile(self, root: str) -> str:
        given = self.dockerfile_template
        if given is None:
            words = encode_json([".", self.folder]).decode()
            return f"ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY {words}\n"
        if "\n" in given:
            return given
        try:
            return read_file(os.path.join(root, given), limit=_LONGEST).decode()
        except OSError as error:
            raise PackageUnreadable(given, os_reason(error)) from error
        except (FileUnreadable, UnicodeDecodeError) as error:
            raise PackageUnreadable(given, str(error)) from error
