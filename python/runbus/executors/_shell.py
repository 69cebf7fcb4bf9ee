"""What is said to a machine with a POSIX shell, and what its answers mean. No input, no output."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

import msgspec

from runbus.executors._gpus import START_S, usable_gpus
from runbus.executors._paths import expanded, marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.executors._placement import Placement

__all__ = [
    "Machine",
    "Wrapper",
    "cancel_script",
    "files_script",
    "install_script",
    "parse_files",
    "parse_prepared",
    "place_script",
    "prepare_script",
    "quote",
    "submit_script",
    "there_script",
    "verify_package_script",
    "verify_script",
    "with_variables",
]


def quote(text: str | bytes) -> bytes:
    """Return any text without NUL as one word of a shell."""
    return b"'" + os.fsencode(text).replace(b"'", b"'\\''") + b"'"


class Wrapper(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine's shell runs the wrapper.

    Attributes:
        words: The words that run it.
        is_program: Whether it is the program: the script needs other programs to continue alone.
        detach: What starts a script that outlives the connection.
    """

    words: bytes
    is_program: bool
    detach: str

    def making(self, folder: str, other: str) -> bytes:
        """Return what makes a folder that must not be there, and another that may."""
        if self.is_program:
            return b"%s make %s %s" % (self.words, quote(folder), quote(other))
        above = quote(os.path.dirname(folder))
        return b"mkdir -p %s %s && mkdir %s" % (above, quote(other), quote(folder))

    def detached(self, rest: bytes) -> bytes:
        """Return what runs the wrapper so that it outlives the connection."""
        if self.is_program:
            return b"%s detached %s" % (self.words, rest)
        start = b"setsid -f" if self.detach == "setsid" else self.detach.encode()
        return b'%s %s %s "$rb_ns"' % (start, self.words, rest)

    @property
    def background(self) -> bytes:
        """What ends such a command."""
        # A background child of a shell would ignore INT: `setsid -f` starts it in the foreground.
        return b";" if self.is_program or self.detach == "setsid" else b"&"


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
        has_sampler: Whether the program that samples beside jobs is there already.
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
    has_sampler: bool
    version: str
    gpus: tuple[str, ...]


def prepare_script(
    base: str, wrapper: str, program: str = "", sha256: str = "", sampler: str = ""
) -> bytes:
    """Ask a machine for its home and what it has; `parse_prepared` reads the answer.

    What uploads left there an hour ago, because they were cut off, is removed.

    Args:
        base: The folder for everything; a home at its beginning is not expanded yet.
        wrapper: The wrapper script's name below it.
        program: The wrapper program's name below it; empty if there is none to ask about.
        sha256: Its digest.
        sampler: The name below it of the program that samples beside jobs; empty if there is none.
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
rb_s=; [ -f "$rb_b/"%(sampler)s ] && rb_s=1
find "$rb_b" "$rb_b/packages" -maxdepth 1 -name '*.part-*' -type f -mmin +60 \\
    -exec rm -f {} + 2>/dev/null
rb_g=; rb_n=0
for rb_x in /proc/driver/nvidia/gpus/*; do
    [ -e "$rb_x" ] && rb_g=$rb_g${rb_g:+,}$rb_n && rb_n=$((rb_n + 1))
done
printf '%%s\\0' "$rb_b" "${HOME-}" "$rb_d" "$(umask)" "$(uname -m)" "$rb_w" "$rb_p" "$rb_s" \\
    "$rb_v" "${CUDA_VISIBLE_DEVICES-$rb_g}"
""" % {
        b"base": os.fsencode(expanded(shlex.quote(marked(base)))),
        b"wrapper": quote(wrapper),
        b"program": quote(program),
        b"sha": sha256.encode(),
        b"sampler": quote(sampler),
    }


def parse_prepared(output: bytes) -> Machine:
    """Read the answer to `prepare_script`.

    Raises:
        ValueError: It is not one.
    """
    *told, end = output.split(b"\0")
    if len(told) != 10 or end:
        raise ValueError("its shell does not understand ours")
    base, home, detach, umask, machine, *has, version, gpus = map(os.fsdecode, told)
    if not base.startswith("/"):
        raise ValueError(f"its folder for jobs is not an absolute path: {base!r}")
    if detach not in _DETACHING or not _UMASK.fullmatch(umask) or not {"", "1"}.issuperset(has):
        raise ValueError("its shell does not understand ours")
    return Machine(
        base=base, home=home if home.startswith("/") else "", detach=detach, umask=umask,
        machine=machine, has_script=bool(has[0]), has_program=bool(has[1]),
        has_sampler=bool(has[2]), version=version, gpus=tuple(usable_gpus(gpus)),
    )  # fmt: skip


_DETACHING = {"setsid", "nohup", "env"}
_UMASK = re.compile(r"[0-7]{1,4}")


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


def verify_script(path: str, sha256: str, reader: bytes = b"cat") -> bytes:
    """Check what was uploaded, where the machine has the means.

    Args:
        path: The file; it is removed if it is not whole.
        sha256: The digest of what is read from it.
        reader: What reads it.
    """
    return b"""
if command -v sha256sum >/dev/null && [ "$(%(reader)s <%(path)s | sha256sum)" != "%(sha)s  -" ]
then rm -f %(path)s; false
fi
""" % {b"path": quote(path), b"sha": sha256.encode(), b"reader": reader}


def verify_package_script(path: str, sha256: str) -> bytes:
    """Check code that was uploaded: its digest is that of the archive before its compression."""
    return verify_script(path, sha256, b"gzip -dc")


def place_script(part: str, path: str, sha256: str) -> bytes:
    """Put a program that was uploaded in its place if it is whole."""
    return (
        verify_script(part, sha256)
        + b"""
[ -f %(part)s ] && chmod 700 %(part)s && mv -f %(part)s %(path)s"""
        % {b"part": quote(part), b"path": quote(path)}
    )


def install_script(part: str, path: str, sha256: str) -> bytes:
    """Put the wrapper program in its place if it is whole, and have it say its version."""
    return place_script(part, path, sha256) + b" && %s version </dev/null\n" % quote(path)


def submit_script(
    placement: Placement,
    script: str,
    fields: bytes,
    limit: str,
    run_json: bytes,
    wrapper: Wrapper,
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
        wrapper: The wrapper there.
        umask: The user's own.
        gpus: How many GPUs it needs, and the names of those there are.
    """
    asked = b"""
rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}
(
umask 077; rb_boot=; rb_up=; set --
read -r rb_boot 2>/dev/null </proc/sys/kernel/random/boot_id
read -r rb_up rb_x 2>/dev/null </proc/uptime
[ ! -d %(dir)s ] || { echo; echo exists; exit; }
rb_fail() { [ $# -eq 0 ] || rm -f "$@"; echo; echo failed; }
%(lease)s
if %(make)s; then
    if printf '%%s %%s\\n' "$rb_boot" "$rb_up" >%(dir)s/submitted &&
        printf %%s %(run_json)s >%(run)s/run.json &&
        { [ -z %(limit)s ] || printf %%s %(limit)s >%(dir)s/limit; } &&
        printf %%s %(script)s >%(dir)s/request.sh &&
        { [ -z %(fields)s ] || printf %%s %(fields)s >%(dir)s/request; } &&
        umask %(umask)s &&
        { %(start)s </dev/null >%(dir)s/wrapper.log 2>&1 3>&- %(end)s }
    then echo; echo started
    else
        for rb_x in submitted limit request.sh request wrapper.log; do rm -f %(dir)s/"$rb_x"; done
        rmdir %(dir)s; rb_fail "$@"
    fi
elif [ -d %(dir)s ]; then echo; echo exists
else rb_fail "$@"
fi
) 2>&1
""" % {
        b"make": wrapper.making(placement.folder, f"{placement.run_folder}/metrics"),
        b"run": quote(placement.run_folder),
        b"dir": quote(placement.folder),
        b"run_json": quote(run_json),
        b"script": quote(script),
        b"fields": quote(fields),
        b"limit": quote(limit),
        b"umask": quote(umask),
        b"lease": _lease_script(*gpus, placement.folder),
        b"start": wrapper.detached(b"run %s" % quote(placement.folder)),
        b"end": wrapper.background,
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


def cancel_script(folders: dict[str, float], wrapper: Wrapper) -> bytes:
    """Have the wrapper end attempts, each with its own grace in seconds, and do not wait."""
    # A folder that is not there has no job to end.
    namespace = b"rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}\n"
    return namespace + b"\n".join(
        b"[ ! -d %(dir)s ] || %(start)s </dev/null >/dev/null 2>&1 %(end)s"
        % {
            b"dir": quote(folder),
            b"start": wrapper.detached(b"cancel %s %.3f" % (quote(folder), grace)),
            b"end": wrapper.background,
        }
        for folder, grace in folders.items()
    )
