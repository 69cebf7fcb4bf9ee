"""Standard error that nobody reads keeps nobody waiting."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest

from runbus.cli._outlet import Outlet


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Return the two ends of a pipe."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        yield read, stream
    os.close(read)


def read_all(file: int, outlet: Outlet) -> str:
    """Close an outlet and what it writes to while somebody reads, and return what came."""

    def close() -> None:
        outlet.close()
        outlet.raw.close()

    closing = threading.Thread(target=close)
    closing.start()
    data = b""
    while piece := os.read(file, 1 << 20):
        data += piece
    closing.join()
    return data.decode()


def test_what_is_read_comes_whole_and_in_order(pipe: tuple[int, TextIO]) -> None:
    outlet = Outlet(pipe[1])
    lines = [f"{number} é\n" for number in range(20_000)]
    reading = threading.Thread(target=lambda: told.append(read_all(pipe[0], outlet)))
    told: list[str] = []
    for line in lines:
        outlet.write(line)
    reading.start()
    reading.join()

    assert told == ["".join(lines)]


def test_what_nobody_reads_is_left_out_and_counted_and_keeps_nobody_waiting(
    pipe: tuple[int, TextIO],
) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)  # of what waits nearly nothing can go there
    outlet = Outlet(pipe[1], limit=100_000)
    line = "x" * 99 + "\n"
    for _ in range(10_000):
        outlet.write(line)
    assert outlet.is_full
    outlet.leave_out(7)

    told = read_all(pipe[0], outlet)

    shown = told.count(line)
    left_out = re.findall(r"… ([\d,]+) lines were left out, which nobody read\n", told)
    assert shown + sum(int(count.replace(",", "")) for count in left_out) == 10_007
    assert 900 <= shown < 3000


def test_a_reader_that_went_away_ends_the_wait(pipe: tuple[int, TextIO]) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        outlet = Outlet(stream)
        outlet.write("x" * 200_000)
        os.close(read)
        outlet.write("more\n")
        outlet.close()
