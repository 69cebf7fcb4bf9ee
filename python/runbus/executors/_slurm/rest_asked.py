"""What slurmrestd is asked, in the form of each version of its interface. No input, no output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from runbus.errors import FieldInvalid, UsageError
from runbus.executors._slurm.script import SHEBANG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runbus.executors._slurm.script import Batch

__all__ = [
    "KNOWN",
    "Address",
    "ListSizes",
    "choose",
    "document",
    "is_plain",
    "offered",
]

KNOWN = ("v0.0.43", "v0.0.42", "v0.0.41", "v0.0.40", "v0.0.38", "v0.0.37")
"""The versions that are spoken, the newest first."""

_PLAIN = ("v0.0.38", "v0.0.37")

_WITHOUT_SET = ("v0.0.42", "v0.0.41", "v0.0.40")
"""Those in which a number may not say whether it is set, where newer ones want that."""


class Address(NamedTuple):
    """Where slurmrestd listens.

    Attributes:
        url: Where its paths begin.
        socket: The unix socket; empty if it is reached over the network.
        user: Who its user is there; empty if that is not said.
    """

    url: str
    socket: str = ""
    user: str = ""

    @classmethod
    def of(cls, text: str) -> Address:
        """Read `unix:///PATH` or `http[s]://[USER@]HOST[:PORT][/PATH]`.

        Raises:
            FieldInvalid: It is neither. A password in it is not repeated.
        """
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError:
            raise _invalid("it is not an address") from None
        if parts.password is not None:
            raise _invalid("it holds a password", "give the token, by reference")
        if parts.query or parts.fragment:
            raise _invalid("it has parameters")
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.hostname:
            return cls("http://localhost", parts.path, parts.username or "")
        if parts.scheme in {"http", "https"} and parts.hostname:
            place = parts.netloc.rpartition("@")[2]
            url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
            return cls(url, "", parts.username or "")
        raise _invalid("it is not unix:///PATH or http://HOST:PORT")


def _invalid(reason: str, advice: str | None = None) -> FieldInvalid:
    return FieldInvalid("rest", "the address", reason, advice)


def offered(paths: Iterable[str]) -> tuple[list[str], set[str]]:
    """Return the versions of which a server's paths are, the newest first.

    Returns:
        Those in which the controller can be asked, and those of them in which the accounts can.
    """
    found: dict[str, set[str]] = {"slurm": set(), "slurmdb": set()}
    for path in paths:
        match = _VERSIONED.match(path)
        if match is not None:
            found[match[1]].add(match[2])
    newest = sorted(found["slurm"], key=lambda one: [int(n) for n in one[1:].split(".")])
    return newest[::-1], found["slurmdb"]


_VERSIONED = re.compile(r"/(slurm|slurmdb)/(v\d{1,4}\.\d{1,4}\.\d{1,4})/", re.ASCII)


def choose(versions: Iterable[str]) -> str | None:
    """Return the newest version that both sides speak; None if there is none."""
    there = set(versions)
    return next((one for one in KNOWN if one in there), None)


class ListSizes(NamedTuple):
    """When jobs are asked for one by one, rather than those of all users at once.

    Attributes:
        long_bytes: The longest list of all that costs too little to be thought about.
        one_bytes: What a question of its own costs, as a part of such a list.
        most_bytes: The longest list that is read.
    """

    long_bytes: int = 8 << 20
    one_bytes: int = 64 << 10
    most_bytes: int = 64 << 20

    def is_better_parted(self, count: int, listed_bytes: int) -> bool:
        """Whether so many jobs are asked for one by one.

        Args:
            count: How many there are, an array being one.
            listed_bytes: How long the answer about all of them was the last time.
        """
        return listed_bytes > self.long_bytes and count * self.one_bytes < listed_bytes


def is_plain(version: str) -> bool:
    """Whether a version takes options as sbatch does, and answers with plain numbers."""
    return version in _PLAIN


def document(
    batch: Batch, environment: Mapping[str, str], umask: str, version: str
) -> dict[str, Any]:
    """Return what is sent for an attempt, or for an array of them.

    Args:
        batch: What Slurm gets.
        environment: The variables that the job finds.
        umask: The user's own.
        version: In which version it is said.

    Raises:
        UsageError: This version does not have one of the options, or not in that form.
    """
    script = (SHEBANG + batch.script).decode("utf-8", "replace")
    variables = {**environment, **_variables(batch.components), "SLURM_UMASK": f"0{umask}"}
    jobs = [_described(options, version) for options in batch.components]
    named: object = variables
    if not is_plain(version):
        named = [f"{name}={value}" for name, value in variables.items()]
        jobs[0]["script"] = script
    for job in jobs:
        job["environment"] = named
    whole = {"job": jobs[0]} if len(jobs) == 1 else {"jobs": jobs}
    return {**whole, "script": script} if is_plain(version) else whole


def _described(options: Sequence[tuple[str, str]], version: str) -> dict[str, Any]:
    """Return what is said of one component.

    Raises:
        UsageError: This version does not have one of the options, or not in that form.
    """
    job: dict[str, Any] = {}
    table = _PLAIN_WORDS if is_plain(version) else _WORDS
    if version in _WITHOUT_SET:
        table = {**table, "segment": _count("segment_size")}
    for option, value in options:
        if (say := table.get(option)) is None:
            raise UsageError(f"slurmrestd has no option {option!r} in its version {version}")
        try:
            said = say(value)
        except ValueError as error:
            raise UsageError(f"slurmrestd does not read {option}={value}: {error}") from error
        for key, one in said.items():
            # GPUs of a kind and other resources of a machine share a word.
            job[key] = f"{job[key]},{one}" if key in job and key.startswith("tres_") else one
    return job


def _variables(components: Sequence[Sequence[tuple[str, str]]]) -> dict[str, str]:
    """Return what sbatch itself adds to the environment, for the srun in a job."""
    found = {}
    for number, options in enumerate(components):
        suffix = f"_HET_GROUP_{number}" if len(components) > 1 else ""
        for key, value in options:
            if value and key in _SBATCH_SETS:
                found[f"{_SBATCH_SETS[key]}{suffix}"] = value
    return found


_SBATCH_SETS = {
    "ntasks": "SLURM_NTASKS",
    "ntasks-per-node": "SLURM_NTASKS_PER_NODE",
    "cpus-per-task": "SLURM_CPUS_PER_TASK",
    "cpus-per-gpu": "SLURM_CPUS_PER_GPU",
    "gpus": "SLURM_GPUS",
    "gpus-per-node": "SLURM_GPUS_PER_NODE",
    "gpus-per-task": "SLURM_GPUS_PER_TASK",
}

Say = "Callable[[str], dict[str, Any]]"


def _text(key: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {key: value}


def _fixed(key: str, said: object) -> Callable[[str], dict[str, Any]]:
    return lambda _: {key: said}


def _count(key: str) -> Callable[[str], dict[str, Any]]:
    def say(value: str) -> dict[str, Any]:
        return {key: _number(value)}

    return say


def _set(key: str, read: Callable[[str], int]) -> Callable[[str], dict[str, Any]]:
    return lambda value: {key: {"set": True, "infinite": False, "number": read(value)}}


def _list(key: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {key: value.split(",")}


def _gpus(key: str) -> Callable[[str], dict[str, Any]]:
    return lambda value: {key: f"gres/gpu:{value}"}


def _gres(value: str) -> dict[str, Any]:
    return {"tres_per_node": ",".join(f"gres/{one}" for one in value.split(","))}


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValueError("it is not a number")
    return int(value)


def _minutes(value: str) -> int:
    """Return a time as Slurm writes it in minutes, the next whole one."""
    days, dash, rest = value.rpartition("-")
    parts = [_number(part) for part in rest.split(":")]
    if dash:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return 1440 * _number(days) + 60 * hours + minutes + (seconds > 0)
    if len(parts) == 3:
        return 60 * parts[0] + parts[1] + (parts[2] > 0)
    return parts[0] + (len(parts) == 2 and parts[1] > 0)


def _time_limit(value: str) -> dict[str, Any]:
    if value.upper() in {"UNLIMITED", "INFINITE"}:
        return {"time_limit": {"set": False, "infinite": True, "number": 0}}
    return _set("time_limit", _minutes)(value)


_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1 << 20}


def _mebibytes(value: str) -> int:
    text = value.upper().removesuffix("B")
    unit = text[-1:] if text[-1:] in _UNITS else ""
    return -int(-_number(text.removesuffix(unit)) * _UNITS[unit or "M"] // 1)


def _memory_per_gpu(value: str) -> dict[str, Any]:
    return {"memory_per_tres": f"gres/gpu:{_mebibytes(value)}"}


def _plain_memory_per_gpu(value: str) -> dict[str, Any]:
    return {"memory_per_gpu": str(_mebibytes(value))}


def _signal(value: str) -> dict[str, Any]:
    """Say which signal the script gets before the end of its time."""
    to, colon, rest = value.rpartition(":")
    name, at, before = rest.partition("@")
    said: dict[str, Any] = {"kill_warning_signal": name}
    if at:
        said["kill_warning_delay"] = {"set": True, "infinite": False, "number": _number(before)}
    if colon:
        if to.upper() != "B":
            raise ValueError("the signal goes to the script: B:")
        said["kill_warning_flags"] = ["BATCH_JOB"]
    return said


def _exclusive(value: str) -> dict[str, Any]:
    return {"shared": [value or "none"]}


# Those whose values are text in both, under the same name.
_BOTH = {
    "account": "account",
    "array": "array",
    "bb": "burst_buffer",
    "chdir": "current_working_directory",
    "cluster-constraint": "cluster_constraint",
    "comment": "comment",
    "constraint": "constraints",
    "container": "container",
    "dependency": "dependency",
    "job-name": "name",
    "licenses": "licenses",
    "mail-user": "mail_user",
    "mcs-label": "mcs_label",
    "output": "standard_output",
    "partition": "partition",
    "prefer": "prefer",
    "qos": "qos",
    "reservation": "reservation",
    "wckey": "wckey",
    "nodes": "nodes",
    "distribution": "distribution",
    "begin": "begin_time",
}

_PLAIN_WORDS: dict[str, Callable[[str], dict[str, Any]]] = {
    **{option: _text(key) for option, key in _BOTH.items()},
    "acctg-freq": _text("account_gather_freqency"),
    "cpus-per-gpu": _text("cpus_per_gpu"),
    "cpus-per-task": _text("cpus_per_task"),
    "cpu-freq": _text("cpu_frequency"),
    "deadline": _text("deadline"),
    "exclude": _text("exclude_nodes"),
    "exclusive": lambda value: {"exclusive": value or "exclusive"},
    "gpu-bind": _text("gpu_binding"),
    "gpu-freq": _text("gpu_frequency"),
    "gpus": _text("gpus"),
    "gpus-per-node": _text("gpus_per_node"),
    "gpus-per-task": _text("gpus_per_task"),
    "gres": _text("gres"),
    "gres-flags": _text("gres_flags"),
    "hold": _fixed("hold", True),
    "kill-on-invalid-dep": _text("kill_on_invalid_dependency"),
    "mail-type": _text("mail_type"),
    "mem": _text("memory_per_node"),
    "mem-per-cpu": _text("memory_per_cpu"),
    "mem-per-gpu": _plain_memory_per_gpu,
    "mincpus": _text("minimum_cpus_per_node"),
    "nice": _text("nice"),
    "no-requeue": _fixed("no_requeue", True),
    "requeue": _fixed("requeue", True),
    "nodelist": _text("nodelist"),
    "ntasks": _text("tasks"),
    "ntasks-per-core": _text("tasks_per_core"),
    "ntasks-per-node": _text("tasks_per_node"),
    "ntasks-per-socket": _text("tasks_per_socket"),
    "priority": _text("priority"),
    "profile": _text("profile"),
    "threads-per-core": _text("threads_per_core"),
    "time": _text("time_limit"),
    "tmp": _text("temporary_disk_per_node"),
}
"""How options of sbatch are said in versions that have its own reader for them."""

_WORDS: dict[str, Callable[[str], dict[str, Any]]] = {
    **{option: _text(key) for option, key in _BOTH.items()},
    "cpus-per-gpu": _gpus("cpus_per_tres"),
    "cpus-per-task": _count("cpus_per_task"),
    "exclude": _list("excluded_nodes"),
    "exclusive": _exclusive,
    "gpus": _gpus("tres_per_job"),
    "gpus-per-node": _gpus("tres_per_node"),
    "gpus-per-task": _gpus("tres_per_task"),
    "gres": _gres,
    "hold": _fixed("hold", True),
    "mem": _set("memory_per_node", _mebibytes),
    "mem-per-cpu": _set("memory_per_cpu", _mebibytes),
    "mem-per-gpu": _memory_per_gpu,
    "mail-type": _list("mail_type"),
    "mincpus": _count("minimum_cpus_per_node"),
    "network": _text("network"),
    "nice": _count("nice"),
    "no-requeue": _fixed("requeue", False),
    "requeue": _fixed("requeue", True),
    "nodelist": _list("required_nodes"),
    "ntasks": _count("tasks"),
    "ntasks-per-core": _count("tasks_per_core"),
    "ntasks-per-node": _count("tasks_per_node"),
    "ntasks-per-socket": _count("tasks_per_socket"),
    "priority": _set("priority", _number),
    "segment": _set("segment_size", _number),
    "signal": _signal,
    "threads-per-core": _count("threads_per_core"),
    "time": _time_limit,
    "tmp": _count("temporary_disk_per_node"),
}
"""How options of sbatch are said in versions that take what the controller itself takes."""
