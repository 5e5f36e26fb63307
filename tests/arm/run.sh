#!/usr/bin/env bash
# The wheel on arm64 by emulation: a minimal Debian 12 under qemu-user installs it as a Raspberry Pi would, detects, scores,
# writes a report and reads a film; boxes are compared with this machine's (compare.py). Needs root, debootstrap, qemu-user-static.
#
#   make test-arm
#
# What it proves: that the wheel, LiteRT and ONNX Runtime install and compute the same on Arm instructions.
# What it does not: speed, heat, cameras, a board's own packages. OpenVINO is left out: its Arm plugin reads MIDR_EL1, which
# qemu-user does not give, and aborts.
#
# ARM_ROOT       where the system is made and kept (default /var/tmp/edge-yolov9-arm; 2 GB)
# DEBIAN_MIRROR  default http://deb.debian.org/debian
set -euo pipefail

here=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
root=${ARM_ROOT:-/var/tmp/edge-yolov9-arm}
python=$here/.venv/bin/python

[ "$(id -u)" = 0 ] || { echo "tests/arm needs root: it makes a chroot" >&2; exit 1; }
for program in debootstrap qemu-aarch64-static; do
    command -v $program >/dev/null || { echo "tests/arm needs $program: apt install debootstrap qemu-user-static" >&2; exit 1; }
done

# The kernel gives Arm programs to the emulator; F: it is opened now, so that a chroot needs no copy of it.
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
if [ "$(uname -m)" != aarch64 ] && ! grep -qs enabled $binfmt/qemu-aarch64; then
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" >$binfmt/register
fi

if [ ! -e "$root/.made" ]; then
    rm -rf "$root" && mkdir -p "$root"
    debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" \
        "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$root.debootstrap.log"
    touch "$root/.made"
fi
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ -e "$file" ] && cp -L "$file" "$root$file"
done

# What the device gets: a wheel, bundles, eight labelled pictures, a film; and what this machine finds in them.
work=$root/work
rm -rf "$work" && mkdir -p "$work/wheels"
"$python" -m pip wheel -q --no-deps --no-build-isolation -w "$work/wheels" "$here"
(cd "$here" && "$python" -m tests.arm.compare prepare "$work")

# LiteRT and ONNX Runtime read the kind of core; the emulator shows its own cpuinfo, so a Raspberry Pi 5's lies over it.
for _ in 0 1 2 3; do
    printf 'processor\t: %d\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\n' "$_"
done >"$work/cpuinfo"

export ROOT=$root
unshare --mount bash -euo pipefail -c '
    mount -t proc proc "$ROOT/proc"
    mount -t sysfs sys "$ROOT/sys"
    mount --rbind /dev "$ROOT/dev"
    mount --bind "$ROOT/work/cpuinfo" "$ROOT/proc/cpuinfo"
    chroot "$ROOT" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin QEMU_CPU=cortex-a76 \
        sh -eu -c "cd /work && sh -eu device.sh"' 
(cd "$here" && "$python" -m tests.arm.compare judge "$work")
