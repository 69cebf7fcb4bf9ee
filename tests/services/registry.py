"""A real registry of images, Debian's docker-registry."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runbus.testing._waiting import wait_until

__all__ = ["LOGIN", "make_certificate", "registry"]

LOGIN = "runbus:word of the test"
"""The user who may, and the password."""

_KNOWN = "runbus:$2b$04$OBu9yhW.zkOiJBziuVPE8Olx0RIC91f9FXOSs/e4jWrlHxAH83e5O"
"""The same, as bcrypt has it: the registry reads no other form."""


@contextmanager
def registry(
    folder: Path,
    port: int,
    *,
    within: tuple[str, ...] = (),
    closed: bool = False,
    certificate: Path | None = None,
) -> Iterator[str]:
    """Run a registry; yield its host and port.

    Args:
        folder: A folder for its files, and the images that it has.
        port: Where it listens.
        within: The words that run a command in its network.
        closed: Whether it wants `LOGIN`.
        certificate: What it shows who it is with; its key lies beside it, as `.key`.
    """
    config = f"version: 0.1\nhttp:\n  addr: '127.0.0.1:{port}'\n"
    if certificate is not None:
        key = certificate.with_suffix(".key")
        config += f"  tls: {{certificate: {certificate}, key: {key}}}\n"
    config += f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
    if closed:
        (folder / "users").write_text(f"{_KNOWN}\n")
        config += f"auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}\n"
    (folder / "config.yml").write_text(config)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [*within, "docker-registry", "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until(lambda: _answers(within, port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


def _answers(within: tuple[str, ...], port: int) -> bool:
    asked = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    words = [*within, "/usr/bin/python3", "-c", asked]
    return subprocess.run(words, capture_output=True, check=False, timeout=120).returncode == 0


def make_certificate(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1, signed by itself."""
    path = folder / "registry.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(path.with_suffix(".key")), "-out", str(path)],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    return path
