"""What is said to a machine with a POSIX shell, and what its answers mean. No input, no output."""

from __future__ import annotations

import os
import re
import shlex

import msgspec

from runbus.executors._gpus import usable_gpus
from runbus.executors._paths import expanded, marked

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
    "there_script",
    "verify_package_script",
    "verify_script",
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
        pipe: How the names of pipes to the program begin, where they can be made.
    """

    words: bytes
    is_program: bool
    detach: str
    pipe: str

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
find "$rb_b" "$rb_b/packages" -maxdepth 1 -name '*.part-*' ! -type d -mmin +60 \\
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
