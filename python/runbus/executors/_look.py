"""What is asked of a machine with a POSIX shell about its jobs, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runbus.codec import DecodeError, decode_json
from runbus.executors._gpus import START_S
from runbus.executors._shell import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.executors._placement import Placement

__all__ = ["Answer", "Look", "Records", "decoded", "look_script", "parse_look"]

_BLOCK = 64
"""Jobs that are looked at in one go: a shell's list of words is copied whenever it grows."""


class Records(msgspec.Struct, frozen=True):
    """What pid.json and exit.json have in common with what is needed here."""

    uptime: float
    pid: int = 0
    start: int = 0
    boot: str = ""
    host: str = ""
    ns: str = ""
    outlived: bool = False


class Look(msgspec.Struct, kw_only=True):
    """What was seen of one job.

    Attributes:
        there: Its folder exists.
        pid: pid.json as it is; empty if it is not (wholly) there.
        exit: What is in exit.json, in the same way.
        stat: The process's line in /proc; empty if there is no such process.
        submitted: Boot id and uptime when it was handed over.
        files: Sizes of its logs, notes and journals that are not empty: of journals by their
            paths in the run's folder, of the others by their names.
    """

    there: bool = False
    pid: bytes = b""
    exit: bytes = b""
    stat: bytes = b""
    submitted: bytes = b""
    files: dict[str, int] = {}

    def is_gone(self, answer: Answer) -> bool:
        """Whether nothing of the job is alive; says nothing about one that has ended."""
        began = decoded(self.pid)
        if began is not None:
            if answer.is_foreign(began):
                # A name may lead to several machines: of this one nothing is seen here.
                return False
            if answer.boot != began.boot:
                return True
            fields = self.stat.rpartition(b")")[2].split()
            # Of a process whose line cannot be read, only that it is there is known.
            if len(fields) < 20:
                return not self.stat
            # A first thread that has ended is a zombie, too, while others continue.
            is_dead = fields[0] in b"ZX" and fields[17] in {b"0", b"1"}
            return int(fields[19]) != began.start or is_dead
        boot, _, uptime = self.submitted.decode("ascii", "replace").partition(" ")
        if not self.there or boot != answer.boot:
            return True
        try:
            return answer.uptime - float(uptime) > START_S
        except ValueError:
            return False


class Answer(msgspec.Struct, kw_only=True):
    """What a machine said about itself and its jobs.

    Attributes:
        uptime: Seconds since it booted.
        boot: Its boot id.
        host: What it calls itself.
        ns: The pid namespace of the shell that looked.
        looks: What was seen of each job, in the order in which they were asked for.
    """

    uptime: float = 0.0
    boot: str = ""
    host: str = ""
    ns: str = ""
    looks: list[Look]

    def is_foreign(self, began: Records) -> bool:
        """Whether a job's process is one of another machine or pid namespace."""
        return any(
            there and here and there != here
            for there, here in ((began.host, self.host), (began.ns, self.ns))
        )


def decoded(line: bytes) -> Records | None:
    """Return a record; None if it is not, or not wholly, there."""
    try:
        return decode_json(line, Records)
    except DecodeError:
        return None


_LOOK_HEAD = b"""
rb_boot=; rb_up=; rb_host=
read -r rb_boot 2>/dev/null </proc/sys/kernel/random/boot_id
read -r rb_up rb_x 2>/dev/null </proc/uptime
read -r rb_host 2>/dev/null </proc/sys/kernel/hostname
rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}
printf '=%s %s %s %s\\n' "$rb_boot" "${rb_up:-0}" "$rb_ns" "$rb_host"
rb_over='
'
rb_is_over() {
    { read -r rb_x && IFS= read -r rb_x; } 2>/dev/null <"$1" || return
    case $rb_over in *"
$rb_x
"*) ;; *) false ;; esac
}
"""

_LOOK_TAIL = b"""
[ ${#rb_over} -eq 1 ] ||
for rb_f in /dev/shm/runbus-gpus-*/gpu-* /tmp/runbus-gpus-*/gpu-*; do
    [ -O "${rb_f%/*}" ] && [ -O "$rb_f" ] && rb_is_over "$rb_f" || continue
    ( { flock -w 1 3 || flock -n 3; } 2>/dev/null && rb_is_over "$rb_f" && rm -f "$rb_f" ) \\
        3>>"${rb_f%/*}/lock"
done
"""
"""The GPUs that jobs were lent are given back when their end is seen: see `_shell`. Nobody who
lends them needs that, but a file that stays looks like a GPU that is lent. There may be many."""

# No process is started for a job: 200 of them would cost more than all their work. The process is
# looked at before its exit record, so that a job which ends in between is seen to have ended.
_LOOK_BLOCK = b"""
rb_n=%(count)d
set -- %(words)s
while [ $rb_n -gt 0 ]; do
    rb_n=$((rb_n - 1)); rb_j=$1; rb_r=$2; shift 2; rb_p=; rb_e=; rb_s=; rb_b=
    IFS= read -r rb_p 2>/dev/null <"$rb_j/pid.json"
    if [ -n "$rb_p" ]; then
        rb_x=${rb_p#*\\"pid\\":}
        IFS= read -r rb_s 2>/dev/null <"/proc/${rb_x%%%%,*}/stat"
    fi
    read -r rb_e 2>/dev/null <"$rb_j/exit.json"
    [ -z "$rb_e" ] || rb_over="$rb_over$rb_j
"
    [ -n "$rb_p" ] || IFS= read -r rb_b 2>/dev/null <"$rb_j/submitted"
    [ -d "$rb_j" ] && echo J1 || echo J0
    printf 'P%%s\\nS%%s\\nE%%s\\nB%%s\\n' "$rb_p" "$rb_s" "$rb_e" "$rb_b"
    for rb_f in "$rb_j/stdout.log" "$rb_j/stderr.log" "$rb_j/result.json" \\
        "$rb_j/environment.json" \\
        "$rb_r"/metrics/*.journal "$rb_r"/records/*.journal; do
        rb_x=${rb_f#"$rb_j"/}; rb_x=${rb_x#"$rb_r"/}
        case $rb_x in *[!0-9a-z./-]*) continue ;; esac
        [ -s "$rb_f" ] && [ -f "$rb_f" ] && printf 'F%%s\\n' "$rb_x" && set -- "$@" "$rb_f"
    done
done
echo Z
[ $# -eq 0 ] || stat -L -c %%s -- "$@" 2>/dev/null
set --
"""


def look_script(placements: Sequence[Placement]) -> bytes:
    """Ask for everything that is known about some jobs."""
    blocks = [_LOOK_HEAD]
    for start in range(0, len(placements), _BLOCK):
        block = placements[start : start + _BLOCK]
        words = b" ".join(quote(word) for job in block for word in (job.folder, job.run_folder))
        blocks.append(_LOOK_BLOCK % {b"count": len(block), b"words": words})
    return b"".join([*blocks, _LOOK_TAIL])


def parse_look(output: bytes, count: int) -> Answer:
    """Read the answer to `look_script`.

    Raises:
        ValueError: It is not one, or not about `count` jobs.
    """
    answer = Answer(looks=[])
    block: list[Look] = []
    names: list[tuple[Look, str]] = []
    sizes: list[int] = []
    complete = False
    for line in output.split(b"\n"):
        kind, rest = line[:1], line[1:]
        if kind.isdigit():
            sizes.append(int(line))
        elif kind == b"=":
            told = [*rest.decode("utf-8", "replace").split(" ", 3), "", "", ""]
            answer.boot, answer.uptime = told[0], float(told[1])
            answer.ns, answer.host = told[2], told[3]
        elif kind == b"J":
            if complete:
                _give_sizes(names, sizes)
                complete = False
            block.append(Look(there=rest == b"1"))
            answer.looks.append(block[-1])
        elif kind == b"Z":
            complete = True
        elif kind == b"F":
            names.append((block[-1], rest.decode("ascii")))
        elif kind in _FIELDS:
            setattr(block[-1], _FIELDS[kind], rest)
    _give_sizes(names, sizes)
    if len(answer.looks) != count:
        raise ValueError(f"an answer about {len(answer.looks)} jobs of {count}")
    return answer


_FIELDS = {b"P": "pid", b"S": "stat", b"E": "exit", b"B": "submitted"}


def _give_sizes(names: list[tuple[Look, str]], sizes: list[int]) -> None:
    """Join names and sizes of a block, once the sizes have come."""
    # A file that vanished in between shifts the rest: the next look will tell.
    if len(names) == len(sizes):
        for (look, name), size in zip(names, sizes, strict=True):
            look.files = {**look.files, name: size}
    names.clear()
    sizes.clear()
