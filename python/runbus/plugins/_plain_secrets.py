"""Secrets in a configuration: references, until the plugin gets its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runbus._secrets import Secret

__all__ = ["with_secrets"]


def with_secrets(value: Any) -> Any:
    """Return a copy of a configuration in which each reference is replaced by what it refers to.

    A reference is a `Secret`, or `{secret: env:NAME}` as files have it.

    Raises:
        SecretMissing: A secret is not where it should be.
        UsageError: A reference is none.
    """
    if isinstance(value, Secret):
        return value.value()
    if isinstance(value, Mapping):
        if value.keys() == {"secret"} and isinstance(value["secret"], str):
            return Secret(value["secret"]).value()
        return {key: with_secrets(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [with_secrets(one) for one in value]
    return value
