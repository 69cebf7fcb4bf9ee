"""The POSIX script that gives a machine what an image asks for.

It works under dash, bash and busybox, may be run again, and holds no secret: what plugins need of
those they read from the environment. Each part is a phase, whose start and end are told: as lines
of JSON in the file that `RUNBUS_PHASES` names, or on stderr.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from runbus.events.image import package_key
from runbus.plugins._ops import REPORT, render_ops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.events import Image
    from runbus.plugins._ops import Op

__all__ = ["image_script"]

_START = """\
#!/bin/sh
# Makes ready what an image asks for: sh SCRIPT FOLDER. Python goes to FOLDER/venv.
set -eu
unset IFS
rb_folder=${1:?which folder}
mkdir -p "$rb_folder"
rb_venv=$rb_folder/venv
rb_now="""

_PHASES = """\
rb_begin() { rb_now=$1; rb_phase started "$rb_now"; }
rb_end() { rb_phase completed "$rb_now"; rb_now=; }
trap 'rb_code=$?; [ -z "$rb_now" ] || rb_phase failed "$rb_now" "$rb_code"; exit "$rb_code"' EXIT"""

_APT = """\
rb_begin apt
rb_missing=
for rb_one in {packages}; do
  case $rb_one in
    *=*) rb_missing="$rb_missing $rb_one" ;;
    *) case $(dpkg-query -W -f '${{Status}}' "$rb_one" 2>/dev/null) in
         *' installed') ;;
         *) rb_missing="$rb_missing $rb_one" ;;
       esac ;;
  esac
done
if [ -n "$rb_missing" ]; then
  rb_root=
  [ "$(id -u)" -eq 0 ] || rb_root='sudo -n'
  $rb_root apt-get update
  $rb_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $rb_missing
fi
rb_end"""

_PYTHON = """\
rb_begin python
rb_uv=$(command -v uv || true)
if ! [ -e "$rb_venv/ready" ]; then
  # What was left by a run that did not come to its end is no environment.
  rm -rf "$rb_venv"
  if [ -n "$rb_uv" ]; then
    uv venv -q {option}"$rb_venv"
  elif command -v {program} >/dev/null 2>&1; then
    {program} -m venv "$rb_venv"
  else
    echo {lacks} >&2
    exit 127
  fi
  : >"$rb_venv/ready"
fi
export RUNBUS_VENV="$rb_venv"
rb_end"""

_PIP = """\
rb_begin pip
rb_pip() {
  if [ -n "$rb_uv" ]; then
    rb_verb=$1; shift
    uv pip "$rb_verb" -q --python "$rb_venv/bin/python" "$@"
  else
    "$rb_venv/bin/python" -m pip "$@" -q --disable-pip-version-check
  fi
}
rb_only_from() {
  # No other index is asked, whatever this machine is configured to: a name belongs to one.
  rb_url=$1; shift
  if [ -n "$rb_uv" ]; then
    env -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_DEFAULT_INDEX \\
      uv pip install -q --no-config --python "$rb_venv/bin/python" --no-deps \\
      --index-url "$rb_url" "$@"
  else
    PIP_CONFIG_FILE=/dev/null "$rb_venv/bin/python" -m pip --isolated install -q \\
      --disable-pip-version-check --no-deps --index-url "$rb_url" "$@"
  fi
}
"""


def image_script(image: Image, ops: Op = ()) -> str:
    """Return the script that makes a machine ready: variables, apt, Python, pip, operations.

    It takes the folder that Python's environment is made in, `FOLDER/venv`, by uv if that is
    there, else by `venv` and pip. The packages that an index of the image answers for are installed
    from it alone, before all others, and keep their versions then. Whatever fails ends the script
    with its exit code.

    Args:
        image: The image; of its secrets nothing is in the script.
        ops: The shell operations of plugins, in their order; they run last.

    Raises:
        FieldInvalid: Something in `ops` is no operation.
    """
    parts = [_START, REPORT, _PHASES, *_variables(image), *_apt(image), *_python(image)]
    if lines := [line for line in render_ops(ops) if line != REPORT]:
        parts += ["rb_begin plugins", *lines, "rb_end"]
    return "\n".join(parts) + "\n"


def _variables(image: Image) -> Iterator[str]:
    if image.env:
        yield "rb_begin env"
        for name, value in sorted(image.env.items()):
            yield f"export {name}={shlex.quote(value)}"
        yield "rb_end"


def _apt(image: Image) -> Iterator[str]:
    if image.apt:
        yield _APT.format(packages=shlex.join(sorted(image.apt)))


def _python(image: Image) -> Iterator[str]:
    if not image.python and not image.pip and not image.pip_indexes:
        return
    version = image.python
    program = version if version.startswith("/") else f"python{version or '3'}"
    yield _PYTHON.format(
        option=f"--python {shlex.quote(version)} " if version else "",
        program=shlex.quote(program),
        lacks=shlex.quote(f"error: there is neither {program} here, nor uv, which could bring it"),
    )
    if image.pip or image.pip_indexes:
        yield _PIP + "\n".join([*_installs(image), "rb_end"])


def _installs(image: Image) -> Iterator[str]:
    wanted = {package_key(one): one for one in image.pip}
    for index in sorted(image.pip_indexes, key=lambda one: one.url):
        # Of what others depend on, no version is named.
        named = [wanted.get(package_key(name), name) for name in index.packages]
        yield f"rb_only_from {shlex.quote(index.url)} {shlex.join(sorted(named))}"
    if image.pip_indexes:
        yield 'rb_pip freeze >"$rb_folder/pins"'
    if image.pip:
        pins = '-c "$rb_folder/pins" ' if image.pip_indexes else ""
        yield f"rb_pip install {pins}{shlex.join(sorted(image.pip))}"
