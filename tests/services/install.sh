#!/bin/sh
# Installs what the services tests need. Root on Debian; what is there already is left alone.
set -eu
missing=
for package in btrfs-progs busybox charliecloud docker-registry docker.io faketime iproute2 \
    iptables mariadb-server munge openssh-server openssl podman procps python3-lark python3-requests \
    python3-torch slurm-client slurm-wlm-jwt-plugin slurmctld slurmd \
    slurmdbd slurmrestd xfsprogs; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
if [ -n "$missing" ]; then
    # A machine that has just begun installs updates by itself: that is waited for, for ten minutes.
    tries=0
    until apt-get update -qq -o Acquire::Retries=3; do
        [ "$((tries += 1))" -lt 60 ] || exit 1
        sleep 10
    done
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 $missing
fi
# A kernel of IPython for the tests of notebooks, beside what the other tests have.
notebook=${XDG_CACHE_HOME:-$HOME/.cache}/runbus/notebook
if ! "$notebook/bin/python" -c 'import ipykernel, jupyter_client' 2>/dev/null; then
    .venv/bin/python -m venv --clear "$notebook"
    "$notebook/bin/python" -m pip install --quiet --disable-pip-version-check 'ipykernel>=7,<8' 'jupyter_client>=8,<9'
fi
# Ray, which is large, in an environment of its own, too.
ray=${XDG_CACHE_HOME:-$HOME/.cache}/runbus/ray
if ! "$ray/bin/python" -c 'import ray' 2>/dev/null; then
    .venv/bin/python -m venv --clear "$ray"
    "$ray/bin/python" -m pip install --quiet --disable-pip-version-check 'ray>=2.60,<3'
fi
