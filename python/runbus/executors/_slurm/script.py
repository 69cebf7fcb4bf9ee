"""The batch script of an attempt: what Slurm keeps of it, and what its first machine runs."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from runbus.abc import GRACE_S, UNMET
from runbus.attempt import MEETING_PORTS, rendezvous
from runbus.errors import UsageError
from runbus.executors._shell import quote
from runbus.executors._slurm.numbers import spans
from runbus.executors._slurm.options import components, directives, taken_over

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runbus.abc import After, JobSpec
    from runbus.executors._slurm.options import SlurmOptions
    from runbus.executors._slurm.resources import SlurmResources

__all__ = [
    "DEPENDENCY",
    "KEPT",
    "SECRETS",
    "SHEBANG",
    "Batch",
    "array_name",
    "asked_of",
    "batch_script",
    "beside",
    "job_name",
    "meeting",
    "of_component",
    "own_script",
    "waiting",
]

SHEBANG = b"#!/bin/bash\n"

SECRETS = "secrets"
"""The file in an attempt's folder that its script reads first, and removes."""

KEPT = "kept"
"""What they are called in the first folder of a job that Slurm may begin anew: they stay there."""

DEPENDENCY = "dependency"
"""The option that holds a job back. What others are called is known once it is handed over."""

_MARGIN_S = 60
"""How much later than the wrapper's own limit Slurm's comes, so that the wrapper can tell of it."""

_OWN = {"job-name", "output", "chdir", "no-requeue", "array", DEPENDENCY, "comment", "signal"}
"""Options of which no cluster refuses what is given here, or that say nothing of what it gives."""

_SAFE = re.compile(r"[A-Za-z0-9_.,:/@%+=^*\[\]-]+", re.ASCII)


class Batch(NamedTuple):
    """What Slurm gets for an attempt, or for an array of them.

    Attributes:
        components: Options of `sbatch` with their values, for each component of a heterogeneous
            job, and of any other for the only one; a value that is empty belongs to an option that
            has none.
        script: What is run: the lines after the first one and the options.
    """

    components: Sequence[Sequence[tuple[str, str]]]
    script: bytes

    def with_option(self, name: str, value: str) -> Batch:
        """Return the same with another value of an option that its first component has."""
        first, *others = self.components
        changed = [(key, value if key == name else old) for key, old in first]
        return self._replace(components=[changed, *others])

    @property
    def asks(self) -> str:
        """What Slurm may refuse of it, in words: `partition=short, time=90`."""
        return " and ".join(
            ", ".join(
                f"{key}{'=' if value else ''}{value}" for key, value in one if key not in _OWN
            )
            for one in self.components
        )

    @property
    def text(self) -> bytes:
        """The whole of it, as sbatch reads it."""
        lines = "#SBATCH hetjob\n".join(
            "".join(f"#SBATCH --{key}{'=' if value else ''}{_word(value)}\n" for key, value in one)
            for one in self.components
        )
        return b"%s%s\n%s" % (SHEBANG, lines.encode("utf-8", "surrogateescape"), self.script)


def job_name(job: JobSpec, folder: str) -> str:
    """Return what Slurm calls an attempt: readable, and of no other attempt of this user.

    Args:
        job: The job.
        folder: The attempt's folder on the cluster: what makes it this one.
    """
    name = job.name if job.copy is None else job.copy.of
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:20].rstrip("-") or "job"
    digest = hashlib.sha256(folder.encode("utf-8", "surrogateescape")).digest()
    return f"{slug}-{base64.b32encode(digest)[:12].decode().lower()}"


def array_name(names: Sequence[str]) -> str:
    """Return what Slurm calls an array of attempts: the same for the same ones.

    Args:
        names: What each of them is called as a job of its own.
    """
    slug = names[0].rpartition("-")[0]
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return f"{slug}-{base64.b32encode(digest)[:12].decode().lower()}"


def batch_script(
    options: SlurmOptions, job: JobSpec, name: str, folders: str | Mapping[int, str], run: bytes
) -> Batch:
    """Return what Slurm gets.

    It claims nothing itself. The wrapper does: of two jobs for one attempt one does nothing.

    Args:
        options: What is asked of Slurm.
        job: The job.
        name: What Slurm calls it.
        folders: The attempt's folder on the cluster; of an array that of each element by its index.
        run: The words that run the wrapper.

    Raises:
        UsageError: The options and what the job asks for contradict each other.
    """
    requeue = "requeue" if options.requeue else "no-requeue"
    head = [("job-name", name), ("output", "/dev/null"), ("chdir", "/"), (requeue, "")]
    if not isinstance(folders, str):
        head.append(("array", _array(options, folders)))
    if job.after:
        head.append((DEPENDENCY, "afterany"))
    first, *others = machines = components(options)
    asked = [[*head, *asked_of(options, first, job)]]
    if options.signal is not None:
        asked[0].append(("signal", f"B:{options.signal}"))
    asked += [[*of_component(name), *asked_of(options, one, job)] for one in others]
    for number, (one, after) in enumerate(pairwise(asked), start=1):
        if missing := taken_over(one, after):
            raise UsageError(
                f"component {number + 1} of 'resource_group' would get the {missing[0]!r} of "
                f"component {number}: say it for both, or only for later ones"
            )
    script = own_script(options, job, run, _folder(folders), meeting(len(machines)))
    return Batch(asked, script)


def of_component(name: str) -> list[tuple[str, str]]:
    """Return the options that a component has besides those that are asked for."""
    return [("job-name", name), ("chdir", "/"), ("no-requeue", "")]


def own_script(
    options: SlurmOptions, job: JobSpec, run: bytes, folder: bytes, meet: bytes
) -> bytes:
    """Return what runs the wrapper on the first machine of a job.

    Args:
        options: What is asked of Slurm.
        job: The job.
        run: The words that run the wrapper.
        folder: The lines that set the attempt's folder.
        meet: The lines that say where its ranks meet.
    """
    has_gpus = job.resources.gpus or components(options)[0].has_gpus
    setup = "".join(f"{{ {line}\n}} || exit\n" for line in options.setup_lines)
    return _SCRIPT % {
        b"setup": setup.encode("utf-8", "surrogateescape"),
        b"gpus": _GPUS_SEEN if has_gpus else b"",
        b"folder": folder,
        b"after": waiting(job),
        b"run": run,
        b"anew": _ANEW if options.requeue else b"",
        b"secrets": _SECRETS_KEPT if options.requeue else _SECRETS_ONCE,
        b"over": _OVER if options.requeue else b"",
        b"meet": meet,
        b"warn": _warning(options.signal),
    }


def _array(options: SlurmOptions, indices: Iterable[int]) -> str:
    """Return which elements there are, and how many of them run at a time."""
    found = tuple(indices)
    if (asked := options.elements) is None:
        return spans(found)
    if asked.indices == found:
        return str(options.array)
    limit = asked.at_a_time
    return spans(found) if limit is None or limit >= len(found) else f"{spans(found)}%{limit}"


def _folder(folders: str | Mapping[int, str]) -> bytes:
    """Return the lines that set the attempt's folder."""
    if isinstance(folders, str):
        return b"rb_folder=%s" % quote(folders)
    # Slurm sends the script to the machine of each element: what is the same is in it once.
    above = os.path.commonpath([os.path.dirname(folder) for folder in folders.values()])
    lines = b"".join(
        b"[%d]=%s\n" % (index, quote(os.path.relpath(folder, above)))
        for index, folder in folders.items()
    )
    choose = b"rb_folder=%s/${rb_folders[SLURM_ARRAY_TASK_ID]:?}" % quote(above)
    return b"rb_folders=(\n%s)\n%s\nunset rb_folders" % (lines, choose)


def beside(one: After) -> str:
    """Return where the folder of another attempt lies, seen from that of one of its experiment."""
    parent, attempt = os.path.split(one.folder)
    return f"../../{os.path.basename(parent)}/{attempt}"


def waiting(job: JobSpec) -> bytes:
    """Return the lines that let a job begin only after such ends as it needs."""
    if not job.after:
        return b""
    asks = [b"rb_may %s %s" % (one.when.encode(), quote(beside(one))) for one in job.after]
    record = (
        f'{{"status":{UNMET_STATUS},"signal":null,"reason":"{UNMET}","uptime":0,"user":"0m0s",'
        '"sys":"0m0s","outlived":false}'
    )
    return _AFTER % {
        b"asks": b" &&\n    ".join(asks),
        b"unmet": UNMET.encode(),
        b"record": quote(record),
        b"secrets": SECRETS.encode(),
        b"status": UNMET_STATUS,
    }


def asked_of(
    options: SlurmOptions, machines: SlurmResources, job: JobSpec
) -> list[tuple[str, str]]:
    """Return the options of a component, as the job and its executor ask for them."""
    own = dict(_of_job(options, machines, job))
    asked = directives(options, machines)
    return [one for one in asked if one[0] not in own] + [*own.items()]


def _of_job(options: SlurmOptions, machines: SlurmResources, job: JobSpec) -> list[tuple[str, str]]:
    """Return what the job asks for by itself."""
    found = []
    if count := job.resources.gpus:
        others = [name for name in ("gpus", "gpus_per_task") if getattr(machines, name) is not None]
        if "gpu" in (machines.gres or ""):
            others.append("gres")
        if options.resource_group:
            others.append("resource_group")
        if others:
            raise UsageError(
                f"job {job.name!r} asks for {count} GPUs, and the option {others[0]!r} of its "
                "executor for others: say it in one of the two places"
            )
        kind, colon, _ = str(machines.gpus_per_node or "").rpartition(":")
        found.append(("gpus-per-node", f"{kind}{colon}{count}"))
    if job.timeouts.run_s is not None and machines.time is None:
        # Slurm counts in minutes.
        minutes = math.ceil((job.timeouts.run_s + GRACE_S + _MARGIN_S) / 60)
        found.append(("time", str(minutes)))
    return found


def _word(value: str) -> str:
    """Return a value as sbatch reads it in a line of a script."""
    if not value or _SAFE.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def meeting(count: int, number: str = "SLURM_JOB_ID") -> bytes:
    """Return the lines that say where the ranks of the job meet.

    Args:
        count: Over how many components.
        number: Its number, as bash reckons it: no other job on its machines has the same.
    """
    groups = [f"_HET_GROUP_{number}" for number in range(count)] if count > 1 else [""]
    nodes = ",".join(f"${{SLURM_JOB_NODELIST{group}-}}" for group in groups)
    counts = " + ".join(f"SLURM_JOB_NUM_NODES{group}" for group in groups)
    variables = rendezvous(
        nnodes="${SLURM_JOB_NUM_NODES:-1}" if count == 1 else f"$(({counts}))",
        node_rank="${SLURM_NODEID:-0}",
        ips="${rb_nodes%,}",
        port=f"$(({MEETING_PORTS.start} + {number} % {len(MEETING_PORTS)}))",
        gpus="${SLURM_GPUS_ON_NODE:-0}",
    )
    lines = "".join(f"export {name}={value}\n" for name, value in variables.items())
    return (b"" if count == 1 else _NO_MEMORY) + _NODES % nodes.encode() + lines.encode()


def _warning(signal: str | None) -> bytes:
    """Return the lines that pass on the signal which announces the end of the job's time."""
    if signal is None:
        return b""
    name = signal.partition("@")[0].removeprefix("SIG")
    word = shlex.quote(name).encode()
    return b"export RUNBUS_NOTICE_SIGNAL=%s\ntrap 'rb_pass %s' %s\n" % (word, name.encode(), word)


# What srun is told so of the first component contradicts what it is told of another one.
_NO_MEMORY = b"unset ${!SLURM_MEM_PER_@}\n"

_NODES = b"""rb_nodes=$(scontrol show hostnames "%s" | tr '\\n' ,)
"""

UNMET_STATUS = 78
"""What the script of a job exits with that is not to begin."""

# That the others have left Slurm's queue says neither how they ended nor that they did: Slurm soon
# forgets jobs, and takes those for ended that it does not know. What they left may take a while to
# be seen on another machine. Where it leaves room for doubt the job does not begin, and says so.
_AFTER = b"""rb_may() {
    rb_end=
    for rb_try in 1 2 3 4 5 6 7 8 9 10; do
        { read -r rb_end <"$2/exit.json"; } 2>/dev/null
        [ -z "$rb_end" ] && [ ! -e cancel ] || break
        sleep 1
    done
    case $1$rb_end in
    *'"reason":"%(unmet)s"'*) return 1 ;;
    afterok'{"status":0,"signal":null,"reason":"",'*) ;;
    afternotok'{"status":0,'*) return 1 ;;
    afternotok'{'* | afterany'{'*) ;;
    *) return 1 ;;
    esac
}
%(asks)s || [ -e cancel ] || {
    rm -f %(secrets)s
    if [ -g . ]; then umask 007; else umask 077; fi
    set -C
    printf '%%-511s\\n' %(record)s >exit.json || exit 75
    exit %(status)d
}
"""

# A node whose driver has failed still takes jobs, which would fail one after the other, late.
_GPUS_SEEN = b"""if [ -z "${CUDA_VISIBLE_DEVICES-}${ROCR_VISIBLE_DEVICES-}${SLURM_JOB_GPUS-}" ] ||
    { command -v nvidia-smi >/dev/null && ! timeout 60 nvidia-smi -L >/dev/null; }
then echo "no GPU is seen on ${SLURMD_NODENAME-}"; exit 76; fi
"""

_SECRETS_ONCE = b"if [ -f %(file)s ]; then . ./%(file)s && rm -f %(file)s || exit 74; fi" % {
    b"file": SECRETS.encode()
}

# Slurm begins this script anew, on another machine perhaps, where it was preempted, has lost its
# machine or was put back by somebody. Each start is an attempt in a folder of its own: the next
# number, made whole before it appears. One that has ended by itself is not begun anew, nor one that
# was to end. Who came first owns the folder, and goes on to those after it: another job of Slurm
# for the same attempt does nothing, however often it is begun.
_ANEW = b"""rb_first=$rb_folder
rb_id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
rb_id=${rb_id:-$SLURM_JOB_ID}
rb_goes_on() {
    rb_end=
    read -r rb_end <exit.json
    case $rb_end in
    '{'*'"signal":15,"reason":"",'* | '{'*'"signal":9,"reason":"",'*) ;;
    '{'*'"reason":"its wrapper was told to end'*) ;;
    '{'*) return 1 ;;
    esac
    [ ! -e cancel ]
}
rb_make() (
    if [ -g . ]; then umask 007; else umask 077; fi
    rm -rf "$1.new" && mkdir "$1.new" || exit
    for rb_file in request request.sh limit; do
        [ ! -e "$rb_file" ] || cp "$rb_file" "$1.new/" || exit
    done
    echo "$rb_id" >"$1.new/owner" && cp "$1.new/owner" "$1.new/slurm.id" && mv -T "$1.new" "$1"
)
(umask 077; set -C; echo "$rb_id" >owner) 2>/dev/null
while
    rb_owner=
    read -r rb_owner <owner
    [ "$rb_owner" = "$rb_id" ] || exit 75
    [ -e exit.json ]
do
    rb_goes_on || exit 75
    rb_folder=${rb_folder%/*}/$((${rb_folder##*/} + 1))
    [ -d "$rb_folder" ] || rb_make "$rb_folder" || exit 77
    cd "$rb_folder" || exit 73
done
"""

_SECRETS_KEPT = b"""[ ! -f %(file)s ] || mv -f %(file)s %(kept)s || exit 74
[ ! -f "$rb_first/%(kept)s" ] || . "$rb_first/%(kept)s" || exit 74""" % {
    b"file": SECRETS.encode(),
    b"kept": KEPT.encode(),
}

_OVER = b"""rb_goes_on || rm -f "$rb_first/%s"
""" % KEPT.encode()

# bash, since its background children do not ignore INT and QUIT once it controls jobs; it waits for
# the wrapper in the background, so that a signal is acted on at once. TERM, which Slurm sends to
# all processes of a job that it ends, is the job's to answer: this shell and the wrapper outlast
# it, and the wrapper writes down how the job ended. USR2 asks for the job's end, as TERM does where
# the signal cannot go to this shell alone: until there is a wrapper it is enough that the shell
# outlasts it, since the wrapper finds the file `cancel`.
_SCRIPT = b"""trap : TERM USR2
%(folder)s
cd "$rb_folder" || exit 73
%(anew)sexec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
%(after)s%(secrets)s
%(setup)s%(gpus)s%(meet)srb_ns=$(readlink /proc/self/ns/pid)
rb_end() {
    read -r rb_grace <grace || rb_grace=30
    %(run)s cancel "$rb_folder" "$rb_grace" "$rb_ns" &
}
rb_pass() {
    read -r rb_pid <pid.json || return
    rb_pid=${rb_pid#*\\"pid\\":}
    kill -s "$1" -- "-${rb_pid%%%%,*}"
}
trap rb_end USR2
%(warn)sset -m
%(run)s run "$rb_folder" "$rb_ns" &
rb_wrapper=$!
while kill -0 "$rb_wrapper" 2>/dev/null; do wait "$rb_wrapper"; rb_status=$?; done
read -r rb_exit <exit.json
rb_exit=${rb_exit#*\\"status\\":}
rb_exit=${rb_exit%%%%[!0-9]*}
%(over)sexit "${rb_exit:-$rb_status}"
"""
