"""What a machine with a POSIX shell is told to start a job. No input, no output."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.executors._gpus import START_S, VARIABLE
from runbus.executors._shell import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.executors._placement import Placement
    from runbus.executors._shell import Wrapper

__all__ = ["submit_script"]


def submit_script(
    placement: Placement,
    files: Mapping[str, bytes],
    run_json: bytes,
    wrapper: Wrapper,
    umask: str,
    gpus: tuple[int, Sequence[str]] = (0, ()),
    variables: Mapping[str, str] | None = None,
) -> bytes:
    """Make an attempt's folder and start the wrapper in it, once however often this is run.

    The answer ends in `started`, `exists` (it was submitted before), `busy` (so many GPUs are not
    free, or a reason follows; nothing runs) or `failed` and perhaps a reason (nothing runs). Where
    it cannot be told what became of the job, the shell ends. Content reaches files through the
    shell's own printf, so that no process list shows it.

    Args:
        placement: Where the attempt goes.
        files: What the wrapper and the job read, by the names of files.
        run_json: The description of the job's run.
        wrapper: The wrapper there.
        umask: The user's own, where the shell makes the folders.
        gpus: How many GPUs it needs, and the names of those there are.
        variables: What the wrapper alone has in its environment besides.
    """
    files = {f"{placement.run_folder}/run.json": run_json, **files}
    lease = _lease_script(*gpus, placement.folder)
    if wrapper.is_program:
        return _by_program(placement, files, wrapper, lease, variables or {})
    return _by_script(placement, files, wrapper, lease, variables or {}, umask)


def _by_program(
    placement: Placement,
    files: Mapping[str, bytes],
    wrapper: Wrapper,
    lease: bytes,
    variables: Mapping[str, str],
) -> bytes:
    """Ask the program for all of it; `rust/runbus-wrap/src/submit.rs` describes what it reads."""
    texts = [quote(placement.folder), quote(f"{placement.run_folder}/metrics"), b"%d" % len(files)]
    texts += [quote(text) for file in files.items() for text in file]
    texts += [quote(f"{name}={value}") for name, value in variables.items()]
    if lease:
        texts.append(b'"%s=$rb_g"' % VARIABLE.encode())
    asked = b"rb_ask %d %s" % (len(texts), b" ".join(texts))
    serve = _SERVE % {b"pipe": quote(wrapper.pipe), b"words": wrapper.words}
    if not lease:
        return b"%s%s || exit; printf '\\n%%s\\n' \"$rb_x\"\n" % (serve, asked)
    return _ASK_WITH_LEASE % {
        b"serve": serve, b"dir": quote(placement.folder), b"lease": lease, b"asked": asked,
    }  # fmt: skip


# One program is started for all jobs of this shell, and none for a job. It is there when both pipes
# are open; if it goes, so does the shell, and the connection is made anew.
_SERVE = b"""
if [ -z "${rb_is_served-}" ]; then
    rb_f=%(pipe)s-$$; rb_is_served=1
    if ! %(words)s version >/dev/null 2>&1 </dev/null; then
        rb_is_served=
        rb_ask() {
            rb_x=exists
            [ -d "$2" ] || rb_x='failed the wrapper program there cannot be run any more'
        }
    elif mkfifo -m 600 "$rb_f" "$rb_f.told" 2>/dev/null; then
        %(words)s submit <"$rb_f" >"$rb_f.told" 2>/dev/null &
        exec 8>"$rb_f" 9<"$rb_f.told"
        rm -f "$rb_f" "$rb_f.told"
        rb_ask() { printf '%%s\\0' "$@" >&8 && IFS= read -r rb_x <&9; }
    else
        rb_ask() { rb_x=$(printf '%%s\\0' "$@" | %(words)s submit 2>/dev/null 3>&-) &&
            [ -n "$rb_x" ]; }
    fi
fi
"""

_BEGIN = b"""
umask 077; rb_boot=; rb_up=; set --
read -r rb_boot 2>/dev/null </proc/sys/kernel/random/boot_id
read -r rb_up rb_x 2>/dev/null </proc/uptime
[ ! -d %(dir)s ] || { echo; echo exists; exit; }
"""

_ASK_WITH_LEASE = (
    b"""%(serve)s
rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}
("""
    + _BEGIN
    + b"""
%(lease)s
%(asked)s || exit
case $rb_x in failed*|busy*) rm -f "$@" ;; esac
printf '\\n%%s\\n' "$rb_x"
) 2>&1 || exit
"""
)


def _by_script(
    placement: Placement,
    files: Mapping[str, bytes],
    wrapper: Wrapper,
    lease: bytes,
    variables: Mapping[str, str],
    umask: str,
) -> bytes:
    """Have the shell make and write everything, and start the script."""
    paths = {os.path.join(placement.folder, name): data for name, data in files.items()}
    writes = b" &&\n        ".join(
        b"printf %%s %s >%s" % (quote(data), quote(path)) for path, data in paths.items()
    )
    return _START_SCRIPT % {
        b"make": wrapper.making(placement.folder, f"{placement.run_folder}/metrics"),
        b"dir": quote(placement.folder),
        b"writes": writes,
        b"own": b" ".join(quote(path) for path in paths if path.startswith(placement.folder)),
        b"umask": umask.encode(),
        b"lease": lease,
        b"export": b"".join(
            b"export %s=%s; " % (name.encode(), quote(value)) for name, value in variables.items()
        ),
        b"start": wrapper.detached(b"run %s" % quote(placement.folder)),
        b"end": wrapper.background,
    }


_START_SCRIPT = (
    b"""
rb_ns=${rb_ns-$(readlink /proc/self/ns/pid 2>/dev/null)}
("""
    + _BEGIN
    + b"""
rb_fail() { [ $# -eq 0 ] || rm -f "$@"; echo; echo failed; }
%(lease)s
if %(make)s; then
    if printf '%%s %%s\\n' "$rb_boot" "$rb_up" >%(dir)s/submitted &&
        %(writes)s &&
        umask %(umask)s &&
        { %(export)s%(start)s </dev/null >%(dir)s/wrapper.log 2>&1 3>&- %(end)s }
    then echo; echo started
    else
        rm -f %(dir)s/submitted %(dir)s/wrapper.log %(own)s; rmdir %(dir)s; rb_fail "$@"
    fi
elif [ -d %(dir)s ]; then echo; echo exists
else rb_fail "$@"
fi
) 2>&1
"""
)

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
