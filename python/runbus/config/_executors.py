"""Executors as data: what a batch file says about them, and an experiment remembers."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["ExecutorFields", "LocalFields", "SSHFields"]


class LocalFields(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="local",
):
    """Jobs as processes of this machine.

    Attributes:
        gpus: The GPUs it may lend to jobs; those of the machine if absent.
    """

    gpus: list[str] | None = None


class SSHFields(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="ssh",
):
    """Jobs on other machines, reached as the user's SSH configuration says.

    Attributes:
        hosts: The machines, as `name` or `user@name:port`.
        slots: How many jobs a machine has at a time.
        job_dir: Under which folder of a machine everything lies.
        identity: The private key file, instead of the configured ones.
        workdir: The folder where jobs start, instead of their own.
        python: The interpreter there, for jobs that would run under this one.
    """

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    slots: Annotated[int, msgspec.Meta(ge=1)] = 1
    job_dir: str = "~/.runbus/remote"
    identity: str | None = None
    workdir: str | None = None
    python: str | None = None


ExecutorFields = LocalFields | SSHFields
