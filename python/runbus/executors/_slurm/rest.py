"""Slurm as slurmrestd shows it, on a unix socket or over HTTP.

Facts this rests on, seen with slurmrestd 22.05 and 24.11: what is wrong stands in `errors`,
whatever the status; a job may have been made all the same; and where the controller refuses a
token, the answer is that of a connection cut by the controller. Only the accounts say so in words.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from runbus.errors import (
    AnswerLost,
    ApiUnknown,
    ConnectionLost,
    HostError,
    HttpRefused,
    RemoteFailed,
    SecretMissing,
    TokenRefused,
    Unreachable,
    UsageError,
)
from runbus.executors._slurm.asked import environment_script
from runbus.executors._slurm.numbers import chunks, whole
from runbus.executors._slurm.rest_answers import (
    Accounted,
    Errors,
    Listed,
    Paths,
    Queued,
    facts_of_accounts,
    facts_of_queue,
)
from runbus.executors._slurm.rest_asked import (
    KNOWN,
    Address,
    ListSizes,
    choose,
    document,
    is_plain,
    offered,
)
from runbus.executors._slurm.rest_partitions import Nodes, kinds_of_nodes
from runbus.executors._slurm.rest_values import expires_s
from runbus.executors._slurm.scheduler import Scheduler, Sent
from runbus.executors._slurm.verdict import Accounts
from runbus.transports.http import Answer, HttpClient, Phases

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from runbus._secrets import Secret
    from runbus.abc import Tunnel
    from runbus.executors._slurm.asked import Refusal
    from runbus.executors._slurm.listing import Fact
    from runbus.executors._slurm.partitions import Partition
    from runbus.executors._slurm.script import Batch

__all__ = ["Rest"]

Query = Mapping[str, "str | Sequence[str]"]
E = TypeVar("E", bound=Errors)
T = TypeVar("T")

_ASKED = 200
"""About how many jobs the accounts are asked in one go."""

_AT_A_TIME = 4
"""How many jobs are ended, or asked for, at a time: the server has no call for several."""

_ARRAY = 1000
"""How many elements an array has at the most: so many Slurm takes if it was not told otherwise, and
the server does not tell."""

_ANSWERS = frozenset(range(400, 600)) - {408, 425, 429, 503}
"""Statuses that answers of its own may have; the others say that it, or what is before it, is
busy."""

_NO_ENTRY = {401, 403, 511}

_PATIENT = Phases(read_s=45.0)
"""It goes on for long while the controller does not answer."""


class Rest(Scheduler):
    """Asks slurmrestd, in the newest version of its interface that both sides speak.

    Args:
        address: Where it listens.
        token: Where the token is, if it wants one; read for each request.
        tunnel: Reaches a machine whose environment jobs get, as they do from sbatch.
        sizes: When jobs are asked for one by one.

    Raises:
        FieldInvalid: The address is not one.
        ExtraMissing: httpx is not installed.
    """

    def __init__(
        self,
        address: str,
        token: Secret | None,
        tunnel: Tunnel,
        sizes: ListSizes = ListSizes(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self.sizes = sizes
        self._address = Address.of(address)
        self._token = token
        self._tunnel = tunnel
        # Where something between lets users in, only they can say who they are there.
        is_own = bool(self._address.socket or token is not None)
        self._user = self._address.user or (_own_name() if is_own else "")
        self._http = HttpClient(
            self._address.url, socket=self._address.socket, phases=_PATIENT, patience_s=10.0,
            most_bytes=sizes.most_bytes,
        )  # fmt: skip
        self.name = self._http.name
        self._version = ""
        self._has_accounts = False
        self._listed_bytes = 0
        self._choosing = anyio.Lock()

    @property
    def way(self) -> Hashable:
        """See `Scheduler`."""
        return self._address.url, self._address.socket, self._user, self._token

    async def submit(self, batch: Batch, umask: str, withheld: Sequence[str]) -> Sent:
        """Post the job; see `Scheduler`."""
        try:
            version = await self.version()
            variables = await self._environment(withheld)
            said = document(batch, variables, umask, version)
        except ConnectionLost as error:
            return Sent("", str(error), "later")
        except (HostError, UsageError) as error:
            return Sent("", str(error), "refused")
        try:
            path = f"/slurm/{version}/job/submit"
            answer = self._read(await self._ask("POST", path, document=said), Errors)
        except Unreachable as error:
            return Sent("", str(error), "later")
        except AnswerLost as error:
            return Sent("", str(error), "unknown")
        except HttpRefused as error:
            return Sent("", str(error), _of_status(error.status))
        except HostError as error:
            return Sent("", str(error), "refused")
        if number := answer.number:
            return Sent(number, answer.said)
        if (refused := await self._refused(answer)) is not None:
            return Sent("", str(refused), "refused")
        # Without a number and without an error it has said nothing.
        return Sent("", answer.said, answer.refusal if answer.said else "unknown")

    async def queue(self, ids: Sequence[str] = ()) -> dict[str, Fact]:
        """Ask for all jobs, of all users, or one by one where that is less; see `Scheduler`."""
        numbers = {number.partition("_")[0] for number in ids}
        can_part = bool(numbers) and "" not in numbers
        if can_part and self.sizes.is_better_parted(len(numbers), self._listed_bytes):
            return await self._one_by_one(sorted(numbers))
        version = await self.version()
        try:
            answer = await self._ask("GET", f"/slurm/{version}/jobs")
        except HttpRefused as error:
            # An answer that nobody refused is too long to be read.
            if not can_part or error.status != 200:
                raise
            self._listed_bytes = self.sizes.most_bytes
            return await self._one_by_one(sorted(numbers))
        self._listed_bytes = len(answer.body)
        listed = self._read(answer, Listed)
        if listed.troubles or listed.jobs is None:
            raise await self._failure(listed, "its answer has no list of jobs")
        return facts_of_queue(listed.jobs, self._user)

    async def _one_by_one(self, numbers: Sequence[str]) -> dict[str, Fact]:
        """Ask for jobs, and for arrays as a whole, by their numbers."""
        jobs: list[Queued] = []
        version = await self.version()

        async def ask(number: str) -> None:
            found = await self._get(f"/slurm/{version}/job/{number}", Listed)
            if found.knows_no_such_job:
                return
            if found.troubles or found.jobs is None:
                raise await self._failure(found, "its answer has no job")
            jobs.extend(found.jobs)

        await _for_each(numbers, ask, "ask for")
        return facts_of_queue(jobs, self._user)

    async def accounts(self, ids: Sequence[str], names: Sequence[str]) -> Accounts:
        """Ask for jobs by their numbers or names; see `Scheduler`."""
        facts: dict[str, Fact] = {}
        version = await self.version()
        if not self._has_accounts:
            return Accounts(facts, answered=False, kept=False)
        since = {"start_time": "now-60days", "skip_steps": "true"}
        asked: list[Query] = [{"job_name": ",".join(chunk)} for chunk in chunks(names, _ASKED)]
        # Newer versions take one number, but that several times.
        join = ",".join if is_plain(version) else list
        asked += [{"step": join(chunk)} for chunk in chunks(ids, _ASKED)]
        for query in asked:
            found = await self._get(f"/slurmdb/{version}/jobs", Accounted, {**since, **query})
            if found.troubles:
                kept = "ccounting storage is disabled" not in found.said
                return Accounts(facts, answered=False, kept=kept)
            facts |= facts_of_accounts(found.jobs or (), self._user)
        return Accounts(facts, answered=True)

    async def end(self, ids: Sequence[str]) -> None:
        """Delete jobs; see `Scheduler`."""
        await self._delete(ids, {})

    async def tell_to_end(self, ids: Sequence[str]) -> None:
        """Send their scripts a signal; see `Scheduler`.

        Older versions can only send it to all of a job: that is TERM, which the wrapper answers as
        its folder says; components of one job are left to its script, since it is for one of them.
        """
        if is_plain(await self.version()):
            await self._delete([one for one in ids if whole(one) == one], {"signal": "TERM"})
        else:
            numbers = list(dict.fromkeys(map(whole, ids)))
            await self._delete(numbers, {"signal": "USR2", "flags": "BATCH_JOB"})

    async def _delete(self, ids: Sequence[str], query: dict[str, str]) -> None:
        wanted = [number for number in ids if number]
        version = await self.version() if wanted else ""

        async def delete(number: str) -> None:
            path = f"/slurm/{version}/job/{number}"
            answer = self._read(await self._ask("DELETE", path, query=query), Errors)
            # Of jobs that have ended it complains as well.
            if answer.is_vague or (answer.said and answer.refusal in {"later", "unknown"}):
                raise await self._failure(answer, "")

        await _for_each(wanted, delete, "end")

    async def largest_array(self) -> int:
        """Return what is usual; see `Scheduler`. Where that is too many, fewer are handed over."""
        return _ARRAY

    async def partitions(self) -> list[Partition]:
        """Ask for the partitions and the machines; see `Scheduler`."""
        version = await self.version()
        where = await self._get(f"/slurm/{version}/partitions", Nodes)
        found = await self._get(f"/slurm/{version}/nodes", Nodes)
        for one, has in ((where, where.partitions), (found, found.nodes)):
            if one.troubles or has is None:
                raise await self._failure(one, "its answer has no machines")
        return kinds_of_nodes(where.partitions or (), found.nodes or ())

    async def close(self) -> None:
        """Close the connections; see `Scheduler`."""
        await self._http.__aexit__(None, None, None)

    async def version(self) -> str:
        """Return the version that is spoken, chosen once, and again where the server has changed.

        Raises:
            ApiUnknown: The server offers none that is known.
            HostError: It does not answer.
        """
        async with self._choosing:
            if not self._version:
                described = await self._ask("GET", "/openapi/v3")
                if described.status != 200:
                    raise HttpRefused(self.name, f"HTTP {described.status}", described.status)
                versions, accounts = offered(self._read(described, Paths).paths)
                chosen = choose(versions)
                if chosen is None:
                    reason = "no version of its interface is known"
                    raise ApiUnknown(self.name, reason, tuple(versions), KNOWN)
                self._version, self._has_accounts = chosen, chosen in accounts
            return self._version

    async def _environment(self, withheld: Sequence[str]) -> dict[str, str]:
        _, output = await self._tunnel.call(environment_script(withheld))
        found: dict[str, str] = {}
        for line in output.split(b"\0"):
            name, equals, value = line.partition(b"=")
            # JSON holds text alone.
            with suppress(UnicodeDecodeError):
                if equals and name:
                    found[name.decode()] = value.decode()
        return found

    async def _get(self, path: str, shape: type[E], query: Query | None = None) -> E:
        return self._read(await self._ask("GET", path, query=query), shape)

    def _read(self, answer: Answer, shape: type[T]) -> T:
        is_own = answer.body[:1] == b"{"
        if answer.status == 404 and not is_own:
            # Another version of the server than the one that was asked which it speaks.
            self._version = ""
        if answer.status in _NO_ENTRY:
            said = answer.read(Errors).said if is_own else answer.reason
            raise self._no_entry(said or f"HTTP {answer.status}")
        if not is_own:
            raise HttpRefused(answer.url, answer.reason, answer.status)
        return answer.read(shape)

    async def _ask(
        self, method: str, path: str, *, query: Query | None = None, document: Any = None
    ) -> Answer:
        headers = {}
        if self._token is not None:
            try:
                token = await anyio.to_thread.run_sync(self._token.value)
            except SecretMissing as error:
                raise TokenRefused(self.name, error.reason, self._token.reference) from error
            if not token.isascii() or not token.isprintable():
                raise self._no_entry("it holds other characters than a token has")
            ends = expires_s(token)
            if ends is not None and ends < time.time():
                raise self._no_entry(f"it has expired {time.time() - ends:.0f} s ago")
            headers = {"x-slurm-user-name": self._user, "x-slurm-user-token": token.strip()}
        return await self._http.ask(
            method, path, query=query, document=document, headers=headers, accept=_ANSWERS
        )

    def _no_entry(self, reason: str) -> HostError:
        if self._token is None:
            return RemoteFailed(self.name, f"{reason}; it may want a token")
        return TokenRefused(self.name, reason, self._token.reference)

    async def _failure(self, answer: Errors, otherwise: str) -> HostError:
        refused = await self._refused(answer)
        return refused or RemoteFailed(self.name, answer.said or otherwise)

    async def _refused(self, answer: Errors) -> HostError | None:
        """Return that the token is refused, if it is."""
        if answer.is_of_token:
            return self._no_entry(answer.said)
        if self._token is None or not answer.may_be_of_token or not self._has_accounts:
            return None
        with suppress(HostError):
            path = f"/slurmdb/{self._version}/jobs"
            asked = await self._get(path, Accounted, {"step": "1", "skip_steps": "true"})
            if asked.is_of_token:
                return self._no_entry(asked.said)
        return None


async def _for_each(
    numbers: Sequence[str], call: Callable[[str], Awaitable[None]], doing: str
) -> None:
    """Call the server for jobs, a few at a time; those of a time that succeed are not undone.

    Raises:
        HostError: A call has failed: no further ones were begun.
    """
    failures: list[HostError] = []

    async def call_one(number: str) -> None:
        try:
            await call(number)
        except HostError as error:
            failures.append(error)

    for some in chunks(numbers, _AT_A_TIME):
        async with anyio.create_task_group() as calls:
            for number in some:
                calls.start_soon(call_one, number, name=f"{doing} job {number}")
        if failures:
            raise failures[0]


def _own_name() -> str:
    """Return the name of this user, whatever the environment says; empty if it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _of_status(status: int) -> Refusal:
    """Return what an answer means for a job that is not one of slurmrestd about it."""
    if status in {429, 503}:
        return "later"
    if status == 404:
        # It has another version now: the next try asks which.
        return "later"
    # Something between has given up, or the answer was cut: the job may have been made.
    return "refused" if status in {400, 405, 406, 415} else "unknown"
