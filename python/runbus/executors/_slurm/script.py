"""The batch script of an attempt: what Slurm keeps of it, and what its first machine runs."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from runbus.abc import GRACE_S
from runbus.attempt import MEETING_PORTS, rendezvous
from runbus.errors import UsageError
from runbus.executors._shell import quote
from runbus.executors._slurm.numbers import spans
from runbus.executors._slurm.options import directives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec
    from runbus.executors._slurm.options import SlurmOptions

__all__ = ["SECRETS", "SHEBANG", "Batch", "array_name", "batch_script", "job_name"]

SHEBANG = b"#!/bin/bash\n"

SECRETS = "secrets"
"""The file in an attempt's folder that its script reads first, and removes."""

_MARGIN_S = 60
"""How much later than the wrapper's own limit Slurm's comes, so that the wrapper can tell of it."""

_SAFE = re.compile(r"[A-Za-z0-9_.,:/@%+=^*\[\]-]+", re.ASCII)


class Batch(NamedTuple):
    """What Slurm gets for an attempt, or for an array of them.

    Attributes:
        options: Options of `sbatch` with their values; a value that is empty belongs to an option
            that has none.
        script: What is run: the lines after the first one and the options.
    """

    options: Sequence[tuple[str, str]]
    script: bytes

    def with_option(self, name: str, value: str) -> Batch:
        """Return the same with another value of an option that it has."""
        return self._replace(
            options=[(key, value if key == name else old) for key, old in self.options]
        )

    @property
    def text(self) -> bytes:
        """The whole of it, as sbatch reads it."""
        lines = "".join(
            f"#SBATCH --{key}{'=' if value else ''}{_word(value)}\n" for key, value in self.options
        )
        return b"%s%s\n%s" % (SHEBANG, lines.encode("utf-8", "surrogateescape"), self.script)


def job_name(job: JobSpec, folder: str) -> str:
    """Return what Slurm calls an attempt: readable, and of no other attempt of this user.

    Args:
        job: The job.
        folder: The attempt's folder on the cluster: what makes it this one.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", job.name.lower()).strip("-")[:20].rstrip("-") or "job"
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
    head = [("job-name", name), ("output", "/dev/null"), ("chdir", "/"), ("no-requeue", "")]
    if not isinstance(folders, str):
        head.append(("array", spans(folders)))
    own = dict(_of_job(options, job))
    head += [one for one in directives(options) if one[0] not in own] + [*own.items()]
    if options.signal is not None:
        head.append(("signal", f"B:{options.signal}"))
    setup = "".join(f"{{ {line}\n}} || exit\n" for line in options.setup_lines)
    script = _SCRIPT % {
        b"setup": setup.encode("utf-8", "surrogateescape"),
        b"gpus": _GPUS_SEEN if _asks_for_gpus(options, job) else b"",
        b"folder": _folder(folders),
        b"run": run,
        b"secrets": SECRETS.encode(),
        b"meet": _meeting(),
        b"warn": _warning(options.signal),
    }
    return Batch(head, script)


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


def _of_job(options: SlurmOptions, job: JobSpec) -> list[tuple[str, str]]:
    """Return what the job asks for by itself."""
    found = []
    if count := job.resources.gpus:
        others = [name for name in ("gpus", "gpus_per_task") if getattr(options, name) is not None]
        if "gpu" in (options.gres or ""):
            others.append("gres")
        if others:
            raise UsageError(
                f"job {job.name!r} asks for {count} GPUs, and the option {others[0]!r} of its "
                "executor for others: say it in one of the two places"
            )
        kind, colon, _ = str(options.gpus_per_node or "").rpartition(":")
        found.append(("gpus-per-node", f"{kind}{colon}{count}"))
    if job.timeouts.run_s is not None and options.time is None:
        # Slurm counts in minutes.
        minutes = math.ceil((job.timeouts.run_s + GRACE_S + _MARGIN_S) / 60)
        found.append(("time", str(minutes)))
    return found


def _asks_for_gpus(options: SlurmOptions, job: JobSpec) -> bool:
    """Whether the first machine must have GPUs for the job."""
    each = job.resources.gpus or options.gpus_per_node or options.gpus_per_task
    return bool(each) or "gpu" in (options.gres or "")


def _word(value: str) -> str:
    """Return a value as sbatch reads it in a line of a script."""
    if not value or _SAFE.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _meeting() -> bytes:
    """Return the lines that say where the ranks of the job meet."""
    variables = rendezvous(
        nnodes="${SLURM_JOB_NUM_NODES:-1}",
        node_rank="${SLURM_NODEID:-0}",
        ips="${rb_nodes%,}",
        port=f"$(({MEETING_PORTS.start} + SLURM_JOB_ID % {len(MEETING_PORTS)}))",
        gpus="${SLURM_GPUS_ON_NODE:-0}",
    )
    return "".join(f"export {name}={value}\n" for name, value in variables.items()).encode()


def _warning(signal: str | None) -> bytes:
    """Return the lines that pass on the signal which announces the end of the job's time."""
    if signal is None:
        return b""
    name = signal.partition("@")[0].removeprefix("SIG")
    word = shlex.quote(name).encode()
    return b"export RUNBUS_NOTICE_SIGNAL=%s\ntrap 'rb_pass %s' %s\n" % (word, name.encode(), word)


# A node whose driver has failed still takes jobs, which would fail one after the other, late.
_GPUS_SEEN = b"""if [ -z "${CUDA_VISIBLE_DEVICES-}${ROCR_VISIBLE_DEVICES-}${SLURM_JOB_GPUS-}" ] ||
    { command -v nvidia-smi >/dev/null && ! timeout 60 nvidia-smi -L >/dev/null; }
then echo "no GPU is seen on ${SLURMD_NODENAME-}"; exit 76; fi
"""

# bash, since its background children do not ignore INT and QUIT once it controls jobs; it waits for
# the wrapper in the background, so that a signal is acted on at once. TERM, which Slurm sends to
# all processes of a job that it ends, is the job's to answer: this shell and the wrapper outlast
# it, and the wrapper writes down how the job ended. USR2 asks for the job's end, as TERM does where
# the signal cannot go to this shell alone: until there is a wrapper it is enough that the shell
# outlasts it, since the wrapper finds the file `cancel`.
_SCRIPT = b"""trap : TERM USR2
%(folder)s
cd "$rb_folder" || exit 73
exec >>slurm.log 2>&1 </dev/null || exit 77
unset SLURM_EXPORT_ENV
if [ -f %(secrets)s ]; then . ./%(secrets)s && rm -f %(secrets)s || exit 74; fi
%(setup)s%(gpus)srb_nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST-}" | tr '\\n' ,)
%(meet)srb_ns=$(readlink /proc/self/ns/pid)
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
exit "${rb_exit:-$rb_status}"
"""
