#!/bin/sh
# Installs what the services tests need. Root on Debian; what is there already is left alone.
set -eu
missing=
for package in btrfs-progs busybox faketime iproute2 openssh-server python3-torch xfsprogs; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -z "$missing" ] && exit 0
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
