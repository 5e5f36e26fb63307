#!/usr/bin/env bash
# The two commands of the README on a minimal Debian: debootstrap, clone this tree's HEAD into it, run there. Needs root.
#
#   tests/fresh/run.sh trixie|bookworm [COMMAND]         COMMAND: "make demo && make test" by default
#
# FRESH_ROOT     where systems are made and kept (default /var/tmp/edge-yolov9-fresh; 10 GB each with torch's CUDA build)
# FRESH_BIND     folders of this machine that pip's configuration names, seen inside under the same path: "/a /b"
# FRESH_USER     run as a user of this name that is not root
# FRESH_FOLDER   the folder of the clone inside (default "/work/edge yolov9": make must stand a blank)
# FRESH_KEEP     1 keeps the clone of the run before, with its .venv, and brings it to HEAD
# DEBIAN_MIRROR  default http://deb.debian.org/debian
# PIP_*, TORCH   go inside as they are; pip's configuration and the certificates of this machine are copied
set -euo pipefail

suite=${1:?usage: tests/fresh/run.sh trixie|bookworm [COMMAND]}
command=${2:-make demo && make test}
here=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
root=${FRESH_ROOT:-/var/tmp/edge-yolov9-fresh}/$suite
folder=${FRESH_FOLDER:-/work/edge yolov9}

[ "$(id -u)" = 0 ] || { echo "tests/fresh needs root: it makes a chroot" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "tests/fresh needs debootstrap: apt install debootstrap" >&2; exit 1; }

if [ ! -e "$root/.made" ]; then
    rm -rf "$root" && mkdir -p "$root"
    debootstrap --variant=minbase --include=python3,python3-venv,git,make,ca-certificates "$suite" "$root" \
        "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$root.debootstrap.log"
    touch "$root/.made"
fi

# The way to the package registry is this machine's: names, certificates, pip's own configuration.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ -e "$file" ] && cp -L "$file" "$root$file"
done
[ -d /etc/xdg/pip ] && mkdir -p "$root/etc/xdg" && cp -r /etc/xdg/pip "$root/etc/xdg/"

if [ -z "${FRESH_KEEP:-}" ] || [ ! -d "$root$folder" ]; then
    rm -rf "${root:?}$folder"
    mkdir -p "$root$(dirname "$folder")"
    git clone -q --no-hardlinks "$here" "$root$folder"
else
    git -C "$root$folder" fetch -q "$here" HEAD && git -C "$root$folder" reset -q --hard FETCH_HEAD
fi
[ -z "${FRESH_USER:-}" ] || chroot "$root" sh -c "id -u $FRESH_USER >/dev/null 2>&1 || useradd -m $FRESH_USER; chown -R $FRESH_USER /work"

# Mounts live in a namespace of their own and end with it.
export ROOT=$root BIND=${FRESH_BIND:-} FOLDER=$folder COMMAND=$command LOGIN=${FRESH_USER:-root}
unshare --mount bash -euo pipefail -c '
    mount -t proc proc "$ROOT/proc" && mount -t sysfs sysfs "$ROOT/sys"
    mount --rbind /dev "$ROOT/dev"
    for path in $BIND; do mkdir -p "$ROOT$path"; mount --bind "$path" "$ROOT$path"; done
    pip=(); while IFS= read -r line; do pip+=("$line"); done < <(env | grep -E "^(PIP_|TORCH=|SSL_CERT_FILE=)" || true)
    chroot "$ROOT" su "$LOGIN" -s /bin/sh -c "exec env -i \"\$@\"" -- sh HOME="$(chroot "$ROOT" getent passwd "$LOGIN" | cut -d: -f6)" LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/bin "${pip[@]}" sh -c "cd \"\$1\" && eval \"\$2\"" sh "$FOLDER" "$COMMAND"'
