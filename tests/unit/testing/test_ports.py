"""What says that a server listens says so once it does, and not before."""

from __future__ import annotations

import socket
from pathlib import Path

from runbus.testing._ports import free_ports, listens


def test_a_socket_that_is_there_does_not_listen_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert path.exists()
        assert not listens(str(path))
        server.listen()
        assert listens(str(path))


def test_a_port_that_is_taken_does_not_listen_before_it_does() -> None:
    (port,) = free_ports(1)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        assert not listens(port)
        server.listen()
        assert listens(port)
