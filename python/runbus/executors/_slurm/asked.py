"""What a login node is asked about Slurm, and what its refusals mean. No input, no output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from runbus.executors._shell import quote
from runbus.executors._slurm.listing import SACCT_FIELDS, SQUEUE_FORMAT
from runbus.executors._slurm.partitions import PARTITIONS_FORMAT, RULES
from runbus.executors._slurm.script import KEPT, SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runbus.executors._placement import Placement
    from runbus.executors._shell import Wrapper

__all__ = [
    "ACCOUNTS_ASK",
    "LARGEST_ARRAY_ASK",
    "PARTITIONS_ASK",
    "QUEUE_ASK",
    "VARIABLES_ASK",
    "accounts_words",
    "ends_script",
    "environment_script",
    "ids_script",
    "keep_script",
    "known_script",
    "leave_script",
    "refusal",
    "scancel_words",
    "stage_script",
    "submit_words",
    "unstage_script",
]

_PATIENT = "timeout 25"
"""Slurm's own programs go on for long while the controller does not answer."""

# What a user has set for sbatch would override what the script says; what an allocation has set
# belongs to that allocation.
_CLEAN = b"""for rb_x in $(env | sed -n 's/^\\(S[BL][AU][TR][CM]H*_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
case $rb_x in SLURM_CONF) ;; SBATCH_*|SLURM_*) unset "$rb_x" ;; esac; done
"""


def stage_script(
    placement: Placement, files: Mapping[str, bytes], run_json: bytes, wrapper: Wrapper
) -> bytes:
    """Make an attempt's folder and write what its wrapper reads.

    In a folder that was there each file appears whole: a job may be reading it. The answer ends in
    `staged`, `again` (the folder was there, and nothing says that Slurm has the job), `exists`
    (Slurm has it) or `failed`, and then a NUL.

    Args:
        placement: Where the attempt goes.
        files: What is written, by the names of files.
        run_json: The description of the job's run.
        wrapper: The wrapper there.
    """
    writes = b" &&\n    ".join(
        b"rb_put %s %s" % (quote(name), quote(data)) for name, data in files.items()
    )
    return _STAGE % {
        b"dir": quote(placement.folder),
        b"make": wrapper.making(placement.folder, f"{placement.run_folder}/metrics"),
        b"run": quote(placement.run_folder),
        b"run_json": quote(run_json),
        b"writes": writes,
    }


_STAGE = b"""
(
umask 077; rb_v=staged
rb_put() {
    if [ $rb_v = staged ]; then printf %%s "$2" >"$1"
    else printf %%s "$2" >"$1.part" && mv -f "$1.part" "$1"
    fi
}
rb_stage() {
    if [ -d %(dir)s ]; then
        if [ -s %(dir)s/slurm.id ] || [ -e %(dir)s/exit.json ]; then rb_v=exists; return; fi
        rb_v=again
    else %(make)s || return
    fi
    cd %(dir)s && printf %%s %(run_json)s >%(run)s/run.json &&
    %(writes)s
}
rb_stage || rb_v=failed
echo; echo "$rb_v"
) 2>&1
printf '\\0'
"""


def unstage_script(folder: str, names: Iterable[str]) -> bytes:
    """Remove what `stage_script` wrote for a job that Slurm has refused."""
    files = b" ".join(quote(f"{folder}/{name}") for name in (*names, "slurm.id"))
    return b"rm -f %s; rmdir %s 2>/dev/null; true\n" % (files, quote(folder))


def submit_words(umask: str, withheld: Sequence[str]) -> list[str | bytes]:
    """Return the words that submit the script on stdin, and tell the number that Slurm gives it."""
    script = b"""%(clean)s%(unset)sunset RUNBUS_ATTEMPT; umask %(umask)s; cd /
exec timeout 60 sbatch --parsable
""" % {b"clean": _CLEAN, b"unset": _unset(withheld), b"umask": umask.encode()}
    return ["sh", "-c", script]


def _unset(withheld: Sequence[str]) -> bytes:
    return b"".join(b"unset %s\n" % name.encode() for name in withheld if _NAME.fullmatch(name))


def keep_script(numbers: Mapping[str, str]) -> bytes:
    """Keep in attempts' folders, which are the keys, the numbers that Slurm gave them."""
    return b"(\numask 077\n%s)\n" % b"".join(
        b"printf '%%s\\n' %s >%s/slurm.id\n" % (number.encode(), quote(folder))
        for folder, number in numbers.items()
    )


def known_script(folders: Sequence[str]) -> bytes:
    """Ask of which attempts it is on record that Slurm has them: a line for each, `1` if it is."""
    return b"".join(
        b"if [ -s %(dir)s/slurm.id ] || [ -e %(dir)s/exit.json ]; then echo 1; else echo; fi\n"
        % {b"dir": quote(folder)}
        for folder in folders
    )


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_LIST = f"""export LC_ALL=C SLURM_TIME_FORMAT=%s
unset SQUEUE_FORMAT SQUEUE_STATES SQUEUE_PARTITION SQUEUE_NAMES SQUEUE_USERS SQUEUE_ACCOUNT
exec {_PATIENT} squeue --noheader --all --array --states=all --user="$(id -un)" \\
    --format='{SQUEUE_FORMAT}'
"""

_ACCOUNTS = f"""export LC_ALL=C SLURM_TIME_FORMAT=%s
unset SACCT_FORMAT
exec {_PATIENT} sacct --noheader --parsable2 --allocations --duplicates \\
    --starttime=now-60days --format={SACCT_FIELDS} "$1"
"""

QUEUE_ASK: Sequence[str | bytes] = ["sh", "-c", _LIST]
"""The words that list all jobs of this user."""

PARTITIONS_ASK: Sequence[str | bytes] = [
    "sh",
    "-c",
    f"""unset SINFO_FORMAT SINFO_PARTITION
{_PATIENT} sinfo --noheader --exact --format='{PARTITIONS_FORMAT}' || exit
echo {RULES}; {_PATIENT} scontrol --oneliner show partition || :
""",
]
"""The words that list the partitions, the kinds of machines in each, and what they take."""

LARGEST_ARRAY_ASK: Sequence[str | bytes] = ["sh", "-c", f"exec {_PATIENT} scontrol show config"]
"""The words that ask, among other things, how large an array may be."""


def environment_script(withheld: Sequence[str]) -> bytes:
    """Ask for the variables with which sbatch would be called; each ends in a NUL."""
    return b"(\n%s%sunset RUNBUS_ATTEMPT; env -0\n)\n" % (_CLEAN, _unset(withheld))


VARIABLES_ASK = b"""printf '%s\\0' "PATH=${PATH-}" "LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}" \\
    "SLURM_CONF=${SLURM_CONF-}"
"""
"""Asks for what it takes to find and start the programs of Slurm."""

ACCOUNTS_ASK = 200
"""How many jobs are asked about in one go."""


def accounts_words(ids: Sequence[str], names: Sequence[str]) -> list[str | bytes]:
    """Return the words that ask the accounts about jobs: by numbers, or by our names."""
    which = f"--jobs={','.join(ids)}" if ids else f"--name={','.join(names)}"
    return ["sh", "-c", _ACCOUNTS, "sh", which]


def ids_script(folders: Sequence[str]) -> bytes:
    """Ask which numbers Slurm gave to attempts: a line for each, empty where nobody knows."""
    return b"".join(
        b"rb_i=; read -r rb_i 2>/dev/null <%s/slurm.id; printf '%%s\\n' \"$rb_i\"\n" % quote(folder)
        for folder in folders
    )


def ends_script(graces: Mapping[str, float]) -> bytes:
    """Note for attempts that their end is asked for: one that has not begun will not begin.

    The wrapper reads the grace in `cancel` where TERM reaches it, and the batch script in `grace`
    where USR2 reaches that. Both are whole at any moment: of a second call for an attempt, who
    looks meanwhile finds the first.
    """
    written = b"".join(
        b"echo %%(grace).3f >%%(dir)s/%(name)s.part; "
        b"mv -f %%(dir)s/%(name)s.part %%(dir)s/%(name)s; " % {b"name": name}
        for name in (b"grace", b"cancel")
    )
    script = (
        b"if [ -d %(dir)s ]; then "
        + written
        + b"[ ! -e %(dir)s/%(secrets)s ] || rm -f %(dir)s/%(secrets)s; fi\n"
    )
    return b"".join(
        script % {b"dir": quote(folder), b"grace": grace, b"secrets": SECRETS.encode()}
        for folder, grace in graces.items()
    )


def leave_script(folders: Sequence[str]) -> bytes:
    """Remove the secrets of jobs that Slurm could have begun anew, and that are over."""
    return b"rm -f %s\n" % b" ".join(quote(f"{folder}/{KEPT}") for folder in folders)


def scancel_words(ids: Sequence[str], signal: str | None = None) -> list[str | bytes]:
    """Return the words that end jobs at once, or send a signal to their scripts.

    No filter such as `--state=PENDING` goes with it: told to end some elements of an array if they
    wait, scancel ends all of the array that waits.
    """
    words = ["exec", _PATIENT, "scancel"]
    if signal is not None:
        words += ["--batch", f"--signal={signal}"]
    return ["sh", "-c", f'export LC_ALL=C; {" ".join(words)} "$@"', "sh", *ids]


def refusal(said: str) -> Refusal:
    """Return what becomes of a job that sbatch has not taken.

    Returns:
        "unknown" if it may have been taken all the same, "later" if not and another try may help,
        "quota" if one helps once other jobs have ended, "large" if a smaller array may be taken,
        "refused" if no other try will help.
    """
    for kind, words in _REFUSALS.items():
        if any(word in said for word in words):
            return kind
    return "refused"


Refusal = Literal["unknown", "later", "quota", "large", "refused"]

_REFUSALS: dict[Refusal, tuple[str, ...]] = {
    "later": (
        "Unable to contact slurm controller", "Resource temporarily unavailable",
        "Slurm temporarily unable to accept job", "Slurm backup controller in standby",
        "Job credential revoked", "Slurm controller is busy",
    ),
    "unknown": (
        "Socket timed out", "Unexpected message received", "Zero Bytes were transmitted",
        "Transport endpoint", "Connection reset", "Broken pipe",
    ),
    "quota": (
        "QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit", "MaxSubmitJobs",
        "QOSGrpSubmitJobsLimit", "AssocGrpSubmitJobsLimit",
    ),
    "large": ("Invalid job array specification",),
}  # fmt: skip
