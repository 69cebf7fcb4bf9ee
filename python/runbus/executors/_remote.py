"""What is said to a machine with a POSIX shell, and what its answers mean. No input, no output."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

import msgspec

from runbus.codec import DecodeError, decode_json
from runbus.executors._gpus import START_S, usable_gpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.executors._placement import Placement

__all__ = [
    "Answer",
    "Look",
    "Machine",
    "Records",
    "at_home",
    "cancel_script",
    "expanded",
    "files_script",
    "install_script",
    "look_script",
    "marked",
    "parse_files",
    "parse_look",
    "parse_prepared",
    "prepare_script",
    "quote",
    "submit_script",
    "there_script",
    "verify_script",
    "with_variables",
]

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
        files: Sizes of its logs and journals that are not empty: of logs by their names, of
            journals by their paths in the run's folder.
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
            alive = bool(self.stat) and (
                len(fields) < 20 or (int(fields[19]) == began.start and fields[0] not in b"ZX")
            )
            return not alive
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


def quote(text: str | bytes) -> bytes:
    """Return any text without NUL as one word of a shell."""
    return b"'" + os.fsencode(text).replace(b"'", b"'\\''") + b"'"


def decoded(line: bytes) -> Records | None:
    """Return a record; None if it is not, or not wholly, there."""
    try:
        return decode_json(line, Records)
    except DecodeError:
        return None


class Machine(msgspec.Struct, kw_only=True):
    """What a machine said when it was prepared.

    Attributes:
        base: The folder for everything, an absolute path.
        home: The login's home, an absolute path; empty if it has none.
        detach: What starts a process that outlives the connection.
        umask: The login's own.
        machine: Its architecture, as `uname -m` calls it.
        has_script: Whether the wrapper script is there already.
        has_program: Whether the wrapper program is there already, and whole.
        version: What the program said when it was started; empty if it is not there or cannot be.
        gpus: Its GPUs, as CUDA_VISIBLE_DEVICES names them.
    """

    base: str
    home: str
    detach: str
    umask: str
    machine: str
    has_script: bool
    has_program: bool
    version: str
    gpus: tuple[str, ...]


def prepare_script(base: str, wrapper: str, program: str = "", sha256: str = "") -> bytes:
    """Ask a machine for its home and what it has; `parse_prepared` reads the answer.

    What uploads left there an hour ago, because they were cut off, is removed.

    Args:
        base: The folder for everything; a home at its beginning is not expanded yet.
        wrapper: The wrapper script's name below it.
        program: The wrapper program's name below it; empty if there is none to ask about.
        sha256: Its digest.
    """
    return b"""
if setsid -f true 2>/dev/null; then rb_d=setsid; elif command -v nohup >/dev/null; then rb_d=nohup
else rb_d=env; fi
rb_b=%(base)s
rb_w=; [ -f "$rb_b/"%(wrapper)s ] && rb_w=1
rb_p=; rb_v=; rb_f=$rb_b/%(program)s
if [ -n %(program)s ] && [ -f "$rb_f" ] && { ! command -v sha256sum >/dev/null ||
    [ "$(sha256sum <"$rb_f")" = "%(sha)s  -" ]; }
then rb_p=1; rb_v=$("$rb_f" version 2>/dev/null </dev/null)
fi
find "$rb_b" "$rb_b/packages" -maxdepth 1 -name '*.part-*' -type f -mmin +60 \\
    -exec rm -f {} + 2>/dev/null
rb_g=; rb_n=0
for rb_x in /proc/driver/nvidia/gpus/*; do
    [ -e "$rb_x" ] && rb_g=$rb_g${rb_g:+,}$rb_n && rb_n=$((rb_n + 1))
done
printf '%%s\\0' "$rb_b" "${HOME-}" "$rb_d" "$(umask)" "$(uname -m)" "$rb_w" "$rb_p" "$rb_v" \\
    "${CUDA_VISIBLE_DEVICES-$rb_g}"
""" % {
        b"base": os.fsencode(expanded(shlex.quote(marked(base)))),
        b"wrapper": quote(wrapper),
        b"program": quote(program),
        b"sha": sha256.encode(),
    }


def parse_prepared(output: bytes) -> Machine:
    """Read the answer to `prepare_script`.

    Raises:
        ValueError: It is not one.
    """
    *told, end = output.split(b"\0")
    if len(told) != 9 or end:
        raise ValueError("its shell does not understand ours")
    base, home, detach, umask, machine, *has, version, gpus = map(os.fsdecode, told)
    if not base.startswith("/"):
        raise ValueError(f"its folder for jobs is not an absolute path: {base!r}")
    if detach not in _DETACHING or not _UMASK.fullmatch(umask) or not {"", "1"}.issuperset(has):
        raise ValueError("its shell does not understand ours")
    return Machine(
        base=base, home=home if home.startswith("/") else "", detach=detach, umask=umask,
        machine=machine, has_script=bool(has[0]), has_program=bool(has[1]), version=version,
        gpus=tuple(usable_gpus(gpus)),
    )  # fmt: skip


_DETACHING = {"setsid", "nohup", "env"}
_UMASK = re.compile(r"[0-7]{1,4}")
# What a path may begin with that only the machine's shell can tell.
_HOME = re.compile(r"(?:\$HOME|\$\{HOME\}|(~[A-Za-z0-9_.-]*))(?=/|$)")
_MARK = re.compile("\x01(~[A-Za-z0-9_.-]*)\x01")


def marked(path: str, *, is_program: bool = False) -> str:
    """Return a path on a machine with a mark in the place of a home at its beginning.

    A home is `~`, `~user`, `$HOME` or `${HOME}`. A mark survives the quoting of a script;
    `expanded` then puts the shell's own words in its place.

    Args:
        path: The path. A relative one starts at the login's own home.
        is_program: It names a program instead, which a relative path leaves to the shell to find.
    """
    found = _HOME.match(path)
    if found is None:
        return path if is_program or path.startswith("/") else f"\x01~\x01/{path}"
    return f"\x01{found[1] or '~'}\x01{path[found.end() :]}"


def expanded(script: str) -> str:
    """Return a script in which the marks of `marked`, each within single quotes, are expansions."""
    return _MARK.sub(lambda mark: f"'{_expansion(mark[1])}'", script)


def at_home(path: str, home: str) -> str | None:
    """Return a path of `marked` with the login's home; None if only a shell can tell it."""
    if home and path.startswith("\x01~\x01"):
        return home + path.removeprefix("\x01~\x01")
    return None if path.startswith("\x01") else path


def _expansion(home: str) -> str:
    # A tilde is expanded where it begins a word: inside of a substitution it does.
    return '"$HOME"' if home == "~" else f'"$(printf %s {home})"'


def there_script(path: str) -> bytes:
    """Ask whether something is there: 0 if so."""
    return b"[ -e %s ]\n" % quote(path)


def files_script(path: bytes) -> bytes:
    """Ask for the files in a folder, at any depth."""
    return b"find %s/. -type f -print0\n" % quote(path)


def parse_files(output: bytes, path: bytes) -> list[str]:
    """Read the answer to `files_script`: the files' paths in the folder.

    Raises:
        ValueError: One of them would lead out of it.
    """
    files = [name.removeprefix(path + b"/./") for name in output.split(b"\0")[:-1]]
    for name in files:
        if name.startswith(b"/") or not name or b".." in name.split(b"/"):
            raise ValueError(f"{os.fsdecode(name)!r} lies outside the folder")
    return [os.fsdecode(name) for name in files]


def verify_script(path: str, sha256: str) -> bytes:
    """Check what was uploaded, where the machine has the means."""
    return b"""
if command -v sha256sum >/dev/null && [ "$(sha256sum <%(path)s)" != "%(sha)s  -" ]; then
    rm -f %(path)s; false
fi
""" % {b"path": quote(path), b"sha": sha256.encode()}


def install_script(part: str, path: str, sha256: str) -> bytes:
    """Put a program that was uploaded in its place if it is whole, and have it say its version."""
    return (
        verify_script(part, sha256)
        + b"""
[ -f %(part)s ] && chmod 700 %(part)s && mv -f %(part)s %(path)s && %(path)s version </dev/null
"""
        % {b"part": quote(part), b"path": quote(path)}
    )


def submit_script(
    placement: Placement,
    script: str,
    fields: bytes,
    limit: str,
    run_json: bytes,
    wrapper: bytes,
    detach: str,
    umask: str,
    gpus: tuple[int, Sequence[str]] = (0, ()),
) -> bytes:
    """Make an attempt's folder and start the wrapper in it, once however often this is run.

    The answer ends in `started`, `exists` (it was submitted before), `busy` (so many GPUs are not
    free; nothing runs) or `failed` (nothing runs). Content reaches files through the shell's own
    printf, so that no process list shows it.

    Args:
        placement: Where the attempt goes.
        script: The job's script.
        fields: What the wrapper program reads instead; empty where the script must do.
        limit: What the wrapper reads about its time; empty for nothing.
        run_json: The description of the job's run.
        wrapper: The words that run the wrapper there, as a shell reads them.
        detach: What starts a process that outlives the connection.
        umask: The user's own.
        gpus: How many GPUs it needs, and the names of those there are.
    """
    # A background child of a shell would ignore INT: `setsid -f` starts it in the foreground.
    start, end = (b"setsid -f", b";") if detach == "setsid" else (detach.encode(), b"&")
    asked = b"""
(
umask 077; rb_boot=; rb_up=
read -r rb_boot 2>/dev/null </proc/sys/kernel/random/boot_id
read -r rb_up rb_x 2>/dev/null </proc/uptime
[ ! -d %(dir)s ] || { echo; echo exists; exit; }
rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}%(lease)s
if ! mkdir -p %(parent)s %(run)s/metrics; then echo; echo failed
elif mkdir %(dir)s 2>/dev/null; then
    if printf '%%s %%s\\n' "$rb_boot" "$rb_up" >%(dir)s/submitted &&
        printf %%s %(run_json)s >%(run)s/run.json &&
        { [ -z %(limit)s ] || printf %%s %(limit)s >%(dir)s/limit; } &&
        printf %%s %(script)s >%(dir)s/request.sh &&
        { [ -z %(fields)s ] || printf %%s %(fields)s >%(dir)s/request; } &&
        umask %(umask)s &&
        { %(start)s %(wrapper)s run %(dir)s "$rb_ns" </dev/null >%(dir)s/wrapper.log 2>&1 \\
            3>&- %(end)s }
    then echo; echo started
    else
        for rb_x in submitted limit request.sh request wrapper.log; do rm -f %(dir)s/"$rb_x"; done
        rmdir %(dir)s; echo; echo failed
    fi
elif [ -d %(dir)s ]; then echo; echo exists
else mkdir %(dir)s; echo; echo failed
fi
) 2>&1
""" % {
        b"parent": quote(os.path.dirname(placement.folder)),
        b"run": quote(placement.run_folder),
        b"dir": quote(placement.folder),
        b"run_json": quote(run_json),
        b"script": quote(script),
        b"fields": quote(fields),
        b"limit": quote(limit),
        b"wrapper": wrapper,
        b"umask": quote(umask),
        b"lease": _lease_script(*gpus, placement.folder),
        b"start": start,
        b"end": end,
    }
    return asked


# The files are those of `runbus.executors._gpus`: kernels on that machine share them. The lock is
# held until the job's folder is there, and not by what is started in it.
_LEASE = b"""
rb_l=/tmp; [ ! -d /dev/shm ] || rb_l=/dev/shm
rb_l=$rb_l/runbus-gpus-$(id -u); rb_n=%(count)d; rb_g=
command -v flock >/dev/null || { echo 'no flock to lend GPUs with'; echo failed; exit; }
[ -d "$rb_l" ] || mkdir "$rb_l" || { echo; echo failed; exit; }
[ -O "$rb_l" ] || { echo "$rb_l belongs to another user"; echo failed; exit; }
exec 3>>"$rb_l/lock" || { echo; echo failed; exit; }
flock -n 3 || { echo; echo busy; exit; }
rb_free() {
    rb_a=; rb_h=; rb_e=; rb_p=
    read -r rb_a 2>/dev/null <"$1" && rb_h=$(sed 1d "$1")
    [ "${rb_a%%%% *}" = "$rb_boot" ] && [ -d "$rb_h" ] || return 0
    read -r rb_e 2>/dev/null <"$rb_h/exit.json"
    case $rb_e in '{'*) return 0 ;; esac
    IFS= read -r rb_p 2>/dev/null <"$rb_h/pid.json"
    if [ -z "$rb_p" ]; then
        rb_a=${rb_a#* }; [ "$((${rb_up%%%%.*} - ${rb_a%%%%.*}))" -gt %(start_s)d ]; return
    fi
    case $rb_p in *'"ns":"'"$rb_ns"'"'*) ;; *) return 1 ;; esac
    rb_a=${rb_p#*\\"pid\\":}; rb_e=
    IFS= read -r rb_e 2>/dev/null <"/proc/${rb_a%%%%,*}/stat" || return 0
    set -- ${rb_e##*) }; rb_a=${rb_p#*\\"start\\":}
    [ "${20}" != "${rb_a%%%%,*}" ]
}
set --
for rb_x in %(names)s; do
    [ "$rb_n" -gt 0 ] || break
    rb_f=$rb_l/gpu-$(printf %%s "$rb_x" | tr / _)
    if rb_free "$rb_f"; then
        set -- "$@" "$rb_f"; rb_n=$((rb_n - 1)); rb_g=$rb_g${rb_g:+,}$rb_x
    fi
done
[ "$rb_n" -eq 0 ] || { echo; echo busy; exit; }
for rb_x; do printf '%%s %%s\\n%%s\\n' "$rb_boot" "$rb_up" %(holder)s >"$rb_x" || exit; done
set --
CUDA_VISIBLE_DEVICES=$rb_g; export CUDA_VISIBLE_DEVICES"""


def _lease_script(count: int, names: Sequence[str], holder: str) -> bytes:
    if not count:
        return b""
    return _LEASE % {
        b"count": count,
        b"names": b" ".join(quote(name) for name in names),
        b"holder": quote(holder),
        b"start_s": int(START_S),
    }


def with_variables(script: bytes, values: dict[str, str]) -> bytes:
    """Run a script, and what it starts, with variables set that nothing after it sees."""
    lines = b"".join(
        b"export %s=%s\n" % (name.encode(), quote(value)) for name, value in values.items()
    )
    return b"(\n%s%s)\n" % (lines, script) if values else script


def cancel_script(folders: dict[str, float], wrapper: bytes, detach: str) -> bytes:
    """Have the wrapper end attempts, each with its own grace in seconds, and do not wait."""
    start, end = ("setsid -f", "") if detach == "setsid" else (detach, " &")
    # A folder that is not there has no job to end.
    namespace = b"rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}\n"
    return namespace + b"\n".join(
        b'[ ! -d %(dir)s ] || %(start)s %(wrapper)s cancel %(dir)s %(grace).3f "$rb_ns" '
        b"</dev/null >/dev/null 2>&1%(end)s"
        % {
            b"dir": quote(folder),
            b"wrapper": wrapper,
            b"grace": grace,
            b"start": start.encode(),
            b"end": end.encode(),
        }
        for folder, grace in folders.items()
    )


_LOOK_HEAD = b"""
rb_boot=; rb_up=; rb_host=
read -r rb_boot 2>/dev/null </proc/sys/kernel/random/boot_id
read -r rb_up rb_x 2>/dev/null </proc/uptime
read -r rb_host 2>/dev/null </proc/sys/kernel/hostname
rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}
printf '=%s %s %s %s\\n' "$rb_boot" "${rb_up:-0}" "$rb_ns" "$rb_host"
"""

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
    [ -n "$rb_p" ] || IFS= read -r rb_b 2>/dev/null <"$rb_j/submitted"
    [ -d "$rb_j" ] && echo J1 || echo J0
    printf 'P%%s\\nS%%s\\nE%%s\\nB%%s\\n' "$rb_p" "$rb_s" "$rb_e" "$rb_b"
    for rb_f in "$rb_j/stdout.log" "$rb_j/stderr.log" \\
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
    return b"".join(blocks)


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
