"""How asyncssh logs in as OpenSSH would, with what OpenSSH's client says about a machine."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import asyncssh

from runbus.transports._known_hosts import load_known_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.transports._openssh import Login

__all__ = ["connect_options"]

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def connect_options(login: Login) -> dict[str, Any]:
    """Return the keyword arguments of `asyncssh.connect` for a login.

    Key and certificate files that do not exist or cannot be read are passed over, as OpenSSH does.
    """
    certificates = _certificates(login.certificates)
    options: dict[str, Any] = {
        # Nothing is taken from a configuration again, and no environment of a terminal.
        "config": None,
        "host": login.host,
        "port": login.port,
        "username": login.user,
        "known_hosts": load_known_hosts(login.known_hosts),
        "client_keys": _keys(login, certificates),
        "ignore_encrypted": True,
        "agent_path": login.agent,
        "env": list(login.environment) or None,
        "send_env": list(login.send) or None,
        "request_pty": False,
        "agent_forwarding": False,
        "x11_forwarding": False,
    }
    if login.identities_only:
        allowed = _public_keys(login.identities)
        options |= {"agent_identities": allowed} if allowed else {"agent_path": None}
    if login.key_alias:
        options["host_key_alias"] = login.key_alias
    if login.family in _FAMILIES:
        options["family"] = _FAMILIES[login.family]
    if login.bind:
        options["local_addr"] = (login.bind, 0)
    if login.compression:
        options["compression_algs"] = ["zlib@openssh.com", "zlib", "none"]
    if login.authentication:
        options["preferred_auth"] = login.authentication
    if login.proxy_command:
        # asyncssh takes what the command says on stderr for the host's words, and the end of stderr
        # for the end of the connection.
        command = f"exec 9>&2 2>/dev/null; exec {login.proxy_command}"
        options["proxy_command"] = ["/bin/sh", "-c", command]
    for name, algorithms in login.algorithms.items():
        options[name] = _known(name, algorithms)
    return options


def _certificates(paths: Sequence[str]) -> list[asyncssh.SSHCertificate]:
    found = []
    for path in paths:
        try:
            found.append(asyncssh.read_certificate(path))
        except (OSError, asyncssh.KeyImportError):
            continue
    return found


def _keys(
    login: Login, certificates: Sequence[asyncssh.SSHCertificate]
) -> list[asyncssh.SSHKeyPair]:
    found: list[asyncssh.SSHKeyPair] = []
    for path in login.identities:
        try:
            found += asyncssh.load_keypairs(
                [path],
                certlist=certificates,
                skip_public=True,
                ignore_encrypted=True,
            )
        except (OSError, ValueError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            continue
    return found


def _public_keys(paths: Sequence[str]) -> list[bytes]:
    """Return the public halves of keys: from the files themselves, or from those beside them."""
    found = []
    for path in paths:
        for candidate in (path, f"{path}.pub"):
            if not os.path.exists(candidate):
                continue
            try:
                found.append(asyncssh.read_public_key(candidate).public_data)
            except (OSError, asyncssh.KeyImportError):
                continue
    return found


def _known(option: str, algorithms: Sequence[str]) -> list[str]:
    """Return the algorithms that asyncssh has; all of them if it has none, so that it says so."""

    def has(name: str) -> bool:
        try:
            asyncssh.SSHClientConnectionOptions(
                config=None, client_keys=None, known_hosts=b"", **{option: [name]}
            )
        except ValueError:
            return False
        return True

    return [name for name in algorithms if has(name)] or list(algorithms)
