"""What a plugin needs: a version of the plugin interface, distributions, other plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus._listed import listed
from runbus.errors import ExtraMissing, FieldInvalid, did_you_mean, near_matches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = [
    "API_VERSION",
    "api_misfit",
    "misses",
    "missing_distributions",
    "missing_plugins",
    "said",
]

API_VERSION = (1, 0)
"""What a plugin's `api = ">=1,<2"` is compared with."""

_COMPARISONS = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


def misses(plugin: Any, known: Collection[str] | None = None) -> list[str]:
    """Return all that a plugin needs and that is not there, each as a sentence's end.

    Args:
        plugin: An object or class with `api`, a range of versions of the plugin interface such as
            `>=1,<2`; `requires`, distributions as pip has them, such as `torch>=2`; and
            `dependencies`, names of plugins or distributions. What it does not have it does not
            need.
        known: The names of plugins that there are; `dependencies` are not checked if None.
    """
    found = [api_misfit(said(plugin, "api", ""))]
    wanted = []
    for word in ("requires", "dependencies"):
        try:
            wanted.append(listed(said(plugin, word, ()), word, of="names"))
        except FieldInvalid as error:
            found.append(f"its {word} cannot be read: {error}")
            wanted.append(())
    found += missing_distributions(wanted[0])
    if known is not None:
        found += missing_dependencies(wanted[1], known)
    return [one for one in found if one]


def said(plugin: Any, word: str, default: Any) -> Any:
    """Return an attribute; of a class, one that only its objects have is as good as none."""
    value = getattr(plugin, word, default)
    return default if isinstance(value, property) else value


def api_misfit(wanted: object) -> str:
    """Return why a plugin is not made for this version of the interface; empty if it is.

    Args:
        wanted: A range such as `>=1,<2`; any version if empty.
    """
    if not isinstance(wanted, str):
        return f"its range of plugin interfaces {wanted!r} cannot be read"
    for part in filter(None, (part.strip() for part in wanted.split(","))):
        sign = next((sign for sign in _COMPARISONS if part.startswith(sign)), None)
        numbers = part[len(sign) :].strip().split(".") if sign else []
        if sign is None or not all(one.isascii() and one.isdigit() for one in numbers):
            return f"its range of plugin interfaces {wanted!r} cannot be read"
        version = (*(int(number[:9]) for number in numbers), 0)[:2]
        if not _COMPARISONS[sign](API_VERSION, version):
            have = ".".join(map(str, API_VERSION))
            return f"it is made for plugin interface {wanted}, this is {have}"
    return ""


def missing_distributions(wanted: Iterable[str]) -> Iterator[str]:
    """Yield why distributions are not those that are wanted, such as `torch>=2; python_version…`.

    Raises:
        ExtraMissing: The package `packaging`, which reads them, is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    for text in wanted:
        requirement = _requirement(text)
        if isinstance(requirement, str):
            yield requirement
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(requirement.name)
        except PackageNotFoundError:
            yield f"it requires {text}, which is not installed"
            continue
        except Exception as error:  # of metadata that cannot be read
            yield f"it requires {text}, whose version cannot be read: {error}"
            continue
        if not requirement.specifier.contains(have, prereleases=True):
            yield f"it requires {text}, and {requirement.name} {have} is installed"


def _requirement(text: str) -> Any:
    """Return what a requirement says, or what is wrong with it."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError as error:
        raise ExtraMissing(
            "a plugin that requires distributions", "packaging", "plugins"
        ) from error
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        return f"it requires {text!r}, which cannot be read: {str(error).splitlines()[0]}"


def missing_plugins(wanted: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """Yield why plugins that are wanted are missing."""
    for name in wanted:
        if name not in known:
            told = f"it depends on plugin {name!r}, which is not there"
            near = did_you_mean(near_matches(name, known))
            yield f"{told}; {near}" if near else told


def missing_dependencies(wanted: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """Yield why things that are wanted are missing: a plugin, or a distribution, of that name."""
    for name in wanted:
        if name in known:
            continue
        for told in missing_distributions([name]):
            if not name.replace("-", "_").isidentifier():  # it says of which version, too
                yield told
                continue
            near = did_you_mean(near_matches(name, known))
            missing = f"it depends on {name!r}, and no plugin or distribution of that name is there"
            yield f"{missing}; {near}" if near else missing
