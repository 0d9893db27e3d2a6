#!/bin/bash
# setup.sh ROOT - an arm64 userland in a folder: stock Mesa's TensorFlow Lite delegate under qemu user emulation.
#
# Nothing is installed on the system: packages are unpacked and wheels unzipped below ROOT*, with an apt state of its
# own that uses the Debian archive which this machine's sources already name. qemu and the cross compiler come from
# the system where it has them, else from the same archive into ROOT.host.
# Exit status: 0 ready, 69 packages cannot be reached (the reason is on stderr), 1 anything else.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
SHIM=$HERE/../../src/rocketnpu/emulator/shim
ROOT=$(realpath -m "${1:?usage: setup.sh ROOT}")
HOST=$ROOT.host
STAMP=$(cat "$HERE"/*.sh "$SHIM"/*.c | sha256sum)
[ "$(cat "$ROOT/.ready" 2>/dev/null || true)" != "$STAMP" ] || { echo "ready: $ROOT"; exit 0; }
unreachable() { echo "interop: $*" >&2; exit 69; }
mkdir -p "$ROOT"/usr/{bin,sbin,lib} "$ROOT"/{tmp,proc,opt/py} "$ROOT.debs" "$ROOT.whl" "$HOST/debs"
for l in bin sbin lib; do ln -sfn usr/$l "$ROOT/$l"; done

URI=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
      grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ')
[ -n "$URI" ] || unreachable "no Debian archive in this machine's apt sources"
CODENAME=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
KEY=/usr/share/keyrings/debian-archive-keyring.gpg
command -v apt-get >/dev/null || unreachable "this machine has no apt"
export DEBIAN_FRONTEND=noninteractive
state() { # state FOLDER SUITE ARCHITECTURE - an apt state of its own
    mkdir -p "$1"/{lists/partial,cache/archives/partial}
    echo "deb [arch=$3 signed-by=$KEY] $URI $2 main" >"$1/sources.list"
    cat >"$1/apt.conf" <<CONF
Dir::State::Lists "$1/lists";
Dir::Cache "$1/cache";
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "-";
APT::Architectures {"amd64";"arm64";};
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false";
CONF
    APT_CONFIG=$1/apt.conf apt-get -q -o APT::Update::Error-Mode=any update >/dev/null ||
        unreachable "the Debian archive does not answer"
}

fetch() { # fetch STATE FOLDER TARGET PACKAGE... - unpack packages, downloading what is not there yet
    local state=$1 folder=$2 target=$3 p; shift 3
    for p in "$@"; do
        compgen -G "$folder/${p%%:*}_*.deb" >/dev/null || (cd "$folder" && APT_CONFIG=$state/apt.conf apt-get -q download "$p") ||
            unreachable "package $p cannot be had"
        dpkg -x "$folder/${p%%:*}"_*.deb "$target"
    done
}
state "$ROOT.apt" sid arm64
fetch "$ROOT.apt" "$ROOT.debs" "$ROOT" mesa-teflon-delegate:arm64 libc6:arm64 libgcc-s1:arm64 libstdc++6:arm64 libdrm2:arm64 \
    libexpat1:arm64 libzstd1:arm64 zlib1g:arm64 python3.13:arm64 python3.13-minimal:arm64 libpython3.13-minimal:arm64 \
    libpython3.13-stdlib:arm64 libssl3t64:arm64 libffi8:arm64 liblzma5:arm64 libbz2-1.0:arm64 libsqlite3-0:arm64 \
    libuuid1:arm64 libreadline8t64:arm64 libtinfo6:arm64 libncursesw6:arm64
if ! command -v qemu-aarch64-static >/dev/null || ! command -v aarch64-linux-gnu-gcc >/dev/null; then
    state "$HOST.apt" "$CODENAME" amd64
    COMPILER=$(APT_CONFIG="$HOST.apt/apt.conf" apt-cache depends gcc-aarch64-linux-gnu |
        grep -oE 'gcc-[0-9]+-aarch64-linux-gnu' | head -1)
    VERSION=$(echo "$COMPILER" | grep -oE '[0-9]+' | head -1)
    fetch "$HOST.apt" "$HOST/debs" "$HOST" qemu-user-static "$COMPILER" "cpp-$VERSION-aarch64-linux-gnu" \
        binutils-aarch64-linux-gnu "libgcc-$VERSION-dev-arm64-cross" libgcc-s1-arm64-cross libc6-arm64-cross \
        libc6-dev-arm64-cross linux-libc-dev-arm64-cross
fi
(cd "$ROOT.whl"
 python3 -m pip download -q --no-deps --only-binary :all: --python-version 3.13 --platform manylinux_2_27_aarch64 \
     --platform manylinux_2_28_aarch64 ai-edge-litert==2.3.0 numpy==2.4.6 flatbuffers==25.12.19) ||
    unreachable "the arm64 wheels cannot be had"
for w in "$ROOT.whl"/*.whl; do python3 -m zipfile -e "$w" "$ROOT/opt/py"; done
rm -f "$ROOT/opt/py/ai_edge_litert/libLiteRtWebGpuAccelerator.so"

# TensorFlow Lite's CPU kernels read /proc/cpuinfo and fail on an x86 one; qemu -L redirects the open to this file.
: >"$ROOT/proc/cpuinfo"
for i in 0 1; do
    printf 'processor\t: %d\nBogoMIPS\t: 48.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 0\n\n' $i
done >>"$ROOT/proc/cpuinfo"

# The guest's side of the emulated node, and one byte-compilation, or every run spends seconds importing NumPy.
. "$HERE/environment.sh" "$ROOT"
"$CROSS_GCC" ${CROSS_FLAGS:-} -O2 -g -Wall -Wextra -Werror -fPIC -shared -o "$ROOT/librocketshim.so" "$SHIM"/*.c -ldl -lpthread
env -u PYTHONDONTWRITEBYTECODE PYTHONPATH="$ROOT/opt/py" "$QEMU" -cpu cortex-a76 -L "$ROOT" "$ROOT/usr/bin/python3.13" \
    -m compileall -q "$ROOT/opt/py/numpy" "$ROOT/opt/py/ai_edge_litert/interpreter.py" \
    "$ROOT/opt/py/ai_edge_litert/__init__.py" "$ROOT/usr/lib/python3.13" >/dev/null 2>&1 || true
echo "$STAMP" >"$ROOT/.ready"
echo "ready: $ROOT"
