"""The home folder and its journals."""

from __future__ import annotations

import os

from runbus.errors._root import RunbusError


class HomeUnusable(RunbusError):
    """The home folder, or that of the run to resume, cannot be made, read or written.

    Attributes:
        path: The folder.
        reason: What the operating system said.
        variable: The variable of the environment that can say which: `RUNBUS_HOME` or, for the
            folder of a run, `RUNBUS_RUN`; empty if `id` did.
    """

    path: str
    reason: str
    variable: str = "RUNBUS_HOME"

    def __str__(self) -> str:
        if self.variable == "RUNBUS_HOME":
            return f"cannot use the home folder {self.path}: {self.reason}"
        source = f", which {self.variable} names" if self.variable else ""
        return f"cannot use the folder {self.path} of a run{source}: {self.reason}"

    @property
    def hint(self) -> str:
        if self.variable == "RUNBUS_HOME":
            return "set RUNBUS_HOME to a folder you can write"
        if self.variable:
            return f"unset {self.variable} to make a new run instead"
        return "leave `id` out to make a new run instead"


class FileUnreadable(RunbusError):
    """A file of the home cannot be read, or is not what it must be.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    @property
    def hint(self) -> str:
        return "runbus doctor lists every file of the home that cannot be read"


class JournalError(RunbusError):
    """A journal cannot be written or read.

    Attributes:
        path: The journal file.
        reason: What is wrong.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"journal {self.path}: {self.reason}"


class JournalHeld(JournalError):
    """Another process leads the experiment; its journal has one writer."""

    retryable = True

    reason: str = "another process writes it"

    @property
    def hint(self) -> str:
        return "runbus attach follows what another process leads"


class LeaseLost(JournalError):
    """This process led the experiment and no longer does; it has written nothing since."""

    reason: str = ""

    def __str__(self) -> str:
        told = f"this process no longer leads {os.path.dirname(self.path)}"
        return f"{told}: {self.reason}" if self.reason else told

    @property
    def hint(self) -> str:
        return "jobs that run continue by themselves; runbus attach follows them"


def os_reason(error: OSError) -> str:
    """Return why the system refused something, as a part of a sentence: "permission denied"."""
    return (error.strerror or str(error)).lower()
