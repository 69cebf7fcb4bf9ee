"""What a machine must hold before a task can start, as a value."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations
from typing import Any

from runbus._frozen import FrozenDict
from runbus._listed import check_mapping, listed
from runbus._secrets import Secret, redacted, redacted_text
from runbus.errors import FieldInvalid, UsageError

__all__ = ["Image", "PipIndex", "package_key"]

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_DISTRIBUTION = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_SYSTEM_PACKAGE = r"[a-z0-9][a-z0-9+.-]*(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~-]+)?"
_CONTROL = r"[\0-\x1f\x7f]"
_SCHEMES = ("https://", "http://", "file://")


def package_key(requirement: str) -> str:
    """Return the name of the distribution that a requirement asks for, as indexes compare it."""
    found = re.match(_DISTRIBUTION, requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else requirement


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PipIndex:
    """A package index that answers for the packages it names, and for no others.

    They come from nowhere else, so that nobody can slip one of the same name in through another.

    Attributes:
        url: Where it is: `https://…`, or `file://…` for a folder in the form of an index. Never
            with a password in it.
        packages: The names of the packages, without versions.

    Raises:
        FieldInvalid: The address is none, or holds a password; or what is named is no package.
    """

    url: str
    packages: tuple[str, ...]

    def __post_init__(self) -> None:
        url: Any = self.url
        shown = repr(redacted_text(url)) if isinstance(url, str) else repr(url)
        if not isinstance(url, str) or not url.startswith(_SCHEMES) or re.search(_CONTROL, url):
            raise FieldInvalid("url", shown, "expected https://, http:// or file://")
        if "@" in url.partition("://")[2].partition("/")[0]:
            advice = "keep user and password in a netrc file, which pip and uv read"
            raise FieldInvalid("url", shown, "it holds credentials", advice)
        packages = _distinct(listed(self.packages, "packages", of="names of packages"))
        for name in packages:
            if not re.fullmatch(_DISTRIBUTION, name):
                raise FieldInvalid("packages", repr(name), "expected the name of a package alone")
        if not packages:
            raise FieldInvalid("packages", "()", "an index answers for the packages that it names")
        object.__setattr__(self, "packages", packages)

    @property
    def _key(self) -> tuple[str, list[str]]:
        return self.url, sorted({package_key(name) for name in self.packages})

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, PipIndex) else NotImplemented

    def __hash__(self) -> int:
        return _number(_digest(self._key))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Image:
    """What the machine of a task must hold before the task can start.

    Images are equal if they ask for the same, in whatever order; hashes are the same in every
    process. Change one with `dataclasses.replace(image, pip=(*image.pip, "torch"))`.

    Attributes:
        base: Name of the base image or module; empty for the machine as it is.
        python: Python version, such as `3.12`; empty for the one that is there.
        pip: Python requirements, in pip's notation.
        pip_indexes: Where some of them come from; the others come from the default index.
        apt: Packages of the operating system.
        env: Environment variables.
        secrets: Environment variables whose values are secrets, by references: see `Secret`. No
            image, script or record of one holds a value.

    Raises:
        FieldInvalid: A field is not what it must be, or two indexes answer for one package.
    """

    base: str = ""
    python: str = ""
    pip: tuple[str, ...] = ()
    pip_indexes: tuple[PipIndex, ...] = ()
    apt: tuple[str, ...] = ()
    env: Mapping[str, str] = FrozenDict()
    secrets: Mapping[str, str] = FrozenDict()

    def __post_init__(self) -> None:
        for field in ("base", "python"):
            _check_text(field, getattr(self, field))
        parts = {
            "pip": _requirements(self.pip),
            "pip_indexes": _indexes(self.pip_indexes),
            "apt": _system_packages(self.apt),
            "env": _variables(self.env),
            "secrets": _references(self.secrets),
        }
        for field, value in parts.items():
            object.__setattr__(self, field, value)

    @property
    def _key(self) -> list[Any]:
        return [
            self.base,
            self.python,
            sorted(self.pip),
            sorted(index._key for index in self.pip_indexes),
            sorted(self.apt),
            sorted(self.env.items()),
            sorted(self.secrets.items()),
        ]

    @property
    def digest(self) -> str:
        """SHA-256 of what the image asks for, as 64 hexadecimal digits; the order is no part."""
        return _digest(self._key)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Image) else NotImplemented

    def __hash__(self) -> int:
        return _number(self.digest)

    def __repr__(self) -> str:
        told = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                shown = redacted(value) if field.name == "env" else value
                told.append(f"{field.name}={shown!r}")
        return f"Image({', '.join(told)})"


def _digest(key: object) -> str:
    import hashlib  # costs what those who only read jobs need not pay
    import json

    return hashlib.sha256(json.dumps(key, ensure_ascii=True).encode()).hexdigest()


def _number(digest: str) -> int:
    # A hash of texts differs from process to process; that of a number does not.
    return hash(int(digest[:15], 16))


def _distinct(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(parts))


def _check_text(field: str, given: Any) -> None:
    if not isinstance(given, str):
        raise FieldInvalid(field, repr(given), f"expected text, got {type(given).__name__}")
    if re.search(_CONTROL, given) or given.startswith("-"):
        raise FieldInvalid(field, repr(given), "it begins with '-', or has a control character")


def _requirements(given: Any) -> tuple[str, ...]:
    parts = _distinct(listed(given, "pip", of="requirements"))
    for one in parts:
        # What begins otherwise is an option of pip's: another index, say.
        if not re.match(r"[A-Za-z0-9./]", one) or re.search(_CONTROL, one):
            raise FieldInvalid("pip", repr(one), "expected a requirement, such as 'torch>=2'")
    return parts


def _system_packages(given: Any) -> tuple[str, ...]:
    parts = _distinct(listed(given, "apt", of="names of packages"))
    for one in parts:
        if not re.fullmatch(_SYSTEM_PACKAGE, one):
            raise FieldInvalid("apt", repr(one), "expected a package, such as 'ffmpeg'")
    return parts


def _indexes(given: Any) -> tuple[PipIndex, ...]:
    parts: tuple[PipIndex, ...] = _distinct(
        listed(given, "pip_indexes", PipIndex, "indexes, each a PipIndex")
    )
    homes: dict[str, str] = {}
    for index in parts:
        for name in index.packages:
            if homes.setdefault(package_key(name), index.url) != index.url:
                reason = f"{homes[package_key(name)]} answers for {name}, too"
                raise FieldInvalid("pip_indexes", index.url, reason, "keep one of them")
    return parts


def _variables(given: Any) -> FrozenDict[str, str]:
    check_mapping(given, "env", "names to texts")
    for name, value in given.items():
        _check_name("env", name)
        if isinstance(value, Secret):
            advice = f"write secrets={{{name!r}: {value!r}}}"
            raise FieldInvalid("env", repr(name), "its value is a secret", advice)
        if not isinstance(value, str) or "\0" in value:
            # Not shown: it may be something that must not be.
            raise FieldInvalid("env", repr(name), "its value must be text, without a NUL")
    return FrozenDict(given)


def _references(given: Any) -> FrozenDict[str, str]:
    check_mapping(given, "secrets", "names to references")
    found: dict[str, str] = {}
    for name, one in given.items():
        _check_name("secrets", name)
        try:
            found[name] = one.reference if isinstance(one, Secret) else Secret(one).reference
        except (UsageError, TypeError):
            raise FieldInvalid("secrets", repr(name), "a secret is env:NAME or file:PATH") from None
    return FrozenDict(found)


def _check_name(field: str, name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(_VARIABLE, name):
        raise FieldInvalid(field, repr(name), "no shell can set a variable of that name")
