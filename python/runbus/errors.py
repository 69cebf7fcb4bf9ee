"""Every error that runbus raises on purpose, in one tree.

    RunbusError
     ├─ UsageError            what was asked for cannot be done as asked
     ├─ NotFound              the thing named does not exist
     ├─ RunUnreadable         a file of a run is too damaged
     ├─ FileUnreadable        a file of the home cannot be read, or is not what it must be
     ├─ HomeUnusable          the home folder cannot be used
     ├─ JournalError          a journal file cannot be written or read
     ├─ JobError              a job could not be handled
     ├─ HostError             a host could not be used
     │   ├─ ConnectionLost    there is no connection, or none any more
     │   ├─ HostKeyUnknown    its key is in no known_hosts file
     │   ├─ HostKeyRefused    its key has changed
     │   ├─ LoginRefused      it let nobody in
     │   ├─ RemoteFailed      it did not do what it was asked
     │   └─ ForwardFailed     nothing answers behind a forwarded port
     ├─ BusError              the bus or the kernel cannot do what was asked
     │   ├─ WrongKind         an event was given to a verb of another kind
     │   ├─ BusClosed         the bus is not open yet, or no longer
     │   ├─ WrongLoop         the bus was used from another thread, event loop or process
     │   ├─ InvalidHandler    what was subscribed can never work
     │   ├─ InvalidOption     an option has no value that makes sense
     │   ├─ Reentrant         a request was made while it was being answered
     │   ├─ RecursionLimit    events caused events without end
     │   ├─ WouldDeadlock     the wait could never end
     │   ├─ MailboxFull       a mailbox that loses nothing has no room now
     │   ├─ BackpressureTimeout  a mailbox that loses nothing stayed full
     │   ├─ NoHandler         nobody answered a request
     │   └─ TraceError        a trace cannot be read
     └─ PluginError           a plugin failed, or cannot be used
         ├─ HookError         a plugin failed while it was being called
         ├─ HandlerTimeout    a handler took longer than it may
         ├─ HandlerCancelled  a handler was cancelled by nobody
         ├─ PluginCrashed     a background task of a plugin died
         ├─ PluginStuck       a plugin would not stop in its time
         ├─ MissingPlugin     a plugin requires one that is not there
         ├─ OrderCycle        plugins want to come before and after each other
         ├─ DuplicatePlugin   two plugins have one name
         ├─ InvalidPlugin     what was given as a plugin is none
         ├─ PluginNotFound    no plugin has that name
         └─ PluginNotLoadable an installed plugin cannot be imported or made

An error carries its facts as fields, its text in `__str__`, and where there is one, the next step
in `hint`, which a traceback shows, too. It survives pickling, so it can cross a process or a host:
`__init__` passes every field on to `Exception.__init__` in order, and takes them back by position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ArtifactUnreadable",
    "BackpressureTimeout",
    "BatchInvalid",
    "BusClosed",
    "BusError",
    "ConnectionLost",
    "DuplicatePlugin",
    "ExperimentNotFound",
    "ExtraMissing",
    "FileUnreadable",
    "ForwardFailed",
    "GitFailed",
    "HandlerCancelled",
    "HandlerTimeout",
    "HomeUnusable",
    "HookError",
    "HostError",
    "HostKeyRefused",
    "HostKeyUnknown",
    "InvalidHandler",
    "InvalidOption",
    "InvalidPlugin",
    "JobError",
    "JobNotStarted",
    "JournalError",
    "JournalHeld",
    "LoginRefused",
    "MailboxFull",
    "MetricNotFound",
    "MissingPlugin",
    "NoExecutor",
    "NoHandler",
    "NotARepository",
    "NotFound",
    "NothingToPackage",
    "OrderCycle",
    "PackageUnreadable",
    "PluginCrashed",
    "PluginError",
    "PluginNotFound",
    "PluginNotLoadable",
    "PluginStuck",
    "QueryInvalid",
    "RecordNotFound",
    "RecursionLimit",
    "Reentrant",
    "RemoteFailed",
    "RunBusy",
    "RunNotFound",
    "RunUnreadable",
    "RunbusError",
    "ScriptUnusable",
    "SecretMissing",
    "SubmitUnknown",
    "SubmoduleMissing",
    "SweepInvalid",
    "TaskInvalid",
    "TraceError",
    "TreeDirty",
    "Unsupported",
    "UsageError",
    "WouldDeadlock",
    "WrongKind",
    "WrongLoop",
]


class RunbusError(Exception):
    """The root of the tree.

    Attributes:
        retryable: Whether the same call may succeed later without any change by the caller.
    """

    retryable: ClassVar[bool] = False

    @property
    def hint(self) -> str | None:
        """What to try next, one sentence without a full stop; None where nothing can be said."""
        return None

    @property
    def __notes__(self) -> list[str]:
        """What Python prints below the error in a traceback: its hint, and what `add_note` adds."""
        kept = vars(self)
        if "__notes__" not in kept:
            kept["__notes__"] = [f"hint: {self.hint}"] if self.hint else []
        notes: list[str] = kept["__notes__"]
        return notes

    @__notes__.setter
    def __notes__(self, notes: list[str]) -> None:  # by whoever unpickles it, above all
        vars(self)["__notes__"] = notes


# --- What was asked for cannot be done as asked ---------------------------------------------------


class UsageError(RunbusError):
    """The request itself is wrong; nothing was done."""


class ScriptUnusable(UsageError):
    """The script to run is missing, or is not a file that can be read.

    Attributes:
        path: The script as it was named.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot run {self.path!r}: {self.reason}"


class TaskInvalid(UsageError):
    """What was given to run is no task, or none that can run.

    Attributes:
        given: What was given, as Python shows it.
        reason: What is wrong with it.
    """

    def __init__(self, given: str, reason: str) -> None:
        super().__init__(given, reason)
        self.given = given
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot run {self.given}: {self.reason}"

    @property
    def hint(self) -> str:
        return """write Script("train.py"), Command(("echo", "hi")) or Command(("sh", "-c", "…"))"""


class SweepInvalid(UsageError):
    """A sweep is not `name=value,value…`.

    Attributes:
        text: The sweep as it was written.
        reason: What is wrong with it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, reason)
        self.text = text
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read the sweep {self.text!r}: {self.reason}"

    @property
    def hint(self) -> str:
        return "write it as name=value,value, for example lr=0.01,0.1"


class BatchInvalid(UsageError):
    """A batch file is refused whole: nothing of it was submitted.

    Attributes:
        path: The file.
        problems: Every mistake in it, as `file:line: key: what is wrong`.
    """

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        super().__init__(path, problems)
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        return f"{self.path} is refused, nothing was submitted\n" + "\n".join(self.problems)


class ExtraMissing(UsageError):
    """Something needs a package that is installed only on request.

    Attributes:
        what: What needs it.
        package: The package.
        extra: The extra of runbus that brings it.
    """

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(what, package, extra)
        self.what = what
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.what} needs the package {self.package}, which is not installed"

    @property
    def hint(self) -> str:
        return f"pip install 'runbus[{self.extra}]'"


class SecretMissing(UsageError):
    """A secret that a job needs cannot be had where it is said to be.

    Attributes:
        reference: Where it is said to be; never the secret itself.
        reason: What is wrong.
    """

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(reference, reason)
        self.reference = reference
        self.reason = reason

    def __str__(self) -> str:
        return f"no secret at {self.reference}: {self.reason}"

    @property
    def hint(self) -> str:
        return "it is read by whoever submits the job: provide it there"


class ArtifactUnreadable(UsageError):
    """A file or folder that should be kept with a run cannot be read.

    Attributes:
        path: The file or folder as it was named.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot keep {self.path!r}: {self.reason}"


class QueryInvalid(UsageError):
    """A question in SQL cannot be answered.

    Attributes:
        reason: What DuckDB says.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason.rstrip(".")


class RunBusy(UsageError):
    """What was asked for needs a run that nobody writes to.

    Attributes:
        run_id: The run's id.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return f"run {self.run_id} is still being written"

    @property
    def hint(self) -> str:
        return "wait for it to end, or end it"


class RunUnreadable(RunbusError):
    """A file of the run is too damaged to be read, so that its points cannot be told.

    Attributes:
        run_id: The run's id.
        reason: Which file, and what is wrong with it.
    """

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(run_id, reason)
        self.run_id = run_id
        self.reason = reason

    def __str__(self) -> str:
        return f"run {self.run_id} cannot be read: {self.reason}"

    @property
    def hint(self) -> str:
        return "move the file away and the rest is read; the damage() of the run lists all damage"


class FileUnreadable(RunbusError):
    """A file of the home cannot be read, or is not what it must be.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    @property
    def hint(self) -> str:
        return "runbus doctor lists every file of the home that cannot be read"


# --- The thing named does not exist ---------------------------------------------------------------


class NotFound(RunbusError):
    """Nothing of that name exists.

    Attributes:
        what: What kind of thing was looked for, for example "run".
        name: What it was called.
        similar: Names that exist and read almost the same, best first.
    """

    def __init__(self, what: str, name: str, similar: tuple[str, ...] = ()) -> None:
        super().__init__(what, name, similar)
        self.what = what
        self.name = name
        self.similar = similar

    def __str__(self) -> str:
        return f"no {self.what} named {self.name!r}"

    @property
    def hint(self) -> str | None:
        if not self.similar:
            return None
        return "did you mean " + " or ".join(repr(name) for name in self.similar)


class RunNotFound(NotFound):
    """There is no run with that id or name.

    Attributes:
        are_any: Whether the home folder has any runs.
    """

    def __init__(self, name: str, similar: tuple[str, ...] = (), are_any: bool = True) -> None:
        RunbusError.__init__(self, name, similar, are_any)
        self.what, self.name, self.similar = "run", name, similar
        self.are_any = are_any

    def __str__(self) -> str:
        return super().__str__() if self.are_any else "there are no runs yet"

    @property
    def hint(self) -> str:
        if not self.are_any:
            return "runbus run SCRIPT makes one; $RUNBUS_HOME says where they are looked for"
        return super().hint or "runbus ls shows the runs there are"


class ExperimentNotFound(NotFound):
    """There is no experiment with that id, and no project of that name has one.

    Attributes:
        are_any: Whether the home folder has any experiments.
    """

    def __init__(
        self,
        name: str,
        similar: tuple[str, ...] = (),
        are_any: bool = True,
        what: str = "experiment",
    ) -> None:
        RunbusError.__init__(self, name, similar, are_any, what)
        self.what, self.name, self.similar = what, name, similar
        self.are_any = are_any

    def __str__(self) -> str:
        return super().__str__() if self.are_any else "there are no experiments yet"

    @property
    def hint(self) -> str | None:
        if self.are_any:
            return super().hint
        return "runbus submit makes one; $RUNBUS_HOME says where they are looked for"


class MetricNotFound(NotFound):
    """A run has no metric of that name.

    Attributes:
        run_id: The run that was asked.
        available: Every metric name the run has.
    """

    def __init__(
        self, name: str, run_id: str, similar: tuple[str, ...] = (), available: tuple[str, ...] = ()
    ) -> None:
        RunbusError.__init__(self, name, run_id, similar, available)
        self.what, self.name, self.similar = "metric", name, similar
        self.run_id = run_id
        self.available = available

    def __str__(self) -> str:
        return f"run {self.run_id} has no metric named {self.name!r}"

    @property
    def hint(self) -> str:
        if near := super().hint:
            return near
        if self.available:
            return "it has " + ", ".join(self.available)
        return "it has logged nothing yet"


class RecordNotFound(NotFound):
    """A run has no text, histogram, image, table or artifact of that name.

    Attributes:
        run_id: The run that was asked.
    """

    def __init__(self, what: str, name: str, run_id: str, similar: tuple[str, ...] = ()) -> None:
        RunbusError.__init__(self, what, name, run_id, similar)
        self.what, self.name, self.similar = what, name, similar
        self.run_id = run_id

    def __str__(self) -> str:
        return f"run {self.run_id} has no {self.what} named {self.name!r}"

    @property
    def hint(self) -> str:
        return super().hint or f"runbus show {self.run_id} shows what it has"


# --- Files ----------------------------------------------------------------------------------------


class HomeUnusable(RunbusError):
    """The home folder, or that of the run to go on with, cannot be made, read or written.

    Attributes:
        path: The folder.
        reason: What the operating system said.
        variable: The variable of the environment that can say which: `RUNBUS_HOME` or, for the
            folder of a run, `RUNBUS_RUN`; empty if another process handed the run over.
    """

    def __init__(self, path: str, reason: str, variable: str = "RUNBUS_HOME") -> None:
        super().__init__(path, reason, variable)
        self.path = path
        self.reason = reason
        self.variable = variable

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
        return "a run can be handed only to a process that has its folder"


class JournalError(RunbusError):
    """A journal cannot be written or read.

    Attributes:
        path: The journal file.
        reason: What is wrong.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"journal {self.path}: {self.reason}"


class JournalHeld(JournalError):
    """Another process writes the journal; a journal has one writer.

    Attributes:
        path: The journal file.
    """

    retryable = True

    def __init__(self, path: str) -> None:
        RunbusError.__init__(self, path)
        self.path = path
        self.reason = "another process writes it"

    @property
    def hint(self) -> str:
        return "runbus attach follows what another process leads"


# --- Jobs -----------------------------------------------------------------------------------------


class JobError(RunbusError):
    """A job could not be handled."""


class JobNotStarted(JobError):
    """An executor could not start a job.

    Attributes:
        job: The job's name.
        reason: What the backend said.
        advice: What to try next; None where nothing can be said.
    """

    def __init__(self, job: str, reason: str, advice: str | None = None) -> None:
        super().__init__(job, reason, advice)
        self.job = job
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        return f"job {self.job!r} could not be started: {self.reason}"

    @property
    def hint(self) -> str | None:
        """What to try next."""
        return self.advice


class SubmitUnknown(JobError):
    """A job was sent to a backend, and nobody knows whether it arrived.

    Attributes:
        job: The job's name.
        reason: What is known.
    """

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(job, reason)
        self.job = job
        self.reason = reason

    def __str__(self) -> str:
        return f"job {self.job!r} may have been submitted or not: {self.reason}"


class Unsupported(UsageError):
    """A job asks for what its executor cannot give.

    Attributes:
        job: The job's name.
        executor: The executor's name.
        missing: What it asks for and would not get, in words.
    """

    def __init__(self, job: str, executor: str, missing: tuple[str, ...]) -> None:
        super().__init__(job, executor, missing)
        self.job = job
        self.executor = executor
        self.missing = missing

    def __str__(self) -> str:
        return (
            f"job {self.job!r} asks for {' and '.join(self.missing)}, "
            f"which executor {self.executor!r} cannot give"
        )

    @property
    def hint(self) -> str:
        """What to do."""
        return "give the job another executor, or ask for less"


# --- Packages -------------------------------------------------------------------------------------


class PackageUnreadable(UsageError):
    """A file or folder that should be packaged cannot be read.

    Attributes:
        path: Which one.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot package {self.path!r}: {self.reason}"


class NothingToPackage(UsageError):
    """What should be packaged chooses no file at all.

    Attributes:
        root: Where was looked.
        patterns: What was looked for.
        near: What would choose something and reads almost the same, best first.
        passed: How many files were there.
        reason: Why nothing could be chosen, where more is known than that.
    """

    def __init__(
        self,
        root: str,
        patterns: tuple[str, ...],
        near: tuple[str, ...] = (),
        passed: int = 0,
        reason: str = "",
    ) -> None:
        super().__init__(root, patterns, near, passed, reason)
        self.root = root
        self.patterns = patterns
        self.near = near
        self.passed = passed
        self.reason = reason

    def __str__(self) -> str:
        return f"nothing to package: no file in {self.root} matches {', '.join(self.patterns)}"

    @property
    def hint(self) -> str:
        if self.near:
            return "did you mean " + " or ".join(repr(name) for name in self.near)
        if self.reason:
            return self.reason
        if self.passed:
            return f"there are {self.passed} files that are neither included nor excluded"
        return "there is no file that is not excluded"


class NotARepository(UsageError):
    """A folder is in no git repository.

    Attributes:
        path: The folder.
        reason: What git said.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} is in no git repository: {self.reason}"

    @property
    def hint(self) -> str:
        return "use a PatternPackager for a folder without git"


class SubmoduleMissing(UsageError):
    """A submodule, or the commit of it that is needed, is not there.

    Attributes:
        path: The submodule.
        repository: The repository that names it.
    """

    def __init__(self, path: str, repository: str) -> None:
        super().__init__(path, repository)
        self.path = path
        self.repository = repository

    def __str__(self) -> str:
        return f"the submodule {self.path!r} of {self.repository} is not checked out"

    @property
    def hint(self) -> str:
        return "git submodule update --init --recursive, or include_submodules=False"


class TreeDirty(UsageError):
    """A working tree is not as the commit says, and that was to be refused.

    Attributes:
        repository: The repository.
        files: What differs, the first hundred.
        what: How it differs.
    """

    def __init__(self, repository: str, files: tuple[str, ...], what: str) -> None:
        super().__init__(repository, files, what)
        self.repository = repository
        self.files = files
        self.what = what

    def __str__(self) -> str:
        return f"{self.repository} has {self.what}: {', '.join(self.files[:5])}"

    @property
    def hint(self) -> str:
        return "commit or stash them, or package them on purpose"


class GitFailed(UsageError):
    """Git could not be run, or failed.

    Attributes:
        command: What it should do.
        repository: Where.
        reason: What it said.
    """

    def __init__(self, command: str, repository: str, reason: str) -> None:
        super().__init__(command, repository, reason)
        self.command = command
        self.repository = repository
        self.reason = reason

    def __str__(self) -> str:
        return f"git {self.command} failed in {self.repository}: {self.reason}"


# --- Hosts ----------------------------------------------------------------------------------------


class HostError(RunbusError):
    """A host could not be used.

    Attributes:
        host: Which one, as `user@name:port`.
        reason: What happened.
    """

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(host, reason)
        self.host = host
        self.reason = reason

    def __str__(self) -> str:
        return f"host {self.host}: {self.reason}"


class ConnectionLost(HostError):
    """There is no connection to a host, or none any more. What it was asked may have been done."""

    retryable = True

    def __str__(self) -> str:
        return f"no connection to {self.host}: {self.reason}"


class HostKeyUnknown(HostError):
    """A host shows a key that no known_hosts file has; nothing was sent to it."""

    def __str__(self) -> str:
        return f"the key of {self.host} is not known: {self.reason}"

    @property
    def hint(self) -> str:
        return "compare the fingerprint with the host's own, then connect once with ssh to keep it"


class HostKeyRefused(HostError):
    """A host shows another key than the one that is known; nothing was sent to it."""

    def __str__(self) -> str:
        return f"the key of {self.host} has changed, or this is another machine: {self.reason}"

    @property
    def hint(self) -> str:
        return "only if the host was set up anew: ssh-keygen -R forgets the old key"


class LoginRefused(HostError):
    """A host let nobody in under that name with those keys."""

    def __str__(self) -> str:
        return f"cannot log in to {self.host}: {self.reason}"

    @property
    def hint(self) -> str:
        return "check the user, the identity file and the agent (ssh-add -l)"


class RemoteFailed(HostError):
    """A host did not do what it was asked, and said so."""


class ForwardFailed(HostError):
    """Nothing can be reached behind a forwarded port."""

    retryable = True

    def __str__(self) -> str:
        return f"the forward through {self.host} leads nowhere: {self.reason}"


# --- the bus and the kernel ---------------------------------------------------------------------


class BusError(RunbusError):
    """The bus or the kernel was used wrongly, or cannot do what was asked now."""


class WrongKind(BusError):
    """An event was given to a verb of another kind.

    Attributes:
        event: Name of the event class.
        kind: Its kind, such as `notify`; empty where the class is of no kind.
        verb: The verb that was used.
        right_verb: The verb of that kind; empty where there is none.
        is_class: Whether the class itself was given instead of an event.
    """

    def __init__(
        self, event: str, kind: str, verb: str, right_verb: str, is_class: bool = False
    ) -> None:
        super().__init__(event, kind, verb, right_verb, is_class)
        self.event = event
        self.kind = kind
        self.verb = verb
        self.right_verb = right_verb
        self.is_class = is_class

    def __str__(self) -> str:
        if self.is_class:
            return f"{self.event} is a class of events, which {self.verb}() does not take"
        what = f"is a {self.kind} event" if self.kind else "is no event of any kind"
        return f"{self.event} {what}, which {self.verb}() does not take"

    @property
    def hint(self) -> str | None:
        """The verb of that kind."""
        if self.is_class:
            return f"pass an event of that class: {self.event}(...)"
        return f"use {self.right_verb}()" if self.right_verb else None


class BusClosed(BusError):
    """The bus is not open yet, or no longer.

    Attributes:
        verb: What was asked of it.
        state: `new`, `draining`, `sealed` or `closed`.
    """

    def __init__(self, verb: str, state: str) -> None:
        super().__init__(verb, state)
        self.verb = verb
        self.state = state

    def __str__(self) -> str:
        return f"{self.verb}() was called on a bus that is {self.state}"

    @property
    def hint(self) -> str | None:
        """When the bus is open."""
        if self.state == "new":
            return "use the bus inside `async with Kernel(...) as kernel`"
        if self.state == "draining":
            return "while the kernel stops, only publish() and emit() work"
        if self.state == "sealed":
            return "the mailboxes are read to the end: what is still to be kept needs its own place"
        return None


class WrongLoop(BusError):
    """The bus was used from another thread, another event loop or a forked child.

    Attributes:
        verb: What was asked of the bus.
        where: `thread`, `loop` or `fork`.
    """

    def __init__(self, verb: str, where: str) -> None:
        super().__init__(verb, where)
        self.verb = verb
        self.where = where

    def __str__(self) -> str:
        where = {
            "thread": "from a thread that does not run its event loop",
            "loop": "from another event loop",
            "fork": "in a forked child, which does not own the bus",
        }.get(self.where, self.where)
        return f"{self.verb}() was called {where}"

    @property
    def hint(self) -> str | None:
        """What works from there."""
        if self.where == "fork":
            return "start a kernel of the child's own, or publish in the parent"
        if self.verb in {"on", "stream", "wait_for"}:
            return f"call {self.verb}() in the bus's own loop, as loop.call_soon_threadsafe() does"
        return "use publish_from_thread() from other threads and loops"


class InvalidHandler(BusError):
    """What was subscribed can never work, so it is refused at once.

    Attributes:
        plugin: Who subscribed.
        handler: Name of the handler.
        event: Name of the event class.
        problem: What is wrong, as the end of a sentence that starts with the handler.
        fix: What to write instead.
    """

    def __init__(self, plugin: str, handler: str, event: str, problem: str, fix: str) -> None:
        super().__init__(plugin, handler, event, problem, fix)
        self.plugin = plugin
        self.handler = handler
        self.event = event
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"plugin {self.plugin!r}: {self.handler} for {self.event} {self.problem}"

    @property
    def hint(self) -> str | None:
        """What to write instead."""
        return self.fix or None


class InvalidOption(BusError, ValueError):
    """An option that can never work, refused where it was given.

    Attributes:
        owner: Who gave it: a plugin, the application, or the kernel.
        option: Name of the option.
        given: What was given, as it would be written.
        problem: What is wrong, as the end of a sentence that starts with the option.
        fix: What to give instead.
    """

    def __init__(self, owner: str, option: str, given: str, problem: str, fix: str) -> None:
        super().__init__(owner, option, given, problem, fix)
        self.owner = owner
        self.option = option
        self.given = given
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.owner}: {self.option}={self.given} {self.problem}"

    @property
    def hint(self) -> str | None:
        """What to give instead."""
        return self.fix or None


class Reentrant(BusError):
    """A request was made while the same request was being answered.

    Attributes:
        event: Name of the event class.
        chain: The events being dispatched, outermost first.
    """

    def __init__(self, event: str, chain: tuple[str, ...]) -> None:
        super().__init__(event, chain)
        self.event = event
        self.chain = chain

    def __str__(self) -> str:
        return f"{self.event} was asked for while it is being answered: {' > '.join(self.chain)}"


class RecursionLimit(BusError):
    """Events caused events without end.

    Attributes:
        limit: How long a causal chain may be.
        chain: The events of the chain, outermost first.
    """

    def __init__(self, limit: int, chain: tuple[str, ...]) -> None:
        super().__init__(limit, chain)
        self.limit = limit
        self.chain = chain

    def __str__(self) -> str:
        return f"more than {self.limit} events caused one another: {' > '.join(self.chain)}"


class WouldDeadlock(BusError):
    """The wait could never end, so it was not begun.

    Attributes:
        wait: What would have been waited for, with the whole circle.
    """

    def __init__(self, wait: str) -> None:
        super().__init__(wait)
        self.wait = wait

    def __str__(self) -> str:
        return f"this would wait for ever: {self.wait}"


class MailboxFull(BusError):
    """A mailbox that loses nothing has no room now; the event was not put into it.

    Attributes:
        owner: The subscriber.
        event: Name of the event class.
        pending: How many events wait in the mailbox.
    """

    retryable = True

    def __init__(self, owner: str, event: str, pending: int) -> None:
        super().__init__(owner, event, pending)
        self.owner = owner
        self.event = event
        self.pending = pending

    def __str__(self) -> str:
        return f"the mailbox of {self.owner} is full ({self.pending} waiting), {self.event} not put"

    @property
    def hint(self) -> str | None:
        """How to wait for room."""
        return "use emit(), which waits for room"


class BackpressureTimeout(BusError):
    """A mailbox that loses nothing stayed full; the event was not put into it.

    Attributes:
        owner: The subscriber.
        event: Name of the event class.
        pending: How many events wait in the mailbox.
        waited_s: How long the publisher waited, in seconds.
    """

    retryable = True

    def __init__(self, owner: str, event: str, pending: int, waited_s: float) -> None:
        super().__init__(owner, event, pending, waited_s)
        self.owner = owner
        self.event = event
        self.pending = pending
        self.waited_s = waited_s

    def __str__(self) -> str:
        return (
            f"the mailbox of {self.owner} stayed full for {self.waited_s:g} s "
            f"({self.pending} waiting), {self.event} not put"
        )


class NoHandler(BusError):
    """Nobody answered a request.

    Attributes:
        event: Name of the event class.
        asked: The plugins that were asked and had no answer.
    """

    def __init__(self, event: str, asked: tuple[str, ...]) -> None:
        super().__init__(event, asked)
        self.event = event
        self.asked = asked

    def __str__(self) -> str:
        asked = f"none of {', '.join(self.asked)} did" if self.asked else "no plugin listens"
        return f"nobody answered {self.event}: {asked}"


class NoExecutor(NoHandler):
    """No plugin of the kernel brings the executor that a job names.

    Attributes:
        name: The executor's name.
    """

    def __init__(self, name: str, asked: tuple[str, ...]) -> None:
        RunbusError.__init__(self, name, asked)
        self.event = "ResolveExecutor"
        self.name = name
        self.asked = asked

    def __str__(self) -> str:
        return f"no plugin of the kernel brings an executor named {self.name!r}"

    @property
    def hint(self) -> str:
        if self.asked:
            return f"those that bring executors are {', '.join(self.asked)}"
        return "give the kernel one, for example Kernel(plugins=[LocalExecutor()])"


class TraceError(BusError):
    """A trace cannot be read, or does not hold what was asked for.

    Attributes:
        path: The trace file.
        problem: What is wrong with it.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class PluginError(RunbusError):
    """A plugin failed, or cannot be used."""


class HookError(PluginError):
    """A plugin failed while it was being called; the cause, where there is one, is `__cause__`.

    Attributes:
        plugin: Whose code failed.
        hook: The handler, or `setup`, or `close`.
        event: Name of the event class; empty where no event was dispatched.
        problem: What happened, as the end of a sentence that starts with the plugin.
    """

    def __init__(self, plugin: str, hook: str, event: str, problem: str) -> None:
        super().__init__(plugin, hook, event, problem)
        self.plugin = plugin
        self.hook = hook
        self.event = event
        self.problem = problem

    def __str__(self) -> str:
        of = f" for {self.event}" if self.event else ""
        return f"plugin {self.plugin!r}: {self.hook}{of} {self.problem}"


class HandlerTimeout(PluginError):
    """A handler took longer than it may, and was cancelled.

    Attributes:
        plugin: Whose handler it is.
        handler: Its name.
        event: Name of the event class; empty where no event was dispatched.
        timeout_s: How long it may take, in seconds.
    """

    def __init__(self, plugin: str, handler: str, event: str, timeout_s: float) -> None:
        super().__init__(plugin, handler, event, timeout_s)
        self.plugin = plugin
        self.handler = handler
        self.event = event
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        of = f" for {self.event}" if self.event else ""
        return f"plugin {self.plugin!r}: {self.handler}{of} took longer than {self.timeout_s:g} s"


class HandlerCancelled(PluginError):
    """A handler raised a cancellation although nobody had cancelled its task.

    Attributes:
        plugin: Whose handler it is.
        handler: Its name.
        event: Name of the event class.
    """

    def __init__(self, plugin: str, handler: str, event: str) -> None:
        super().__init__(plugin, handler, event)
        self.plugin = plugin
        self.handler = handler
        self.event = event

    def __str__(self) -> str:
        return (
            f"plugin {self.plugin!r}: {self.handler} for {self.event} raised CancelledError, "
            "though nobody cancelled it"
        )


class PluginCrashed(PluginError):
    """A background task of a plugin died; the cause is `__cause__`.

    Attributes:
        plugin: Whose task it was.
        task: Its name.
        problem: What it died of.
    """

    def __init__(self, plugin: str, task: str, problem: str) -> None:
        super().__init__(plugin, task, problem)
        self.plugin = plugin
        self.task = task
        self.problem = problem

    def __str__(self) -> str:
        return f"plugin {self.plugin!r}: its task {self.task} died: {self.problem}"


class PluginStuck(PluginError):
    """A plugin would not stop in its time, not even when cancelled; it was left behind.

    Attributes:
        plugin: Which plugin.
        doing: What it was doing.
        waited_s: How long it was waited for, in seconds.
    """

    def __init__(self, plugin: str, doing: str, waited_s: float) -> None:
        super().__init__(plugin, doing, waited_s)
        self.plugin = plugin
        self.doing = doing
        self.waited_s = waited_s

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} was left behind after {self.waited_s:g} s: {self.doing}"


class MissingPlugin(PluginError):
    """A plugin requires one that is not there.

    Attributes:
        plugin: The plugin that requires.
        required: The name that it requires.
        near: Names that are there and look alike.
    """

    def __init__(self, plugin: str, required: str, near: tuple[str, ...]) -> None:
        super().__init__(plugin, required, near)
        self.plugin = plugin
        self.required = required
        self.near = near

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} requires {self.required!r}, which is not there"

    @property
    def hint(self) -> str | None:
        """What may have been meant."""
        if self.near:
            return f"did you mean {' or '.join(map(repr, self.near))}"
        return f"add {self.required!r} to the plugins of the kernel"


class OrderCycle(PluginError):
    """Plugins want to come before and after each other.

    Attributes:
        path: The names around the circle; the first is repeated at the end.
        edges: For each step, who declared it and how, such as `b says after=('a',)`.
    """

    def __init__(self, path: tuple[str, ...], edges: tuple[str, ...]) -> None:
        super().__init__(path, edges)
        self.path = path
        self.edges = edges

    def __str__(self) -> str:
        return f"plugins in a circle: {' < '.join(self.path)} ({'; '.join(self.edges)})"

    @property
    def hint(self) -> str | None:
        """How to open the circle."""
        return "remove one of these declarations"


class DuplicatePlugin(PluginError):
    """Two plugins have one name.

    Attributes:
        plugin: The name.
    """

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self.plugin = plugin

    def __str__(self) -> str:
        return f"two plugins are named {self.plugin!r}"

    @property
    def hint(self) -> str | None:
        """How to have both."""
        return "give one of them another name"


class InvalidPlugin(PluginError):
    """What was given as a plugin is none.

    Attributes:
        what: What was given.
        problem: What it lacks, as the end of a sentence that starts with it.
    """

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(what, problem)
        self.what = what
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.what} is not a plugin: it {self.problem}"

    @property
    def hint(self) -> str | None:
        """What a plugin is."""
        return "a plugin has a `name` and `async def setup(self, scope)`"


class PluginNotFound(PluginError):
    """No plugin has that name.

    Attributes:
        plugin: The name.
        near: Names that exist and look alike.
    """

    def __init__(self, plugin: str, near: tuple[str, ...]) -> None:
        super().__init__(plugin, near)
        self.plugin = plugin
        self.near = near

    def __str__(self) -> str:
        return f"there is no plugin named {self.plugin!r}"

    @property
    def hint(self) -> str | None:
        """What may have been meant."""
        return f"did you mean {' or '.join(map(repr, self.near))}" if self.near else None


class PluginNotLoadable(PluginError):
    """An installed plugin cannot be imported, made or used with this version.

    Attributes:
        plugin: Name of its entry point.
        entry_point: What the entry point refers to, such as `package.module:Name`.
        distribution: Name and version of what installed it; empty where unknown.
        problem: Why it cannot be used.
    """

    def __init__(self, plugin: str, entry_point: str, distribution: str, problem: str) -> None:
        super().__init__(plugin, entry_point, distribution, problem)
        self.plugin = plugin
        self.entry_point = entry_point
        self.distribution = distribution
        self.problem = problem

    def __str__(self) -> str:
        source = f" of {self.distribution}" if self.distribution else ""
        return f"plugin {self.plugin!r} ({self.entry_point}{source}): {self.problem}"


def near_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `known` that read almost like `name`, best first."""
    import difflib

    return tuple(difflib.get_close_matches(name, known, n=3, cutoff=0.6))


def innermost(error: BaseException) -> BaseException:
    """Return the one error inside groups of one, as task groups make them; else `error` itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
