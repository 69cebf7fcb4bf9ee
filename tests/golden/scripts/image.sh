#!/bin/sh
# Makes ready what an image asks for: sh SCRIPT FOLDER. Python goes to FOLDER/venv.
set -eu
unset IFS
rb_folder=${1:?which folder}
mkdir -p "$rb_folder"
rb_venv=$rb_folder/venv
rb_now=
rb_phase() {
  if [ -n "${RUNBUS_PHASES-}" ]; then
    printf '{"type":"phase","event":"%s","phase":"%s","code":%s,"at":%s}\n' \
      "$1" "$2" "${3:-0}" "$(date +%s)" >>"$RUNBUS_PHASES"
  else
    echo "phase $2 $1${3:+ with exit code $3}" >&2
  fi
}
rb_begin() { rb_now=$1; rb_phase started "$rb_now"; }
rb_end() { rb_phase completed "$rb_now"; rb_now=; }
trap 'rb_code=$?; [ -z "$rb_now" ] || rb_phase failed "$rb_now" "$rb_code"; exit "$rb_code"' EXIT
rb_begin env
export A=1
export QUOTED='it'"'"'s $HOME `id`
2'
rb_end
rb_begin apt
rb_missing=
for rb_one in ffmpeg=7:1.0 git; do
  case $rb_one in
    *=*) rb_missing="$rb_missing $rb_one" ;;
    *) case $(dpkg-query -W -f '${Status}' "$rb_one" 2>/dev/null) in
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
rb_end
rb_begin python
rb_uv=$(command -v uv || true)
if ! [ -e "$rb_venv/ready" ]; then
  # What was left by a run that did not come to its end is no environment.
  rm -rf "$rb_venv"
  if [ -n "$rb_uv" ]; then
    uv venv -q --python 3.12 "$rb_venv"
  elif command -v python3.12 >/dev/null 2>&1; then
    python3.12 -m venv "$rb_venv"
  else
    echo 'error: there is neither python3.12 here, nor uv, which could bring it' >&2
    exit 127
  fi
  : >"$rb_venv/ready"
fi
export RUNBUS_VENV="$rb_venv"
rb_end
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
    env -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_DEFAULT_INDEX \
      uv pip install -q --no-config --python "$rb_venv/bin/python" --no-deps \
      --index-url "$rb_url" "$@"
  else
    PIP_CONFIG_FILE=/dev/null "$rb_venv/bin/python" -m pip --isolated install -q \
      --disable-pip-version-check --no-deps --index-url "$rb_url" "$@"
  fi
}
rb_only_from 'https://host/it'"'"'s' torch-data torch==2.4
rb_pip freeze >"$rb_folder/pins"
rb_pip install -c "$rb_folder/pins" 'numpy>=1; python_version > '"'"'3'"'"'' torch==2.4
rb_end
rb_begin plugins
echo plain
echo called
echo nested
rb_phase started 'log in'
if sh -ec 'echo '"'"'x y'"'"''
then rb_phase completed 'log in'
else rb_code=$?; rb_phase failed 'log in' "$rb_code"; (exit "$rb_code")
fi
rb_end
